"""Programs that were compiled once are kept, so that the next run of the same experiment starts in seconds."""

import os
import platform
import zlib
from pathlib import Path

# Programs that take less to compile are not worth a file.
_LEAST_SECONDS = 0.3


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
        jax.config.update("jax_compilation_cache_dir", str(Path(caches) / "trm_jax" / _processor()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _processor() -> str:
    """A name for what this processor can do."""
    abilities = ""
    try:
        with open("/proc/cpuinfo") as file:
            abilities = next((line for line in file if line.lower().startswith(("flags", "features"))), "")
    except OSError:  # no Linux: one kind of machine in a home, as a rule
        pass
    return f"{platform.machine()}-{zlib.crc32(abilities.encode()):08x}"
