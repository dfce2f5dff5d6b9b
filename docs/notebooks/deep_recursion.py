# %% [markdown]
# # Deep recursion for your own network
# A network of a few lines, applied hundreds of times, and trained through all of it in the memory of a few states.
# The question is one that a small network cannot answer in one go: is the number of ones among six bits odd?

# %%
import jax
import jax.numpy as jnp
import optax

import trm_jax as trm

# %% [markdown]
# ## The network
# It takes its weights, a state `h` and what is injected, and gives the next `h`, of the same shape. The norm keeps
# numbers in bounds however often it is applied.


# %%
def init(key, bits=6, width=32):
    keys = jax.random.split(key, 4)
    normal = jax.nn.initializers.lecun_normal()
    return {
        "embed": normal(keys[0], (bits, width)),
        "up": normal(keys[1], (width, 2 * width)),
        "down": normal(keys[2], (2 * width, width)),
        "read": normal(keys[3], (width, 1)),
    }


def net(params, h, injection):
    h = h + injection
    h = h + jax.nn.silu(h @ params["up"]) @ params["down"]
    return h * jax.lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True) + 1e-6)


# %% [markdown]
# ## The recursion
# `trm.recurse` improves a state, an answer y and a latent z: n latent steps, then an answer step, T times over. A
# `Schedule` holds the depth and what is kept for the gradient.


# %%
def logits(params, bits, schedule):
    x = (2 * bits - 1) @ params["embed"]
    start = trm.State(y=jnp.zeros_like(x), z=jnp.zeros_like(x))
    return (trm.recurse(net, params, start, x, schedule).y @ params["read"])[:, 0]


def loss(params, bits, schedule):
    return optax.sigmoid_binary_cross_entropy(logits(params, bits, schedule), bits.sum(axis=-1) % 2).mean()


# %% [markdown]
# ## Training, 300 latent steps deep

# %%
STEPS = 200
schedule = trm.Schedule(latent_steps=300, cycles=2, policy="binomial")
optimiser = optax.adam(optax.cosine_decay_schedule(2e-3, STEPS))


@jax.jit
def step(params, moments, key):
    bits = jax.random.bernoulli(key, shape=(64, 6)).astype(jnp.float32)
    value, gradient = jax.value_and_grad(loss)(params, bits, schedule)
    updates, moments = optimiser.update(gradient, moments)
    return optax.apply_updates(params, updates), moments, value


params = init(jax.random.key(0))
moments = optimiser.init(params)
losses = []
for i in range(STEPS):
    params, moments, value = step(params, moments, jax.random.key(i + 1))
    losses.append(float(value))
[round(value, 3) for value in losses[:: STEPS // 10]]

# %% [markdown]
# ## Is all of that depth used?
# The same weights, with fewer latent steps and with more than they were trained for: how many of all 64 questions are
# answered rightly.

# %%
every = jnp.array([[(number >> place) & 1 for place in range(6)] for number in range(64)], jnp.float32)
odd = every.sum(axis=-1) % 2 > 0
right = {}
for depth in (1, 10, 30, 100, 300, 1000):
    answers = logits(params, every, trm.Schedule(latent_steps=depth, cycles=2)) > 0
    right[depth] = int((answers == odd).sum())
right

# %% [markdown]
# ## What it costs
# XLA tells what a compiled gradient will need before any of it is allocated: megabytes by policy, for 1,000 latent
# steps. `none` keeps all that every application computes, `step` every state, `nested` and `binomial` a few of them.

# %%
megabytes = {}
gradients = {}
for policy in ("none", "step", "nested", "binomial"):
    how = trm.Schedule(latent_steps=1000, cycles=2, policy=policy)
    compiled = jax.jit(jax.grad(loss), static_argnums=2).lower(params, every, how).compile()
    megabytes[policy] = round(compiled.memory_analysis().temp_size_in_bytes / 1e6, 2)
    gradients[policy] = compiled(params, every)
megabytes

# %%
# They all give the same gradient: the largest difference from that of `none`, beside its largest number
largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients["none"]))
apart = {
    policy: max(
        float(jnp.abs(ours - plain).max())
        for ours, plain in zip(jax.tree.leaves(gradients[policy]), jax.tree.leaves(gradients["none"]), strict=True)
    )
    for policy in megabytes
}
largest, apart
