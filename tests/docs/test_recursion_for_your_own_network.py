"""docs/recursion_for_your_own_network.md does what it says: its blocks are run as they stand, with fewer steps."""

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from places import ROOT

from trm_jax.config.files import execute

PAGE = (ROOT / "docs" / "recursion_for_your_own_network.md").read_text()
STEPS = 40


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """The page as a module, and what it printed."""
    source = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    assert source.count("range(200)") == 1
    file = tmp_path_factory.mktemp("page") / "own.py"
    file.write_text(source.replace("range(200)", f"range({STEPS})"))
    printed = StringIO()
    with redirect_stdout(printed):
        module = execute(file)
    return module, printed.getvalue()


def megabytes(text: str) -> dict[str, float]:
    """By policy, and the last one with four repetitions."""
    found = re.findall(r"^(\w+) +([\d.]+) MB$", text, re.MULTILINE)
    names = [*(name for name, _ in found[:-1]), "four repetitions"]
    return dict(zip(names, (float(size) for _, size in found), strict=True))


def test_the_network_has_about_twenty_lines() -> None:
    assert 15 <= len(re.search(r"def init.*?(?=```)", PAGE, re.DOTALL)[0].strip().splitlines()) <= 20  # type: ignore[index]


@pytest.mark.slow  # tests/recursion has each promise of the page in small
def test_it_learns(page: tuple[Any, str]) -> None:
    losses = [float(loss) for loss in re.findall(r"^step +\d+  loss ([\d.]+)$", page[1], re.MULTILINE)]
    assert len(losses) == STEPS / 20
    assert losses[0] > 0.65
    assert float(page[0].value) < 0.65
    assert int(re.search(r"^(\d+) of all 64", page[1], re.MULTILINE)[1]) > 36  # type: ignore[index]


@pytest.mark.slow  # tests/recursion has each promise of the page in small
def test_the_memory_is_as_claimed(page: tuple[Any, str]) -> None:
    claimed = megabytes(re.search(r"```\n(policy.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]
    assert list(claimed) == ["none", "step", "nested", "binomial", "four repetitions"]
    assert megabytes(page[1]) == pytest.approx(claimed, rel=0.3)
    assert claimed["none"] > 100 * claimed["binomial"]


@pytest.mark.slow  # tests/recursion has each promise of the page in small
def test_the_refusal_is_as_claimed(page: tuple[Any, str]) -> None:
    (said,) = re.findall(r"print\(error\)  # (.*)", PAGE)
    assert page[1].endswith(f"{said}\n")


@pytest.mark.slow
def test_a_flax_module_does_as_the_function(page: tuple[Any, str]) -> None:
    """Its bullet on the page."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    import trm_jax as trm

    class Net(nn.Module):
        @nn.compact
        def __call__(self, h: jax.Array, injection: Any) -> jax.Array:
            return nn.tanh(nn.Dense(3)(h + injection))

    x = jnp.ones((2, 3))
    variables = Net().init(jax.random.key(0), x, x)
    run: Callable[..., Any] = lambda nets: trm.recurse(nets, variables, trm.State(x, x), x, trm.Schedule(3, 2)).y  # noqa: E731
    dense = variables["params"]["Dense_0"]
    plain = run(lambda _, h, injection: jnp.tanh((h + injection) @ dense["kernel"] + dense["bias"][None]))
    assert jnp.allclose(run(Net().apply), plain, atol=1e-6)
