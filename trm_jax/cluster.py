"""Many processes as one machine: joining the others, if there are any, and parting from them.

Each process holds some of the devices, and JAX makes them one machine (`jax.distributed`). Nothing here imports JAX
before it is known that there is somebody to join.
"""

import os
import sys
import time

from trm_jax.errors import ConfigError
from trm_jax.launchers import asked, found_by_jax, launched
from trm_jax.rendezvous import meet

# Seconds. A process that stops answering for so long is given up by the others, which then end too.
HEARTBEAT_TIMEOUT = 30
# Seconds in which the first process that is done waits for the last: process 0 may still be writing files.
SHUTDOWN_TIMEOUT = 300

_joined = False


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
    if processes == 1 and process < 1:
        return
    place = asked(coordinator, processes, process, launched(os.environ))
    method = "" if place else found_by_jax(os.environ)
    if place is None and not method:
        return
    import jax
    from jax._src import xla_bridge

    if _joined or xla_bridge.backends_are_initialized():
        raise ConfigError("processes have to be joined once, and before JAX uses a device: call cluster.join first")
    # Its handler swallows SIGTERM, also before training has put up its own.
    jax.config.update("jax_enable_preemption_service", False)
    if place is None:
        _initialize(timeout, cluster_detection_method=method)
    else:
        place, bind = meet(place, timeout)
        _initialize(
            timeout,
            cluster_detection_method="deactivate",
            coordinator_address=place.address,
            num_processes=place.processes,
            process_id=place.process,
            local_device_ids=place.devices,
            coordinator_bind_address=bind,
        )
        if bind:
            _stay_on_loopback(place.host)
    _joined = True


def joined() -> bool:
    """Whether this process has joined others."""
    return _joined


def is_main() -> bool:
    """Whether this is process 0, or the only one: the one that writes files and tells people."""
    if not _joined:
        return True
    import jax

    return jax.process_index() == 0


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


def _initialize(timeout: float, **arguments: object) -> None:
    import jax

    try:
        jax.distributed.initialize(
            initialization_timeout=int(timeout),
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT,
            **arguments,  # type: ignore[arg-type]
        )
    except (ValueError, RuntimeError) as error:
        message = " ".join(str(error).split())
        raise ConfigError(
            f"the processes of this cluster cannot be joined ({message}): "
            "give --coordinator, --processes and --process, or --processes=1 to stay alone"
        ) from error


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
