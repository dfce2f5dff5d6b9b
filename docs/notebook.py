# %% [markdown]
# # From nothing to a picture in ten cells
# Tiny Recursive Models on 4x4 Sudokus. Everything runs on a laptop's CPU; training takes under a minute.

# %%
from itertools import pairwise

import numpy as np

import trm_jax as trm

# %% An experiment is a name, and what is to differ
experiment = trm.experiment("demo", {"train.steps": 300, "train.eval_every": 0})

# %% Train; run again, this goes on from where it was
trm.train(experiment, "runs/notebook")

# %% Load: a model shows what it is
model = trm.load("runs/notebook")
model

# %% Solve: text, lists or arrays; answers show themselves as boards
answers = model.solve([".21. ...4 .... .1..", ".4.. .... 2.3. ..2."])
answers

# %% They are plain arrays
answers.digits, answers.valid, answers.q

# %% Try harder, and believe only what the rules confirm
model.solve(".21. ...4 .... .1..", steps=16, attempts=8, certify=True)

# %% How good is it, and what is another step worth?
model.evaluate(steps=[1, 2, 4, 8], limit=500)

# %% Watch it think: how far the latent z moves with each step
moments = list(model.think(".21. ...4 .... .1.."))
[float(np.sqrt(np.mean((after.z - before.z) ** 2))) for before, after in pairwise(moments)]

# %% And see the answer form
model.draw(".21. ...4 .... .1..", "runs/notebook/answer.png")
