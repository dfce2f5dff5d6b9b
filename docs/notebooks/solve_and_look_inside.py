# %% [markdown]
# # Solve, and look inside
# What a trained model answers, how sure it is, and what goes on in it on the way. The two models used here come with
# the package, so nothing is trained; everything runs on a laptop's CPU in a minute or two.

# %%
from itertools import pairwise

import numpy as np

import trm_jax as trm

# %% [markdown]
# ## A hard Sudoku
# A model shows what it is. This one holds the digits that are still possible in each cell, takes some away with every
# call of its network, guesses where nothing is certain, and begins again elsewhere where a guess leads nowhere.

# %%
model = trm.load("sudoku-extreme")
model

# %%
puzzle = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."
answer = model.solve(puzzle)
answer

# %%
# Answers are plain arrays: do the rules hold, how sure was it, and how many calls did it take?
answer.digits, answer.valid, answer.q, answer.steps

# %% [markdown]
# `think` gives the chain of calls that led to the answer. 81 cells with one digit each are left at its end.

# %%
calls = list(model.think(puzzle))
[int(call.possible.sum()) for call in calls]

# %%
# How many digits each cell may still have after the first call
calls[0].possible.sum(axis=-1).reshape(9, 9)

# %% [markdown]
# ## A model with a state
# The other one is TRM as the paper has it, small, for 4x4 Sudokus: an answer y and a latent z, improved step by step.

# %%
small = trm.load("sudoku-4x4")
answers = small.solve([".21. ...4 .... .1..", ".4.. .... 2.3. ..2."])
answers

# %%
# Try harder, and believe only what the rules confirm
small.solve(".21. ...4 .... .1..", steps=16, attempts=8, certify=True)

# %%
# How good is it, and what is another step worth?
small.evaluate(steps=[1, 2, 4, 8], limit=500)

# %%
# Watch it think: how far the latent z moves with each step
moments = list(small.think(".21. ...4 .... .1.."))
[round(float(np.sqrt(np.mean((after.z - before.z) ** 2))), 4) for before, after in pairwise(moments)]

# %%
# And see the answer form
small.draw(".21. ...4 .... .1..", "answer.png")

# %% [markdown]
# ![The answer to a 4x4 Sudoku, step by step](answer.png)
