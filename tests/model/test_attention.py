"""Attention: by the formula, on filled-up tiles, as a program for CUDA (not run here), and the choice between them."""

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from trm_jax.config import MemoryConfig, ModelConfig
from trm_jax.errors import ConfigError
from trm_jax.model import attention
from trm_jax.model.attention import TOLERANCE, attend, attend_in_tiles, choose, padded_length, trial
from trm_jax.model.model import Model
from trm_jax.model.network import Network

SMALL = ModelConfig(
    vocab_size=7, seq_len=6, num_puzzles=5, width=32, heads=2, expansion=1.0, layers=1, mixer="attention",
    positions="rope", puzzle_dim=24, puzzle_tokens=3, latent_steps=4, cycles=2, supervision_steps=4, dtype="bfloat16",
)  # fmt: skip


def drawn(length: int, heads: int = 2, head_width: int = 8) -> list[jax.Array]:
    """q, k, v and a gradient of the result, float32 [2, L, H, C]."""
    rng = np.random.default_rng(length)
    return [jnp.asarray(rng.normal(size=(2, length, heads, head_width)), jnp.float32) for _ in range(4)]


def with_gradients(function, q, k, v, pulled) -> list[np.ndarray]:
    @jax.jit
    def both(q, k, v, pulled):
        mixed, pull_back = jax.vjp(function, q, k, v)
        return mixed, *pull_back(pulled)

    return [np.asarray(h) for h in both(q, k, v, pulled)]


def in_tiles(q, k, v):
    return attend_in_tiles(q, k, v, "xla")


def by_hand(q, k, v, pulled) -> list[np.ndarray]:
    """The formula and its derivative in float64, head by head."""
    q, k, v, g = (np.asarray(h, np.float64) for h in (q, k, v, pulled))
    results = [np.zeros_like(q) for _ in range(4)]
    for b, h in np.ndindex(q.shape[0], q.shape[2]):
        Q, K, V, G = q[b, :, h], k[b, :, h], v[b, :, h], g[b, :, h]
        scores = Q @ K.T / np.sqrt(Q.shape[-1])
        A = np.exp(scores - scores.max(-1, keepdims=True))
        A /= A.sum(-1, keepdims=True)
        dA = G @ V.T
        dS = A * (dA - (A * dA).sum(-1, keepdims=True)) / np.sqrt(Q.shape[-1])
        for result, value in zip(results, (A @ V, dS @ K, dS.T @ Q, A.T @ G), strict=True):
            result[b, :, h] = value
    return results


@pytest.mark.parametrize("length", [1, 9, 128, 130])
def test_filled_up_tiles_change_nothing(length: int) -> None:
    arrays = drawn(length)

    plain, tiled = with_gradients(attend, *arrays), with_gradients(in_tiles, *arrays)

    for p, t, exact in zip(plain, tiled, by_hand(*arrays), strict=True):
        assert p.shape == t.shape
        np.testing.assert_allclose(p, exact, atol=2e-6)
        np.testing.assert_allclose(t, p, atol=1e-6)


def test_filling_gets_no_attention_where_every_true_score_is_far_below_its_own() -> None:
    q, k, v, pulled = drawn(9)
    # Every score is near -120, where the filling's is 0; exp(120) is beyond float32.
    q, k = q.at[..., 0].set(1.0), k.at[..., 0].set(-120 * np.sqrt(8))

    plain, tiled = with_gradients(attend, q, k, v, pulled), with_gradients(in_tiles, q, k, v, pulled)

    for p, t in zip(plain, tiled, strict=True):
        assert np.isfinite(t).all()
        np.testing.assert_allclose(t, p, atol=1e-4)


def test_lengths_are_filled_up_to_whole_tiles() -> None:
    assert [padded_length(n) for n in (1, 97, 128, 129, 256, 916)] == [128, 128, 128, 256, 256, 1024]


