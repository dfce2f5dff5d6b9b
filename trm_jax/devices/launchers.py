"""Who else there is: what the arguments say, what a launcher says, and which clusters JAX finds by itself."""

import importlib.util
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trm_jax.errors import ConfigError

# Ports that launchers' jobs draw theirs from, above those that Linux gives to outgoing connections.
FIRST_PORT, PORTS = 61440, 4096


@dataclass(frozen=True)
class Place:
    """Where a process stands among the others.

    Attributes:
      host, port: where process 0 listens; "" and 0 where that is not known.
      processes, process: how many there are, and which of them, from 0, this one is; 0 and -1 where not known.
      devices: which of this host's accelerators belong to this process; None for all that it sees.
      hosts: whether the processes are on several hosts; None where nobody says.
    """

    host: str = ""
    port: int = 0
    processes: int = 0
    process: int = -1
    devices: tuple[int, ...] | None = None
    hosts: bool | None = None

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def asked(coordinator: str, processes: int, process: int, launcher: Place | None) -> Place | None:
    """What the arguments say, and what a launcher says where they do not; None where neither says anything.

    Raises:
      ConfigError: something is missing, or out of range.
    """
    if not (coordinator or processes or process >= 0 or launcher):
        return None
    place = launcher or Place()
    host, port = parse_address(coordinator) if coordinator else (place.host, place.port)
    place = replace(
        place,
        host=host,
        port=port,
        processes=processes or place.processes,
        process=process if process >= 0 else place.process,
    )
    if 0 < place.processes <= place.process:
        raise ConfigError(
            f"--process={place.process} of --processes={place.processes}: they are numbered 0 to {place.processes - 1}"
        )
    known = {"--coordinator": place.host, "--processes": place.processes, "--process": place.process >= 0}
    if lacking := next((flag for flag, value in known.items() if not value), ""):
        raise ConfigError(f"{lacking} is missing: --coordinator, --processes and --process belong together")
    return place


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; the host may be an IPv6 address in brackets.

    Raises:
      ConfigError: it is none.
    """
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    known = port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 1 << 16
    if not known or not bare or not bare.isprintable() or " " in bare or (":" in bare and bare == host):
        raise ConfigError(f"{text!r} is no address: give HOST:PORT, such as 10.0.0.1:8476, with a port from 1 to 65535")
    return bare, int(port)


def launched(environ: Mapping[str, str]) -> Place | None:
    """What SLURM or Open MPI says in its variables; None for a process that neither has started among others."""
    if all(f"SLURM_{name}" in environ for name in ("JOB_ID", "STEP_NODELIST", "PROCID", "LOCALID")):
        return _from_slurm(environ)
    if {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"} <= set(environ):
        return _from_open_mpi(environ)
    return None


def _from_slurm(environ: Mapping[str, str]) -> Place | None:
    # Of the step, that is of one srun; SLURM_NTASKS alone may be the whole job's.
    processes = int(environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS") or 1)
    if processes < 2:
        return None
    hosts = int(environ.get("SLURM_STEP_NUM_NODES") or 1) > 1
    first = re.match(r"([^,[]*)\[?(\d*)", environ["SLURM_STEP_NODELIST"])  # "gpu[003-007,012],cpu1" begins with gpu003
    tasks = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE") or ""
    return Place(
        host="".join(first.groups()) if hosts and first else "127.0.0.1",
        port=_port(f"slurm {environ['SLURM_JOB_ID']} {environ.get('SLURM_STEP_ID', '')}"),
        processes=processes,
        process=int(environ["SLURM_PROCID"]),
        # "1(x4)" and "1": each has a host of its own, and so all of its accelerators.
        devices=None if tasks.partition("(")[0] == "1" else _one_device(environ, environ["SLURM_LOCALID"]),
        hosts=hosts,
    )


def _from_open_mpi(environ: Mapping[str, str]) -> Place | None:
    processes = int(environ["OMPI_COMM_WORLD_SIZE"])
    if processes < 2:
        return None
    here = int(environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") or 1)
    # Before Open MPI 5: "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911", an address of the host of mpirun.
    launcher = environ.get("OMPI_MCA_orte_hnp_uri", "")
    first = re.search(r"tcp://([^,:]+)|tcp6://\[([^],]+)", launcher)
    return Place(
        host="127.0.0.1" if here == processes else "".join(filter(None, first.groups())) if first else "",
        port=_port(f"mpi {launcher or environ.get('PMIX_NAMESPACE', '')}"),
        processes=processes,
        process=int(environ["OMPI_COMM_WORLD_RANK"]),
        devices=None if here == 1 else _one_device(environ, environ.get("OMPI_COMM_WORLD_LOCAL_RANK", "0")),
        hosts=here < processes,
    )


def _port(job: str) -> int:
    """The same for all processes of a job, and hardly the same for two jobs."""
    return FIRST_PORT + zlib.crc32(job.encode()) % PORTS


def _one_device(environ: Mapping[str, str], local: str) -> tuple[int, ...] | None:
    """Which accelerator belongs to the process with this number on its host; None where the launcher shows it one."""
    shown = environ.get("CUDA_VISIBLE_DEVICES") or environ.get("ROCR_VISIBLE_DEVICES") or ","
    return (int(local),) if "," in shown else None


def found_by_jax(environ: Mapping[str, str]) -> str:
    """JAX's name for a cluster of several processes that it can find its way in by itself; "" where there is none."""
    workers = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES") or ""
    slices = environ.get("MEGASCALE_NUM_SLICES") or "1"
    if "," in workers or (workers and slices != "1"):
        return "gketpu"
    if _has_tpu() and (slices != "1" or _tpu_hosts(environ) > 1):
        return "gcetpu"
    in_pod = {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= set(environ)
    return "k8s" if in_pod and importlib.util.find_spec("kubernetes") else ""


def _has_tpu() -> bool:
    chips = Path("/dev/accel0").exists() or any(Path("/dev/vfio").glob("[0-9]*"))
    return chips and importlib.util.find_spec("libtpu") is not None


def _tpu_hosts(environ: Mapping[str, str]) -> int:
    """Hosts of the Cloud TPU slice that this one is part of, as its metadata server says; 1 where there is none."""
    if "TPU_SKIP_MDS_QUERY" in environ:
        return 1
    import urllib.request  # here, because few need it and it takes a while

    server = environ.get("GCE_METADATA_IP", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{server}/computeMetadata/v1/instance/attributes/worker-network-endpoints",
        headers={"Metadata-Flavor": "Google"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read(1 << 20).count(b",") + 1
    except OSError:
        return 1
