# %% [markdown]
# # Your own puzzle
# From a rule that is written down to answers that keep it. The puzzle: fill a 5x5 board so that every row, every
# column and both diagonals hold 1 to 5. Two or three minutes on two cores; nothing but the rule and the rows is
# particular to this puzzle.

# %%
import csv
import random
import subprocess
import sys
from functools import reduce
from importlib import import_module
from itertools import permutations
from pathlib import Path

import trm_jax as trm

# %% [markdown]
# ## The rule, and rows that keep it
# `check` says whether an answer solves a question, both as text of 25 characters. It stands in a file, so that
# commands can run it.

# %%
RULES = '''
def lines(board):
    rows = [board[i : i + 5] for i in range(0, 25, 5)]
    return [*rows, *map("".join, zip(*rows)), board[0:25:6], board[4:21:4]]


def check(question, answer):
    """Every row, column and diagonal holds 1 to 5, and the clues stand."""
    kept = all(asked in (".", given) for asked, given in zip(question, answer))
    return kept and all(sorted(line) == list("12345") for line in lines(answer))
'''
Path("diagonals.py").write_text(RULES)
sys.path.insert(0, ".")
check = import_module("diagonals").check


# %% [markdown]
# All boards, by trying every row below those that stand. For each place and digit one number holds, bit by bit, which
# boards have it there; clues name one board when the numbers of all of them have a single bit in common.


# %%
def boards(rows=()):
    if len(rows) == 5:
        yield "".join(rows)
        return
    here = len(rows)
    used = [
        {row[column] for row in rows}
        | {row[at] for at, row in enumerate(rows) if column == here}
        | {row[4 - at] for at, row in enumerate(rows) if column == 4 - here}
        for column in range(5)
    ]
    for row in permutations("12345"):
        if not any(digit in before for digit, before in zip(row, used, strict=True)):
            yield from boards((*rows, "".join(row)))


full = list(boards())
having = {
    (cell, digit): sum(1 << number for number, board in enumerate(full) if board[cell] == digit)
    for cell in range(25)
    for digit in "12345"
}


def puzzle(rng, spare=4):
    """A question with one answer, and `spare` clues more than it needs."""
    board, clues = rng.choice(full), list(range(25))
    for cell in rng.sample(clues, 25):
        fewer = [other for other in clues if other != cell]
        if reduce(int.__and__, (having[other, board[other]] for other in fewer)).bit_count() == 1:
            clues = fewer
    clues += rng.sample([cell for cell in range(25) if cell not in clues], spare)
    return "".join(digit if cell in clues else "." for cell, digit in enumerate(board)), board


rng = random.Random(0)
rows = dict(puzzle(rng) for _ in range(3000))
with open("diagonals.csv", "w", newline="") as file:
    csv.writer(file).writerows([("question", "answer"), *rows.items()])
len(full), len(rows), next(iter(rows.items()))

# %% [markdown]
# ## A dataset
# The command checks every row by the rule, puts 300 aside, and takes from training what is a turned image of one of
# them.

# %%
command = "data grid diagonals --train diagonals.csv --holdout 300 --rules diagonals.py --shape 5x5 --alphabet .12345"
symmetries = ["--symmetries", "fliplr flipud transpose"]
if not Path("diagonals").exists():  # a dataset is never overwritten
    words = [sys.executable, "-m", "trm_jax", *command.split(), *symmetries]
    built = subprocess.run(words, capture_output=True, text=True)
    print(built.stdout + built.stderr)

# %% [markdown]
# ## Training
# Run again, it goes on from where it was.

# %%
experiment = trm.experiment(
    "own_puzzle", {"data.train": "diagonals", "data.test": "diagonals", "train.steps": 250, "train.eval_every": 0}
)
trm.train(experiment, "runs/diagonals")

# %% [markdown]
# ## Answers
# How many of the 300 puzzles are right after 1, 4 and 12 supervision steps?

# %%
model = trm.load("runs/diagonals", rules="diagonals.py")
model.evaluate(steps=[1, 4, 12])

# %%
# Try again and again, and take what the rule confirms
question = next(iter(rows))
answer = model.solve(question, attempts=16, symmetries=True, certify=True)
answer
