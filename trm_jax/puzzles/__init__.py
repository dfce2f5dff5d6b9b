"""Kinds of puzzle: how cells read, which rules and symmetries hold, how to make, search, rate and score them.

Pure NumPy on tokens: it knows no model, no JAX and no configuration, and reads no dataset.
"""