@pytest.fixture
def pretended_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets JAX write programs for CUDA where there is no cuDNN."""
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91_000)


def for_cuda(function, *shapes) -> str:
    return jax.jit(function).trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()


def kernels(text: str) -> list[tuple[str, str, str]]:
    """Of each call of cuDNN: its name, the type of q, and its kind of mask."""
    calls = re.findall(r"@__cudnn\$(\w+)\(.*?mask_type\\22: \\22(\w+)\\22.*?: \(tensor<(\w+)>", text)
    return sorted((name, q, mask) for name, mask, q in calls)


def gradient_of_thinking(model: Model):
    """Of one supervision step on a batch of four, and the shapes of its arguments."""
    weights = jax.eval_shape(Model(model.config).init, jax.random.key(0))

    def loss(params, starts, inputs_BS):
        _, readout = model.think(params, None, model.start(starts, inputs_BS.shape[0]), inputs_BS)
        return readout.logits.sum() + readout.q_halt.sum()

    return jax.grad(loss), (weights.params, weights.starts, jax.ShapeDtypeStruct((4, 6), jnp.int32))


@pytest.mark.usefixtures("pretended_cudnn")
@pytest.mark.parametrize(
    "memory",
    [
        MemoryConfig(policy="none"),
        MemoryConfig(policy="step", outer_policy="step"),
        MemoryConfig(policy="binomial", states=2),
        MemoryConfig(policy="step", slices=2),
    ],
    ids=["none", "step", "binomial", "slices"],
)
def test_the_gradient_for_cuda_calls_the_fused_kernel_on_whole_tiles(memory: MemoryConfig) -> None:
    fused = Model(SMALL, memory, attention="cudnn")
    gradient, shapes = gradient_of_thinking(fused)

    calls = kernels(for_cuda(gradient, *shapes))

    batch = 4 // memory.slices
    assert set(calls) == {
        ("fmhaSoftmax", f"{batch}x128x2x16xbf16", "PADDING"),
        ("fmhaSoftmaxBackward", f"{batch}x128x2x16xbf16", "PADDING"),
    }


@pytest.mark.usefixtures("pretended_cudnn")
def test_each_of_several_devices_calls_the_fused_kernel_on_its_rows() -> None:
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    gradient, shapes = gradient_of_thinking(Model(SMALL, attention="cudnn"))
    spread = jax.shard_map(
        lambda *arrays: jax.tree.map(lambda g: jax.lax.psum(g, "data"), gradient(*arrays)),
        mesh=mesh,
        in_specs=(P(), P(), P("data")),
        out_specs=P(),
        check_vma=False,
    )

    assert {q for _, q, _ in kernels(for_cuda(spread, *shapes))} == {"2x128x2x16xbf16"}


@pytest.mark.usefixtures("pretended_cudnn")
def test_by_default_attention_is_plain() -> None:
    gradient, shapes = gradient_of_thinking(Model(SMALL))

    assert kernels(for_cuda(gradient, *shapes)) == []
    assert Model(SMALL) == Model(SMALL, attention="xla") != Model(SMALL, attention="cudnn")


def test_every_block_of_a_network_attends_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(
        "trm_jax.model.mixers.attention.attend", lambda q, k, v, how, bias: told.append(how) or attend(q, k, v, "xla")
    )
    network = Network(SMALL, 2)
    h_BLD = jnp.ones((1, 3, SMALL.width))
    for given in (network, network.clone(attention="cudnn")):
        jax.eval_shape(given.init, jax.random.key(0), h_BLD, 0.0)

    assert told == ["xla", "xla", "cudnn", "cudnn"]


@pytest.fixture
def no_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> int:
        raise RuntimeError("cuDNN is not detected.")

    monkeypatch.setattr(cudnn, "check_cudnn_version", absent)


TRM: dict[str, Any] = {"heads": 8, "width": 512, "length": 97, "dtype": "bfloat16", "platform": "gpu"}


@pytest.mark.usefixtures("no_cudnn")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"platform": "cpu"}, "cuDNN needs an NVIDIA GPU and the platform is cpu"),
        ({"platform": "tpu"}, "cuDNN needs an NVIDIA GPU and the platform is tpu"),
        ({"dtype": "float32"}, "cuDNN takes bfloat16 and float16, not float32"),
        ({"heads": 128}, "cuDNN takes heads of a width that is a multiple of 8, 256 at most, not 4"),
        ({"heads": 1}, "cuDNN takes heads of a width that is a multiple of 8, 256 at most, not 512"),
        ({}, "cuDNN refuses 8 heads of width 64 on 97 positions (cuDNN is not detected)"),
        ({"platform": "cuda"}, "cuDNN refuses 8 heads of width 64 on 97 positions (cuDNN is not detected)"),
    ],
)
def test_where_the_kernel_is_impossible_attention_is_plain_or_the_wish_an_error(changes, reason: str) -> None:
    sizes = TRM | changes

    assert choose("auto", **sizes) == ("xla", f"attention: plain, since {reason}")
    assert choose("xla", **sizes) == ("xla", "attention: plain, as config.devices.attention says")
    with pytest.raises(ConfigError) as error:
        choose("cudnn", **sizes)
    assert str(error.value) == (
        f"config.devices.attention = 'cudnn' is not possible here, since {reason}: set it to 'auto' or 'xla'"
    )


@pytest.mark.parametrize("wanted", ["auto", "cudnn"])
@pytest.mark.parametrize("platform", ["gpu", "cuda"])
def test_where_the_trial_succeeds_attention_is_fused(wanted, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(attention, "trial", lambda *sizes: tried.append(sizes) or 0.004)
    sizes = TRM | {"platform": platform}

    assert choose(wanted, **sizes) == ("cudnn", "attention: cuDNN, fused, 97 positions padded to 128")
    assert choose(wanted, **(sizes | {"length": 256})) == ("cudnn", "attention: cuDNN, fused, 256 positions")
    assert tried == [(8, 64, n, jnp.bfloat16, "cudnn") for n in (97, 256)]


@pytest.mark.parametrize("error", [float("nan"), 0.16])
def test_a_kernel_that_errs_is_not_used(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "trial", lambda *sizes: error)

    implementation, why = choose("auto", **TRM)

    assert (implementation, why) == (
        "xla",
        f"attention: plain, since cuDNN's result or gradient is off by {error:.2g} of its size",
    )
    with pytest.raises(ConfigError, match=r"since cuDNN's result or gradient is off by"):
        choose("cudnn", **TRM)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (ValueError("No plan.\nA long\ntrace"), "(No plan)"),
        (NotImplementedError(), "(NotImplementedError)"),
        (jax.errors.JaxRuntimeError("INTERNAL: cuDNN: 3000"), "(INTERNAL: cuDNN: 3000)"),
    ],
)
def test_a_refusal_is_told_in_one_line(refusal: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*sizes: Any) -> float:
        raise refusal

    monkeypatch.setattr(attention, "trial", refuse)

    assert choose("auto", **TRM)[1].endswith(f"on 97 positions {told}")


def test_the_trial_passes_rounding_and_sees_what_a_kernel_may_do_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    right = jax.nn.dot_product_attention

    def kernel(break_it):
        """In place of cuDNN's."""

        def attention(q, k, v, key_value_seq_lengths=None, implementation=None):
            if implementation == "xla":
                return right(q, k, v, key_value_seq_lengths=key_value_seq_lengths)
            return break_it(q, k, v, key_value_seq_lengths)

        return attention

    def rounded(q, k, v, lengths):
        exact = (h.astype(jnp.float32) for h in (q, k, v))
        return right(*exact, key_value_seq_lengths=lengths).astype(q.dtype)

    @jax.custom_vjp
    def gradient_of_nan(h):
        return h

    gradient_of_nan.defvjp(lambda h: (h, None), lambda _, g: (g * jnp.nan,))

    def wrong_gradient(q, k, v, lengths):
        return right(q, jax.lax.stop_gradient(k), v, key_value_seq_lengths=lengths)

    errors = {}
    for name, broken in {
        "rounded": rounded,
        "length ignored": lambda q, k, v, _: right(q, k, v),
        "gradient of nan": lambda q, k, v, lengths: right(q, gradient_of_nan(k), v, key_value_seq_lengths=lengths),
        "no gradient of k": wrong_gradient,
    }.items():
        monkeypatch.setattr(jax.nn, "dot_product_attention", kernel(broken))
        errors[name] = trial(2, 16, 97, jnp.dtype(jnp.bfloat16), "cudnn")

    assert 0 < errors["rounded"] < TOLERANCE / 5
    assert errors["length ignored"] > 3 * TOLERANCE
    assert errors["no gradient of k"] == pytest.approx(1)
    assert np.isnan(errors["gradient of nan"])


def test_the_trial_is_exact_for_the_same_kernel() -> None:
    assert trial(2, 16, 97, jnp.dtype(jnp.float32), "xla") < 1e-6
    assert replace(Model(SMALL), attention="cudnn")._core.attention == "cudnn"
