"""Strictness for every test: eight fake CPU devices, and no shape is ever broadcast by accident."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compiling import QUICK_FLAGS

os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
# Compiling takes most of the time, and the speed of what it makes counts nothing here.
os.environ["XLA_FLAGS"] += QUICK_FLAGS
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# What one process of a test run has compiled, all of them and those that they start may take from there.
if "PYTEST_XDIST_WORKER" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="trm_jax_compiled_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    # And what it remembers of a user's rules, nobody else is to see.
    remembered = tempfile.TemporaryDirectory(prefix="trm_jax_state_")
    os.environ["XDG_STATE_HOME"] = remembered.name

import hypothesis
import jax
import pytest
from places import SHARED, TESTS

jax.config.update("jax_numpy_rank_promotion", "raise")

# `make test` draws the same cases each time, so that it fails for a change and not by chance; `make fuzz` draws others.
hypothesis.settings.register_profile("repeated", derandomize="TRM_FUZZ" not in os.environ)
hypothesis.settings.load_profile("repeated")


# Folders with the files that take longest, which begin first, so that no process ends long after the other.
LONGEST = ("runs", "devices", "commands", "docs", "recursion")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make fuzz` is for tests that make up their own input; the others would say the same again."""
    items.sort(key=lambda item: item.path.relative_to(TESTS).parts[0] not in LONGEST)  # stable
    if "TRM_FUZZ" in os.environ:
        others = [item for item in items if not getattr(getattr(item, "obj", None), "is_hypothesis_test", False)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the public benchmark data, beside the repository; tests that need it skip where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no public benchmark data at {folder}")
    return folder


@pytest.fixture
def optimised() -> Iterator[None]:
    """Compiles as users do, for tests of what XLA makes of a program: its memory, its rounding."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
