"""The update, against formulas in float64; and what the puzzle table's update costs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trm_jax.training.optim import adam_atan2, adamw, arctan2, averaged, muon, rounded, sign_sgd_rows, warmup_cosine


def reference(form, w, grads, lr, b1, b2, wd):
    w, m, v = np.float64(w), np.zeros_like(w, np.float64), np.zeros_like(w, np.float64)
    for t, g in enumerate(np.float64(grads), start=1):
        w = w * (1 - lr * wd)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        root = np.sqrt(v / (1 - b2**t))
        if form == "original":
            w = w - lr / (1 - b1**t) * np.arctan2(m, root)
        else:
            w = w - lr * 1.27 * np.arctan2(m / (1 - b1**t), root)
    return w


@pytest.mark.parametrize("form", ["original", "debiased"])
def test_adam_atan2_is_its_formula_over_many_steps(form):
    rng = np.random.default_rng(0)
    w, grads = rng.normal(size=(40,)), rng.normal(size=(30, 40)) * 10.0 ** rng.uniform(-6, 3, size=40)
    optimiser = adam_atan2(lambda t: jnp.float32(0.01), 0.9, 0.95, 0.3, form)
    params = {"w": jnp.asarray(w, jnp.float32)}
    state, update = optimiser.init(params), jax.jit(optimiser.update)
    for g in grads:
        updates, state = update({"w": jnp.asarray(g, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["w"], reference(form, w, grads, 0.01, 0.9, 0.95, 0.3), atol=3e-6)


def test_settled_steps_of_the_debiased_form_are_27_percent_larger():
    sizes = {}
    for form in ("original", "debiased"):
        optimiser = adam_atan2(lambda t: jnp.float32(1.0), form=form)
        params = {"w": jnp.zeros(1)}

        def step(state, _, optimiser=optimiser, params=params):
            updates, state = optimiser.update({"w": jnp.ones(1)}, state, params)
            return state, updates["w"][0]

        sizes[form] = float(jax.lax.scan(step, optimiser.init(params), length=400)[1][-1])
    assert sizes["original"] == pytest.approx(-np.pi / 4, rel=1e-4)
    assert sizes["debiased"] / sizes["original"] == pytest.approx(1.27, rel=1e-4)


def test_a_zero_gradient_still_decays_the_weight():
    optimiser = adam_atan2(lambda t: jnp.float32(0.1), weight_decay=0.5)
    params = {"bias": jnp.ones(2)}
    updates, _ = optimiser.update({"bias": jnp.zeros(2)}, optimiser.init(params), params)
    np.testing.assert_allclose(updates["bias"], -0.05, rtol=1e-6)


def second_step(optimiser, params, grads):
    """The updates of two steps with these gradients, the rate being 0.1 and 0.2."""
    state = optimiser.init(params)
    for grad in grads:
        updates, state = optimiser.update(grad, state, params)
    return jax.tree.map(np.float64, updates)


def test_adamw_is_its_formula_and_decays_every_tensor():
    rng = np.random.default_rng(3)
    w, *grads = rng.normal(size=(3, 5)).astype(np.float32)
    found = second_step(adamw(lambda t: 0.1 * t, 0.9, 0.95, 0.5), {"b": w}, [{"b": g} for g in grads])
    m, v = 0.9 * 0.1 * grads[0] + 0.1 * grads[1], 0.95 * 0.05 * grads[0] ** 2 + 0.05 * grads[1] ** 2
    step = (m / (1 - 0.9**2)) / (np.sqrt(v / (1 - 0.95**2)) + 1e-8)
    np.testing.assert_allclose(found["b"], -0.2 * (step + 0.5 * w), rtol=1e-5)


def newton_schulz(momentum):
    """Five steps of the quintic iteration that Muon was published with, on rows no longer than columns."""
    x = momentum / np.linalg.norm(momentum)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


@pytest.mark.parametrize(("ratio", "scale"), [(0.0, 0.2 * 6**0.5), (200.0, 200 * (6 / 4) ** 0.5)])
def test_muon_steps_along_equal_singular_values_in_blocks_and_decays_all_alike(ratio, scale):
    rng = np.random.default_rng(4)
    params, *grads = (
        {"latent_net": {"block_0": {"kernel": rng.normal(size=(4, 6)), "bias": rng.normal(size=3)}},
         "tokens": rng.normal(size=(4, 6))}
        for _ in range(3)
    )  # fmt: skip
    params, *grads = (jax.tree.map(np.float32, tree) for tree in (params, *grads))
    found = second_step(muon(lambda t: 0.1 * t, 0.9, 0.95, 0.5, ratio), params, grads)

    w, first, second = (np.float64(tree["latent_net"]["block_0"]["kernel"]) for tree in (params, *grads))
    # Nesterov's momentum of both moments, corrected for having begun at zero.
    momentum = 0.95 * (0.95 * 0.05 * first + 0.05 * second) / (1 - 0.95**3) + 0.05 * second / (1 - 0.95**2)
    expected = -0.2 * (scale * newton_schulz(momentum) + 0.5 * w)
    np.testing.assert_allclose(found["latent_net"]["block_0"]["kernel"], expected, rtol=1e-3, atol=1e-4)
    nadamw = optax.adamw(lambda count: 0.1 * (count + 1), 0.9, 0.95, weight_decay=0.5, nesterov=True)
    others = second_step(nadamw, params, grads)
    np.testing.assert_array_equal(found["tokens"], others["tokens"])
    np.testing.assert_array_equal(found["latent_net"]["block_0"]["bias"], others["latent_net"]["block_0"]["bias"])


@pytest.mark.parametrize(("start", "expected"), [(0, [0.7, 1.16, 2.328]), (2, [1.0, 3.0, 3.8])])
def test_the_average_begins_where_it_is_told_and_is_the_weights_until_then(start, expected):
    average = {"w": jnp.asarray([0.625])}
    found = []
    for step, weight in enumerate((1.0, 3.0, 7.0), start=1):
        average = averaged(average, {"w": jnp.asarray([weight])}, jnp.int32(step), 0.8, start)
        found.append(float(average["w"][0]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rounded_weights_are_those_that_bfloat16_can_hold():
    w = np.random.default_rng(5).normal(size=1000).astype(np.float32)
    found = jax.jit(lambda w: rounded({"w": w}, "bfloat16"))(w)["w"]
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, w.astype(jnp.bfloat16).astype(np.float32))
    assert (np.asarray(found) != w).mean() > 0.9
    assert rounded({"w": w}, "float32")["w"] is w


def test_warmup_is_linear_from_the_first_step_and_the_cosine_ends_at_its_ratio():
    rate = warmup_cosine(2.0, 10, 110, 0.1)
    np.testing.assert_allclose([rate(jnp.int32(t)) for t in (1, 5, 9, 10)], [0.2, 1.0, 1.8, 2.0], rtol=1e-6)
    np.testing.assert_allclose([rate(jnp.int32(t)) for t in (60, 110)], [2 * (0.1 + 0.9 * 0.5), 0.2], rtol=1e-5)
    constant = warmup_cosine(2.0, 0, 100, 1.0)
    np.testing.assert_allclose([constant(jnp.int32(t)) for t in (1, 50, 1000)], 2.0, rtol=1e-6)


def test_sign_sgd_sums_duplicates_and_leaves_other_rows_alone():
    table = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    ids = jnp.asarray([4, 1, 4, 4])
    grads = jnp.asarray([[1.0, -1.0, 2.0], [3.0, 0.0, -3.0], [-3.0, 0.5, 1.0], [1.0, 0.5, -9.0]])
    found = sign_sgd_rows(table, ids, grads, jnp.float32(0.1), 0.5)
    expected = np.array(table)
    expected[1] = expected[1] * 0.95 - 0.1 * np.array([1, 0, -1])
    expected[4] = expected[4] * 0.95 - 0.1 * np.array([-1, 0, -1])
    np.testing.assert_allclose(found, expected, atol=1e-7)
    untouched = [0, 2, 3, 5]
    np.testing.assert_array_equal(found[jnp.asarray(untouched)], table[jnp.asarray(untouched)])


def test_a_step_on_the_puzzle_table_costs_the_same_whatever_its_size():
    """At ARC's size (900,000 x 512) nothing of the table's size is made, moved or computed."""

    def compiled(rows):
        table = jax.ShapeDtypeStruct((rows, 512), jnp.float32)
        ids, grads = jax.ShapeDtypeStruct((768,), jnp.int32), jax.ShapeDtypeStruct((768, 512), jnp.float32)
        step = jax.jit(lambda t, i, g: sign_sgd_rows(t, i, g, jnp.float32(0.01), 0.1), donate_argnums=0)
        return step.lower(table, ids, grads).compile()

    small, large = compiled(1_000), compiled(900_000)
    memory = large.memory_analysis()
    assert memory.temp_size_in_bytes == small.memory_analysis().temp_size_in_bytes
    assert memory.alias_size_in_bytes == 900_000 * 512 * 4  # the table is updated where it lies
    assert memory.temp_size_in_bytes < 16e6
    assert large.cost_analysis()["flops"] == small.cost_analysis()["flops"]
    # No operation but the gather and the scatter, which touch single rows, takes or makes an array of the table's size.
    whole = [line for line in large.as_text().splitlines() if " = f32[900000,512]" in line]
    makers = {line.split(" = ")[1].split("(")[0].split()[-1] for line in whole}
    assert makers <= {
        "parameter",
        "scatter",
        "fusion",
        "bitcast",
        "call",
        "while",
        "get-tuple-element",
        "dynamic-update-slice",
    }, makers
    assert not any("broadcast" in line or "copy(" in line for line in whole)


def test_the_angle_is_that_of_the_c_library():
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(size=5_000) * 10.0 ** rng.uniform(-20, 4, 5_000), [0, 0, 1, -1, 3, -3, 1e-30]])
    x = np.concatenate([np.abs(rng.normal(size=5_000)) * 10.0 ** rng.uniform(-20, 4, 5_000), [0, 2, 0, 0, 3, 3, 1e-30]])
    y, x = y.astype(np.float32), x.astype(np.float32)
    found, exact = np.asarray(arctan2(jnp.asarray(y), jnp.asarray(x))), np.arctan2(y.astype(np.float64), x)
    np.testing.assert_allclose(found, exact, atol=2e-7)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert np.isnan(np.asarray(arctan2(jnp.array([jnp.nan, 1.0]), jnp.array([1.0, jnp.nan])))).all()
