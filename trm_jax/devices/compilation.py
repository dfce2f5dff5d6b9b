"""How programs are compiled: kept, so that the next run of an experiment starts in seconds; and the same each time."""

import os
import platform
import zlib
from pathlib import Path

from trm_jax.errors import ConfigError

# Programs that take less to compile are not worth a file.
_LEAST_SECONDS = 0.3

_DETERMINISTIC = "--xla_gpu_deterministic_ops"


def remember_programs() -> None:
    """Keeps compiled programs in a folder of the user's, and takes them from there.

    The folder is $JAX_COMPILATION_CACHE_DIR, or else trm_jax/ in the user's folder for caches ($XDG_CACHE_HOME,
    ~/.cache), and in it one for each kind of processor, since a home may belong to several machines. JAX names each
    program by all that it depends on: its own operations, versions, flags, devices. Where the folder cannot be written,
    everything is compiled as if this were not there. To be called before anything is.
    """
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        jax.config.update("jax_compilation_cache_dir", str(Path(caches) / "trm_jax" / processor()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def repeat_on_gpus() -> None:
    """Makes GPUs give the same bits in every run of a program, as CPUs do anyway; its steps may become slower.

    Adds --xla_gpu_deterministic_ops=true to what $XLA_FLAGS says, if it is not there. XLA documents it as "Guarantees
    run-to-run determinism on GPU" (xla/debug_options_flags.cc; openxla.org/xla/determinism): sums in a fixed order, and
    no kernel chosen by how long it took. Other GPUs or versions may still give other bits. To be called before JAX is
    imported.

    Raises:
      ConfigError: $XLA_FLAGS names a file of flags, to which none can be added.
    """
    flags, wanted = os.environ.get("XLA_FLAGS", ""), f"{_DETERMINISTIC}=true"
    if flags[:1].strip(" \t\n-"):  # this is how XLA tells a file from flags
        raise ConfigError(
            f"--deterministic adds to flags, and XLA_FLAGS={flags} is a file of them: write {wanted} into it instead"
        )
    given = [flag for flag in flags.split() if flag.partition("=")[0] == _DETERMINISTIC]
    if given[-1:] != [wanted]:  # of several the last counts
        os.environ["XLA_FLAGS"] = f"{flags} {wanted}".strip()


def processor() -> str:
    """A name for what this processor can do, and for what else its programs depend on: its model and its caches."""
    known = ("flags", "features", "cpu family", "model\t", "cache size", "cpu implementer", "cpu part")
    try:
        with open("/proc/cpuinfo") as file:
            first = file.read().partition("\n\n")[0].lower().splitlines()
    except OSError:  # no Linux: one kind of machine in a home, as a rule
        first = []
    abilities = "\n".join(line for line in first if line.startswith(known))
    return f"{platform.machine()}-{zlib.crc32(abilities.encode()):08x}"
