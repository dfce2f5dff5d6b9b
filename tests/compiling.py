"""How XLA compiles the programs of tests: quickly, unless a test says otherwise."""

from importlib.metadata import version
from typing import Any

# jax 0.10 has two ways to emit a fusion on CPUs, of which the older one takes a third of the time to compile.
_TWO_EMITTERS = version("jaxlib").startswith("0.10.")
QUICK_FLAGS = " --xla_cpu_use_fusion_emitters=false" if _TWO_EMITTERS else ""
# An option of jax.jit, for what is to be emitted as users have it.
AS_USERS: dict[str, Any] = {"xla_cpu_use_fusion_emitters": True} if _TWO_EMITTERS else {}
