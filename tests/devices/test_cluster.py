"""Many processes: who is there, how they meet, what is said when they do not, and who listens where."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from places import ROOT

from trm_jax.commands.cli import main
from trm_jax.devices import cluster, launchers, rendezvous
from trm_jax.devices.launchers import Place, asked, found_by_jax, launched, parse_address
from trm_jax.devices.rendezvous import meet
from trm_jax.errors import ConfigError

TEMPLATES = ROOT / "experiments" / "cluster"
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "4",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
    "SLURM_STEP_NODELIST": "gpu[003-005,012]",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}

# What a process of a pair does: it joins, adds 1 + its number over all devices, and tells which sockets listen.
MEMBER = """
import json, os, sys, time
from pathlib import Path
from trm_jax.devices import cluster
assert "jax" not in sys.modules
address, process, after = sys.argv[1:]
cluster.join(address, 2 if address else 0, int(process), 20)
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
ones = np.ones(jax.local_device_count()) * (1 + jax.process_index())
spread = jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec("data")), ones)
total = jax.jit(lambda x: x.sum(), out_shardings=NamedSharding(mesh, PartitionSpec()))(spread)
mine = {os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink() and os.path.lexists(f)}
rows = [r.split() for kind in ("tcp", "tcp6") for r in Path("/proc/net", kind).read_text().splitlines()[1:]]
listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in mine]
print(json.dumps({"sum": float(total), "processes": jax.process_count(), "devices": jax.device_count(),
    "main": cluster.is_main(), "joined": cluster.joined(), "listening": listening}), flush=True)
if after == "wait":
    time.sleep(60)
if after == "abandon":
    cluster.abandon(7)
cluster.leave()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


