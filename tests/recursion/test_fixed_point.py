"""The gradient of a fixed point against linear algebra, on maps whose Jacobian is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.recursion.fixed_point import attach_gradient

ROWS, SIZE = 3, 24


def improve(shared, z):
    return z @ shared["a"] + shared["b"]


def problem(radius=0.8):
    """A contraction, its fixed point, and the gradient that comes to it."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(SIZE, SIZE))
    a *= radius / np.abs(np.linalg.eigvals(a)).max()
    b, g = rng.normal(size=(2, ROWS, SIZE))
    return a, b, b @ np.linalg.inv(np.eye(SIZE) - a), g


def solved(a, b, z, g, tolerance, solver_steps, dtype=jnp.float32):
    def loss(shared, z):
        return jnp.sum(attach_gradient(improve, shared, z, tolerance, solver_steps).astype(jnp.float32) * g)

    a, b, z = (jnp.asarray(array, dtype) for array in (a, b, z))
    return jax.jit(jax.grad(loss, argnums=(0, 1)))({"a": a, "b": b}, z)


def test_the_gradient_is_the_exact_one_to_the_tolerance():
    a, b, z, g = problem()
    u = g @ np.linalg.inv(np.eye(SIZE) - a.T)
    errors = []
    for tolerance in (1e-1, 1e-6):
        found, z_gradient = solved(a, b, z, jnp.float32(g), tolerance, 100)
        np.testing.assert_array_equal(z_gradient, 0)
        residual = g - np.asarray(found["b"], np.float64) @ (np.eye(SIZE) - a.T)
        # The system is solved in float32.
        assert np.linalg.norm(residual) <= max(tolerance, 2e-6) * np.linalg.norm(g)
        errors.append(np.linalg.norm(found["b"] - u) / np.linalg.norm(u))
    assert errors[0] > 1e-3
    assert errors[1] < 2e-5
    np.testing.assert_allclose(found["a"], z.T @ u, rtol=0, atol=5e-5 * np.abs(z.T @ u).max())


def test_the_gradient_is_that_of_the_whole_way_to_the_fixed_point():
    a, b, z, g = problem(0.5)

    def loss(shared):
        z = jnp.zeros((ROWS, SIZE))
        for _ in range(60):
            z = improve(shared, z)
        return jnp.sum(z * g.astype(np.float32))

    expected = jax.grad(loss)({"a": jnp.float32(a), "b": jnp.float32(b)})
    found, _ = solved(a, b, z, jnp.float32(g), 1e-6, 100)
    for name in ("a", "b"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=2e-5 * np.abs(expected[name]).max())


@pytest.mark.parametrize(("solver_steps", "products"), [(1, 1), (4, 4), (10, 10), (11, 20), (20, 20), (23, 30)])
def test_the_solver_ends_after_its_steps(solver_steps, products):
    """Each product with this Jacobian, a shift, reaches one entry further; the solution has all of them."""
    size = 40
    shift = np.eye(size, k=-1, dtype=np.float32)
    g = np.eye(1, size, dtype=np.float32)
    found, _ = solved(shift, np.zeros((1, size)), np.zeros((1, size)), g, 1e-6, solver_steps)
    # The last product only tells how to combine the directions that those before it have found.
    np.testing.assert_array_equal(np.flatnonzero(np.abs(found["b"][0]) > 1e-6), np.arange(products))


def test_values_pass_unchanged_even_where_they_are_no_fixed_point():
    a, b, z, _ = problem()
    z = jnp.asarray(z + 1, jnp.bfloat16)
    shared = {"a": jnp.asarray(a, jnp.bfloat16), "b": jnp.asarray(b, jnp.bfloat16)}
    found = jax.jit(lambda shared, z: attach_gradient(improve, shared, z, 1e-2, 10))(shared, z)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.astype(jnp.float32), z.astype(jnp.float32))


def test_bfloat16_is_solved_in_float32():
    a, b, z, g = problem(0.9)
    u = g @ np.linalg.inv(np.eye(SIZE) - np.asarray(jnp.asarray(a, jnp.bfloat16), np.float64).T)
    found, _ = solved(a, b, z, jnp.float32(g), 1e-2, 30, jnp.bfloat16)
    assert found["b"].dtype == found["a"].dtype == jnp.bfloat16
    # To 0.007; a solver in bfloat16 comes to 0.015.
    assert np.linalg.norm(np.asarray(found["b"], np.float64) - u) < 0.01 * np.linalg.norm(u)
