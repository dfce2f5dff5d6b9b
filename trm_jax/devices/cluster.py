"""Many processes as one machine: joining the others, if there are any, and parting from them.

Each process holds some of the devices, and JAX makes them one machine (`jax.distributed`). Nothing here imports JAX
before it is known that there is somebody to join.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from trm_jax.devices.launchers import asked, found_by_jax, launched
from trm_jax.devices.rendezvous import meet
from trm_jax.errors import ConfigError, TrmError

# Seconds. A process that stops answering for so long is given up by the others, which then end too.
HEARTBEAT_TIMEOUT = 30
# Seconds in which the first process that is done waits for the last: process 0 may still be writing files.
SHUTDOWN_TIMEOUT = 300
# Seconds until what one process writes has to be seen by process 0: file systems of networks remember for a while.
SEEN_WITHIN = 10

# What XLA's errors say where another process has gone in the middle of a sum, or process 0 while it is asked something.
_SIGNS_OF_LOSS = ("Gloo", "NCCL", "UNAVAILABLE: ")

_joined = False
_agreements = count()


class ProcessLost(TrmError):
    """Another process has gone while this one worked with it. The run can go on once all are started again."""

    exit_code = 75


def join(coordinator: str = "", processes: int = 0, process: int = -1, timeout: int = 30) -> None:
    """Joins the other processes, if there are any; a process that is alone stays so, and listens nowhere.

    There are others where the arguments say so, and where a launcher does: SLURM, Open MPI, a Cloud TPU slice of
    several hosts, a Kubernetes job whose pods may ask for their own job. Arguments go before what a launcher says;
    `processes` = 1 means alone, whatever a launcher says.

    Args:
      coordinator: HOST:PORT at which process 0 is to listen. A loopback address, or a name of one, keeps all there.
      processes: how many there are.
      process: which of them this one is, from 0.
      timeout: seconds in which all have to come.

    Raises:
      ConfigError: arguments that are incomplete or at odds; a process that does not come in time; a port that is
        taken; processes that disagree; a device that was used before.
    """
    global _joined
    if alone(coordinator, processes, process):
        return
    place = asked(coordinator, processes, process, launched(os.environ))
    import jax
    from jax._src import xla_bridge

    if _joined or xla_bridge.backends_are_initialized():
        raise ConfigError("processes have to be joined once, and before JAX uses a device: call cluster.join first")
    # Its handler swallows SIGTERM, also before training has put up its own.
    jax.config.update("jax_enable_preemption_service", False)
    bind = None
    arguments: dict[str, Any] = {"cluster_detection_method": found_by_jax(os.environ)}
    if place:
        place, bind = meet(place, timeout)
        arguments = {
            "cluster_detection_method": "deactivate",
            "coordinator_address": place.address,
            "num_processes": place.processes,
            "process_id": place.process,
            "local_device_ids": place.devices,
            "coordinator_bind_address": bind,
        }
    try:
        jax.distributed.initialize(
            initialization_timeout=timeout,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT,
            **arguments,
        )
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"the processes of this cluster cannot be joined ({' '.join(str(error).split())}): "
            "give --coordinator, --processes and --process, or --processes=1 to stay alone"
        ) from error
    if place and bind:
        _stay_on_loopback(place.host)
    _joined = True
    _connect_devices()


def alone(coordinator: str = "", processes: int = 0, process: int = -1) -> bool:
    """Whether `join` would find nobody to join. Raises ConfigError as it does."""
    if processes == 1 and process < 1:
        return True
    return asked(coordinator, processes, process, launched(os.environ)) is None and not found_by_jax(os.environ)


def joined() -> bool:
    """Whether this process has joined others."""
    return _joined


def is_main() -> bool:
    """Whether this is process 0, or the only one: the one that writes files and tells people."""
    if not _joined:
        return True
    import jax

    return jax.process_index() == 0


@contextmanager
def unanimous() -> Iterator[dict[str, Any]]:
    """A part of a program that ends well in all processes or in none; alone, as if it were not there.

    Every process has to come to its end, in the same order if there are several such parts. What is put into the
    mapping that it gives (names to what JSON can hold) has to be the same in all.

    Raises:
      ConfigError: it failed in another process, or a value differs; the same line in all that did not fail themselves.
    """
    facts: dict[str, Any] = {}
    if not _joined:
        yield facts
        return
    number = next(_agreements)
    try:
        yield facts
    except Exception as error:
        _agree(number, {"fault": " ".join(str(error).split()) or type(error).__name__}, _judge)
        raise
    if fault := _agree(number, {"facts": facts}, _judge):
        raise ConfigError(fault)


def any_of_us(flag: bool) -> bool:
    """Whether the flag is set in any process; every process has to come to this point, and waits for the others."""
    return bool(_agree(next(_agreements), flag, any)) if _joined else flag


def check_shared(folder: Path) -> None:
    """Raises ConfigError, in all processes, unless each can write to the folder and process 0 sees what it wrote."""
    if not _joined:
        return
    import jax

    process = jax.process_index()
    token = _agree(next(_agreements), uuid.uuid4().hex, min)  # any that is the same for all
    marks = [folder / f".process_{number}.{token}" for number in range(jax.process_count())]
    try:
        with unanimous():
            try:
                marks[process].touch()
            except OSError as error:
                raise ConfigError(f"{folder}: cannot be written to: {error.strerror}") from None
        with unanimous():
            deadline = time.monotonic() + SEEN_WITHIN
            while process == 0 and not all(mark.exists() for mark in marks):
                if time.monotonic() > deadline:
                    unseen = next(number for number, mark in enumerate(marks) if not mark.exists())
                    raise ConfigError(f"{folder} is another place in process {unseen}: give all of them a common one")
                time.sleep(0.1)
    finally:
        marks[process].unlink(missing_ok=True)


@contextmanager
def noticing_loss() -> Iterator[None]:
    """Makes one line of what happens here when another process goes. Raises ProcessLost."""
    import jax

    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # which of them depends on how the program was called
        line = " ".join(str(error).split())
        if not _joined or not any(sign in line for sign in _SIGNS_OF_LOSS):
            raise
        raise ProcessLost(
            f"another process has gone ({line}): see what it says; started again, all go on from the last checkpoint"
        ) from error


def _agree(number: int, said: Any, judge: Callable[[list[Any]], Any]) -> Any:
    """What process 0 makes of what all processes say, by their numbers; each has to come here and waits for the others.

    What is said and what is made of it is anything that JSON can hold; `number` is the same for all, and used once.
    """
    import jax
    from jax._src import distributed

    client: Any = distributed.global_state.client

    def value(key: str) -> Any:
        """What a process has said, or will. One that dies is noticed by its heartbeat."""
        while True:
            try:
                # Milliseconds: an interrupt is heard in between.
                return json.loads(client.blocking_key_value_get(f"trm/{number}/{key}", 500))
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise

    client.key_value_set(f"trm/{number}/{jax.process_index()}", json.dumps(said))
    if jax.process_index() == 0:
        verdict = judge([value(str(process)) for process in range(jax.process_count())])
        client.key_value_set(f"trm/{number}/verdict", json.dumps(verdict))
        client.key_value_delete(f"trm/{number - 1}")  # who has come here has read what was agreed on before
    return value("verdict")


def _judge(everyone: list[dict[str, Any]]) -> str:
    """What is wrong, from each process its fault or its facts; "" if nothing is."""
    for process, said in enumerate(everyone):
        if "fault" in said:
            return f"process {process}: {said['fault']}"
    first = everyone[0]["facts"]
    for process, said in enumerate(everyone):
        facts = said["facts"]
        unlike = [name for name in {**first, **facts} if first.get(name) != facts.get(name)]
        if unlike:
            told = [f"{name} is {first.get(name)!r} in process 0, {facts.get(name)!r} in {process}" for name in unlike]
            return f"the processes were given different experiments: {'; '.join(told[:4])}: give all of them the same"
    return ""


def leave() -> None:
    """Waits for the others to be done and parts from them; at the end of a program, JAX does so by itself."""
    global _joined
    if _joined:
        import jax

        jax.distributed.shutdown()
        _joined = False


def abandon(exit_code: int) -> None:
    """Ends a process that has failed at once, where it has joined others, and does nothing where it is alone.

    Ending as usual would wait for the others, which wait for this one.
    """
    if not _joined:
        return
    if is_main():
        time.sleep(1)  # without process 0 the others die at once: let them tell first if they found the same fault
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _connect_devices() -> None:
    """Has Gloo connect the CPUs of all processes now, because it says so on standard output, where results go."""
    import jax
    from jax.experimental.multihost_utils import sync_global_devices

    if jax.default_backend() != "cpu":
        return
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        sync_global_devices("connected")
    except jax.errors.JaxRuntimeError as error:
        line = " ".join(str(error).split())
        raise ConfigError(
            f"the processes have met, but their CPUs cannot be connected ({line}): does each host's own name stand for "
            "an address that the others reach?"
        ) from error
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _stay_on_loopback(host: str) -> None:
    """Keeps the sockets between devices on the loopback too; by default they listen at the host's own name."""
    from jax._src import distributed, xla_bridge
    from jax._src.lib import _jax

    # Read by NCCL when it first connects; a user's own choice stands.
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    client = distributed.global_state.client
    if xla_bridge.config.cpu_collectives_implementation.value == "gloo":
        xla_bridge.register_backend_factory(
            "cpu",
            lambda: xla_bridge.make_cpu_client(
                _jax.make_gloo_tcp_collectives(distributed_client=client, hostname=host)
            ),
            priority=0,
            fail_quietly=False,
        )