@pytest.fixture
def here() -> Place:
    return Place("127.0.0.1", free_port(), 3, 0)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python with two fake devices; whatever still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def call(*words: str) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_", "PMIX_"))}
        flags = "--xla_force_host_platform_device_count=2"
        running.append(
            subprocess.Popen(
                [sys.executable, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**clean, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            )
        )
        return running[-1]

    yield call
    for process in running:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> dict[str, object]:
    """What a MEMBER says, once it says it: what else comes to standard output is Gloo's."""
    assert process.stdout
    line = next((line for line in process.stdout if line.startswith("{")), "")
    assert line, process.stderr.read() if process.stderr else ""
    return dict(json.loads(line))


def is_loopback(socket_name: str) -> bool:
    """Of an address as /proc/net/tcp and tcp6 give it."""
    host = socket_name.partition(":")[0]
    return host.endswith("7F") if len(host) == 8 else host in (f"{'0' * 16}FFFF00000100007F", f"{'0' * 24}01000000")


def test_two_processes_are_one_machine_that_listens_on_the_loopback_alone(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    address = f"localhost:{free_port()}"
    first, second = (start("-c", MEMBER, address, str(process), "") for process in range(2))
    for process, member in enumerate((first, second)):
        said = told(member)
        listening = said.pop("listening")
        assert said == {"sum": 6.0, "processes": 2, "devices": 4, "main": process == 0, "joined": True}
        assert listening
        assert all(map(is_loopback, listening)), listening
    assert [member.wait(20) for member in (first, second)] == [0, 0]


def test_a_process_alone_listens_nowhere(start: Callable[..., subprocess.Popen[str]]) -> None:
    alone = start("-c", MEMBER, "", "-1", "")
    assert told(alone) == {
        "sum": 2.0,
        "processes": 1,
        "devices": 2,
        "main": True,
        "joined": False,
        "listening": [],
    }
    assert alone.wait(20) == 0


def test_a_process_that_failed_waits_for_nobody_and_sigterm_still_ends_one(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    address = f"127.0.0.1:{free_port()}"
    first, second = (start("-c", MEMBER, address, str(i), after) for i, after in enumerate(("wait", "abandon")))
    told(first), told(second)
    assert second.wait(10) == 7  # leaving as usual, it would wait for the first for minutes
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("process", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_the_command_line_tells_who_is_missing_in_one_line(
    process: int, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    flags = f"--coordinator={address} --processes=2 --process={process} --start-timeout=1".split()
    command = ("train", "--config=experiments/demo.py", f"--workdir={tmp_path}/run") if process == 0 else ("eval", "x")
    began = time.monotonic()
    running = start("-m", "trm_jax", *command, *flags)
    out, err = running.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert (running.returncode, out) == (2, "")
    whole = f"1 of 2 processes came to {address} within 1 s; missing: 1"
    assert err.startswith(f"trm: error: {whole if process == 0 else f'process 0 at {address} cannot be reached'}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def together(*places: Place, timeout: float = 0.5, delay: float = 0.0) -> list[str]:
    """Lets each of the places meet the others, in a thread of its own; what each says, or "met"."""

    def one(number: int, place: Place) -> str:
        time.sleep(number * delay)
        try:
            found, bind = meet(place, timeout)
        except ConfigError as error:
            return str(error)
        assert found == replace(place, host=found.host)
        assert bind == (place.address if place.host == "127.0.0.1" else None)
        return "met"

    with ThreadPoolExecutor(len(places)) as pool:
        answers: list[Future[str]] = [pool.submit(one, n, place) for n, place in enumerate(places)]
        if not any(place.process == 0 for place in places):
            return [answer.result() for answer in answers]
        # The service that process 0 starts when all are there: the others wait for it to listen.
        chief = next(n for n, place in enumerate(places) if place.process == 0)
        if answers[chief].result() != "met":
            return [answer.result() for answer in answers]
        with socket.create_server(("127.0.0.1", places[chief].port)):
            return [answer.result() for answer in answers]


def test_all_meet_in_any_order(here: Place) -> None:
    places = [replace(here, process=number) for number in (2, 0, 1)]
    assert together(*places, timeout=5, delay=0.1) == ["met"] * 3


def test_a_machine_that_stood_still_until_the_time_was_over_still_meets(here: Place) -> None:
    assert together(*(replace(here, processes=2, process=i) for i in range(2)), timeout=0, delay=0.1) == ["met"] * 2


def test_a_missing_process_is_named_to_all(here: Place) -> None:
    chief, other = together(replace(here, process=0), replace(here, process=2))
    assert chief.startswith(f"2 of 3 processes came to {here.address} within 0.5 s; missing: 1 (start them all")
    assert other == chief


def test_no_process_0(here: Place) -> None:
    for message in together(replace(here, process=1), replace(here, process=2)):
        assert message.startswith(f"process 0 at {here.address} cannot be reached: Connection refused (0.5 s): start")


@pytest.mark.parametrize(
    ("second", "third", "message"),
    [
        ((2, 1), (3, 2), "process 1 was started with --processes=2, process 0 with 3: give all of them the same"),
        ((3, 1), (3, 1), "two processes were started with --process=1: give each its own, 0 to 2"),
    ],
)
def test_processes_that_disagree(here: Place, second: tuple[int, int], third: tuple[int, int], message: str) -> None:
    places = [replace(here, processes=n, process=i) for n, i in (second, third)]
    chief, *others = together(here, *places, timeout=1)
    assert chief == message
    assert message in others


def test_a_taken_port_is_told_and_two_processes_0_are(here: Place) -> None:
    with socket.create_server(("127.0.0.1", here.port)):
        (message,) = together(here)
    assert message.startswith(f"process 0 cannot listen on port {here.port} (Address already in use): give")
    assert message in together(here, here)


def test_strangers_neither_stop_nor_join(here: Place) -> None:
    """A scanner, broken connections, ones that say nonsense, and a process that came and went."""
    texts = (b"", b"GET / HTTP/1.0\n", b"trm " + b"1" * 100, b"trm 3 x\n", b"trm 3 3\n", b"tr", b"trm 3 1\n")
    with ThreadPoolExecutor(1) as pool:
        chief = pool.submit(together, here, timeout=0.7)
        time.sleep(0.05)
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert any(row[1] == f"0100007F:{here.port:04X}" and row[3] == "0A" for row in rows)
        with ExitStack() as stay:
            for text in texts:
                caller = stay.enter_context(socket.create_connection(("127.0.0.1", here.port), timeout=1))
                caller.sendall(text)
                time.sleep(0.02)
            caller.close()
            (message,) = chief.result()
    assert message.startswith("1 of 3 processes came")
    assert "missing: 1, 2 (" in message


def test_a_process_may_come_back_and_say_it_in_pieces(here: Place) -> None:
    """As one does that was killed while it waited and was started again."""
    with ThreadPoolExecutor(1) as pool:
        chief = pool.submit(meet, replace(here, processes=2), 5)
        time.sleep(0.05)
        for texts in ((b"t", b"rm 2"), (b"trm", b" 2 1", b"\n")):
            with socket.create_connection(("127.0.0.1", here.port), timeout=1) as caller:
                for text in texts:
                    caller.sendall(text)
                    time.sleep(0.02)
                answer = caller.recv(16) if text == b"\n" else b""
        assert chief.result()[1] == here.address
    assert answer == b"go\n"


def test_another_program_at_the_coordinators_port(here: Place) -> None:
    with socket.create_server(("127.0.0.1", here.port)) as door:
        served = threading.Thread(target=lambda: _answer(door, b"HTTP/1.0 400 Bad Request\r\n\r\n"))
        served.start()
        (message,) = together(replace(here, process=1), timeout=0.1)
        served.join()
    assert message.startswith(f"process 0 at {here.address} is another program (0.1 s): start it, correct")


def _answer(door: socket.socket, text: bytes) -> None:
    door.settimeout(0.5)
    try:
        while True:
            with door.accept()[0] as caller:
                caller.sendall(text)
                caller.recv(64)
    except TimeoutError:
        return


def test_a_host_that_does_not_answer_and_a_process_0_that_waits(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", here.port)):
        (message,) = together(replace(here, process=1), timeout=0)
    assert message.startswith(f"process 0 at {here.address} does not say that all are there (0 s): start it")

    def silence(*arguments: object, **options: object) -> socket.socket:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silence)
    (message,) = together(replace(here, process=1), timeout=0)
    assert message.startswith(f"process 0 at {here.address} cannot be reached: Connection timed out (0 s): start it")


def test_a_process_0_that_goes_before_jax_has_begun_is_told(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "PROMPT", 0.1)
    with ThreadPoolExecutor(1) as pool:
        chief = pool.submit(meet, replace(here, processes=2), 5)
        with pytest.raises(ConfigError, match=rf"{here.port} was there and has gone: see what it says$"):
            meet(replace(here, processes=2, process=1), 5)
        assert chief.result()[1] == here.address


def test_an_unknown_host_is_told() -> None:
    (message,) = together(Place("no.such.host.invalid", 1234, 2, 1), timeout=0.2)
    assert message.startswith("no host no.such.host.invalid was found within 0.2 s (")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_over_several_hosts_the_coordinator_listens_everywhere(here: Place) -> None:
    """A host's own name may lead to its loopback, where nobody else can reach it."""
    places = [replace(here, process=n, hosts=True, host=("127.0.0.1", "127.0.0.1", "::1")[n]) for n in range(3)]
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(meet, place, 5) for place in places[1:]]
        assert meet(places[0], 5) == (places[0], None)
        with socket.create_server(("", here.port), family=socket.AF_INET6, dualstack_ipv6=True):
            assert [other.result() for other in others] == [(place, None) for place in places[1:]]


def test_arguments_are_all_given_or_none() -> None:
    assert asked("", 0, -1, None) is None
    assert asked("[::1]:80", 2, 1, None) == Place("::1", 80, 2, 1)
    assert asked("[::1]:80", 2, 1, None).address == "[::1]:80"
    for given, flag in ((("a:1", 2, -1), "--process"), (("a:1", 0, 0), "--processes"), (("", 2, 0), "--coordinator")):
        with pytest.raises(ConfigError, match=f"^{flag} is missing: --coordinator, --processes and"):
            asked(*given, None)
    for process in (2, 3):
        with pytest.raises(ConfigError, match=f"^--process={process} of --processes=2: they are numbered 0 to 1$"):
            asked("a:1", 2, process, None)
    with pytest.raises(ConfigError, match=r"^--process=1 of --processes=1: they are numbered 0 to 0$"):
        cluster.join(processes=1, process=1)


def test_arguments_go_before_a_launcher() -> None:
    found = Place("node1", 61440, 4, 3, (1,), True)
    assert asked("", 0, -1, found) == found
    assert asked("b:7", 0, -1, found) == replace(found, host="b", port=7)
    assert asked("b:7", 8, 0, found) == Place("b", 7, 8, 0, (1,), True)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:x", "host:-1", "::1", "a b:80", "host:８０"]
)
def test_what_is_no_address(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="is no address: give HOST:PORT, such as"):
        parse_address(text)
    assert main(["train", "--workdir=x", f"--coordinator={text}"]) == 2
    assert capsys.readouterr().err.startswith(f"trm: error: argument --coordinator: {text!r} is no address")


@pytest.mark.parametrize("flag", ["--processes=0", "--process=-1", "--start-timeout=0", "--processes=x"])
def test_flags_out_of_range(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "x", flag]) == 2
    name, _, value = flag.partition("=")
    assert capsys.readouterr().err.startswith(f"trm: error: argument {name}: '{value}' is no whole number of at least")
    assert main(["eval", "no.such.run"]) == 2  # without any of them, it goes on to what else is wrong
    assert capsys.readouterr().err.startswith("trm: error: no.such.run")


def test_joining_late_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    jnp.zeros(1).block_until_ready()
    with pytest.raises(ConfigError, match="before JAX uses a device"):
        cluster.join("127.0.0.1:1", 2, 0, 1)


def test_one_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    cluster.join(processes=1)
    cluster.join("127.0.0.1:1", 1, 0)
    assert not cluster.joined()
    assert cluster.is_main()
    cluster.leave()
    cluster.abandon(3)
    assert jax.process_count() == 1


def test_slurm() -> None:
    place = launched(SLURM)
    assert place == Place("gpu003", place.port, 4, 2, None, True)
    assert 61440 <= place.port <= 65535
    others = [launched({**SLURM, "SLURM_PROCID": str(number)}) for number in range(4)]
    assert {other.port for other in others if other} == {place.port}
    assert launched({**SLURM, "SLURM_STEP_ID": "1"}).port != place.port
    for nodes, first in (("a", "a"), ("a,b", "a"), ("a1,b[2-3]", "a1"), ("n-[07-09],x", "n-07"), ("n[7,9]", "n7")):
        assert launched({**SLURM, "SLURM_STEP_NODELIST": nodes}).host == first
    # Two tasks on one node: one accelerator for each, and nothing leaves the node.
    pair = {**SLURM, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": "2"}
    pair |= {"SLURM_LOCALID": "1", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "gpu003"}
    assert launched(pair) == Place("127.0.0.1", place.port, 2, 1, (1,), False)
    assert launched({**pair, "CUDA_VISIBLE_DEVICES": "1"}).devices is None  # SLURM shows it no other
    assert launched({**pair, "CUDA_VISIBLE_DEVICES": "0,1"}).devices == (1,)
    # Alone in its step, or no step at all: a shell within an allocation of many tasks.
    assert launched({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert launched({k: v for k, v in SLURM.items() if not k.startswith("SLURM_STEP")}) is None


def test_open_mpi() -> None:
    place = launched(OPEN_MPI)
    assert place == Place("10.96.0.1", place.port, 4, 3, (1,), True)
    six = "1314521088.0;tcp6://[fe80::b9b:ac5d:9cf0:b858,2620:10d:c083:150e::3000:2]:43370"
    assert launched({**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": six}).host == "fe80::b9b:ac5d:9cf0:b858"
    one = {**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911"}
    assert launched(one).host == "10.96.0.1"
    assert launched({**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}).host == "127.0.0.1"
    assert launched({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1"}) is None
    five = {k: v for k, v in OPEN_MPI.items() if "orte" not in k} | {"PMIX_NAMESPACE": "prterun-host-17@1"}
    with pytest.raises(ConfigError, match=r"^--coordinator is missing"):  # it does not say where process 0 is
        asked("", 0, -1, launched(five))
    assert asked("a:1", 0, -1, launched(five)) == Place("a", 1, 4, 3, (1,), True)


def test_clusters_that_jax_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_by_jax({}) == ""
    assert found_by_jax({"TPU_WORKER_HOSTNAMES": "localhost"}) == ""
    assert found_by_jax({"TPU_WORKER_HOSTNAMES": "a,b"}) == "gketpu"
    assert found_by_jax({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}) == "gketpu"
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
    has_client = {"kubernetes": True}
    monkeypatch.setattr(launchers.importlib.util, "find_spec", lambda name: has_client.get(name) or None)
    assert found_by_jax(pod) == "k8s"
    assert found_by_jax({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) == ""
    has_client.clear()
    assert found_by_jax(pod) == ""


def test_a_cloud_tpu_slice_of_several_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = {"text": "a:0:10.0.0.2,b:1:10.0.0.3"}

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.path.endswith("/attributes/worker-network-endpoints") and self.headers["Metadata-Flavor"]
            self.send_response(200 if right else 404)
            self.end_headers()
            self.wfile.write(workers["text"].encode())

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        environ = {"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"}
        assert found_by_jax(environ) == ""  # no chips here
        monkeypatch.setattr(launchers, "_has_tpu", lambda: True)
        assert found_by_jax(environ) == "gcetpu"
        assert found_by_jax({**environ, "TPU_SKIP_MDS_QUERY": "1"}) == ""
        workers["text"] = "a:0:10.0.0.2"
        assert found_by_jax(environ) == ""
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert found_by_jax(environ) == ""  # nobody answers


@pytest.mark.parametrize("name", ["slurm.sbatch", "jobset.yaml"])
def test_templates_use_flags_that_there_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    code = re.sub(r"#.*", "", (TEMPLATES / name).read_text())
    command = code[re.search(r"trm train|command: \[trm, train\]", code).end() :]
    given = set(re.findall(r"(--[a-z-]+)[=.]", command))
    assert {"--config", "--workdir", "--start-timeout"} <= given <= known


def test_the_kubernetes_template_agrees_with_itself() -> None:
    text = (TEMPLATES / "jobset.yaml").read_text()
    counts = re.findall(r"(?:parallelism: |completions: |PROCESSES\n +value: )\"?(\d+)", text)
    assert len(counts) == 3
    assert len(set(counts)) == 1
    job_set, job = re.search(r"kind: JobSet\nmetadata:\n  name: (\w+)", text)[1], "train"
    assert f"    - name: {job}\n" in text
    host, port = re.search(r"--coordinator=(\S+):(\d+)", text).groups()
    assert host == f"{job_set}-{job}-0-0.{job_set}"
    assert f"containerPort: {port}\n" in text


def test_the_slurm_template_requeues_exactly_what_can_go_on(tmp_path: Path) -> None:
    """With an srun that ends as `trm train` would, and an scontrol that notes what it is asked."""
    lines = (TEMPLATES / "slurm.sbatch").read_text().splitlines()
    options = shlex.split(" ".join(line.removeprefix("#SBATCH") for line in lines if line.startswith("#SBATCH")))
    assert {"--requeue", "--ntasks-per-node=1", "--signal=TERM@120"} <= set(options)
    for name, body in (("srun", 'exit "$CODE"'), ("scontrol", f'echo "$@" >> {tmp_path}/asked')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    for code in (0, 1, 2, 75, 134):
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": str(code), "SLURM_JOB_ID": "17"}
        ran = subprocess.run(["bash", str(TEMPLATES / "slurm.sbatch")], env=environ, cwd=tmp_path, check=False)
        asked_for = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
        (tmp_path / "asked").unlink(missing_ok=True)
        assert (ran.returncode, asked_for) == (0 if code == 75 else code, "requeue 17\n" if code == 75 else "")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (jax.errors.JaxRuntimeError("INTERNAL: Gloo AllReduce failed: Connection reset by peer"), True),
        (ValueError("UNKNOWN: Gloo AllGather failed:\n  Read error"), True),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: recvmsg:Connection reset by peer\nAdditional GRPC error"), True),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), False),
        (ValueError("a fault of ours"), False),
        (KeyError("Gloo"), False),
    ],
)
@pytest.mark.parametrize("joined", [True, False])
def test_what_tells_that_another_process_has_gone(error, lost, joined, monkeypatch):
    monkeypatch.setattr(cluster, "_joined", joined)
    expected = cluster.ProcessLost if lost and joined else type(error)
    with pytest.raises(expected) as caught, cluster.noticing_loss():
        raise error
    if expected is cluster.ProcessLost:
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 75
    else:
        assert caught.value is error
