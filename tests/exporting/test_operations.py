"""What an operation becomes in ONNX gives what it gives in JAX; one that has no rule is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exporting.running import needs
from jax import lax

from trm_jax.errors import ConfigError
from trm_jax.exporting import onnx_file
from trm_jax.exporting.program import Port, Program

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
WORDS = np.array([[0, 1, 2**31, 2**32 - 1, 0xDEADBEEF]] * 3, np.uint32)
COUNTS = np.array([[3, -7, 0, 12, -1]] * 3, np.int32)
ABOUT = {"made_by": "a test"}
FILLING = (0, 0), (1, 2), (0, 0)
SUMS = "bij,bkj->bki", "bij,bij->bi"


def in_turns(x):
    """A loop whose turns depend on what goes round, in one of so many turns with rows in and out."""

    def outer(carry, row):
        grown = lax.while_loop(lambda loop: loop.sum() < 50, lambda loop: 2 * loop + 1, carry + row)
        return grown / 10, grown.max(axis=1)

    carry, rows = lax.scan(outer, jnp.abs(x[:, :, 0]), jnp.arange(4, dtype=jnp.float32)[:, None, None])
    return carry, rows.T


FUNCTIONS = {
    "arithmetic": lambda x: (jnp.exp(-x) + 2 * x - x / 3, jnp.sqrt(jnp.abs(x)), lax.rsqrt(jnp.square(x) + 1), x**3),
    "functions": lambda x: (jnp.tanh(x), jax.nn.silu(x), jax.nn.gelu(x), jax.nn.softmax(x), jnp.sin(x), lax.erf(x)),
    "comparisons": lambda x: (x > 0, x <= 0.5, x == x, x != x, jnp.where(x > 0, x, -1.0), jnp.maximum(x, 0.1)),
    "truth": lambda x: (~(x > 0) | (x < -1), (x > 0) ^ (x > 1), jnp.where(x > 1, x > 2, x < 0), (x > 0).any(axis=1)),
    "choices of truth": lambda x: ((x > -1).all(axis=(1, 2)), (x > 0).argmax(axis=-1), (x > 0).sum(axis=1)),
    "reductions": lambda x: (x.sum(axis=(1, 2)), x.mean(axis=1), x.max(axis=2), x.min(axis=1), x.argmax(axis=1)),
    "whole numbers": lambda n: (n % 4, n // 2, lax.rem(n, jnp.int32(5)), n.cumsum(axis=1), n > 0, n.astype(float)),
    "words": lambda w: tuple(
        (made >> 3).astype(jnp.int32) for made in (w * w, w + w, w << 13, w >> 9, w ^ (w << 1), w | 5)
    ),
    "words and others": lambda n: ((n.astype(jnp.uint32) >> 9).astype(jnp.float32), n.astype(jnp.uint32) > 7),
    "shapes": lambda x: (x.swapaxes(1, 2), x.reshape(-1, 20), x[:, 1:3], x[:, ::2], x[:, -1], x[:, :, :1].squeeze(2)),
    "parts": lambda x: (*jnp.split(x, 2, axis=1), jnp.concatenate([x, -x], axis=2), jnp.pad(x, FILLING)),
    "products": lambda x: (x @ x.swapaxes(1, 2), x @ jnp.ones((5, 2)), *(jnp.einsum(how, x, x) for how in SUMS)),
    "products with many axes": lambda x: (
        jnp.einsum("bij,jkl->bikl", x, jnp.ones((5, 2, 3))), jnp.einsum("gi,bij->gbj", jnp.ones((2, 4)), x)
    ),
    "rows": lambda x: (x[:, jnp.array([3, 0, 0])], x[:, jnp.array([[0, 1], [2, 3]])], jnp.arange(8.0)[x.argmax(2)]),
    "updates": lambda x: (lax.dynamic_update_index_in_dim(x, 2 * x[:, 0], (x > 0).sum() % 4, 1), x + x.shape[0]),
    "broadcasts": lambda x: (x[:, :1] + jnp.arange(5.0)[None, None], jnp.broadcast_to(x[:, :1], x.shape) * 1.0),
    "narrow ones": lambda x: (x[:, None] + x[:, :, None], jnp.ones_like(x[:, :, :1]) * x[:, :1]),
    "loops": in_turns,
}  # fmt: skip
# Of the names above, those that take others than X.
GIVEN = {"whole numbers": COUNTS, "words": WORDS, "words and others": COUNTS}


def program(functions, array) -> Program:
    """Several functions(given) -> several, as one program whose first size is open; outputs are "NAME 0", "NAME 1"."""
    port = Port("given", str(array.dtype), ("B", *array.shape[1:]), "")

    def made(given):
        return {f"{name} {i}": out for name, of in functions.items() for i, out in enumerate(of(given))}

    outputs = [
        Port(name, str(out.dtype), ("B", *out.shape[1:]), "") for name, out in jax.eval_shape(made, array).items()
    ]
    return Program("step", made, (port,), tuple(outputs))


@pytest.mark.parametrize("array", [X, COUNTS, WORDS], ids=["numbers", "whole numbers", "words"])
def test_onnx_says_what_jax_says(array):
    needs(".onnx")
    import onnxruntime

    wanted = program({name: of for name, of in FUNCTIONS.items() if GIVEN.get(name, X) is array}, array)
    session = onnxruntime.InferenceSession(onnx_file.to_bytes(wanted, ABOUT), providers=["CPUExecutionProvider"])
    expected = jax.jit(wanted.function)(array)
    names = [port.name for port in wanted.outputs]
    for name, found in zip(names, session.run(names, {"given": array}), strict=True):
        np.testing.assert_allclose(found, np.asarray(expected[name]), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda x: (jnp.sort(x, axis=1),), "uses the operation 'sort' of JAX, which is not written as ONNX"),
        (lambda x: (x.astype(jnp.bfloat16).astype(jnp.float32),), "computes with bfloat16"),
        (lambda x: (lax.pad(x, jnp.float32(0), ((0, 0, 0), (0, 0, 1), (0, 0, 0))),), "'pad' of JAX between elements"),
        (
            lambda x: (jnp.take_along_axis(x, x[:, :1].astype(jnp.int32), 1),),
            "uses the operation 'gather' of JAX by several",
        ),
        (lambda x: (x[jnp.arange(x.shape[0])],), "uses the operation 'iota' of JAX over the batch"),
    ],
)
def test_what_has_no_form_is_named(function, told):
    needs(".onnx")
    with pytest.raises(ConfigError, match=told) as caught:
        onnx_file.to_bytes(program({"it": function}, X), ABOUT)
    assert "export it as .stablehlo" in str(caught.value)
