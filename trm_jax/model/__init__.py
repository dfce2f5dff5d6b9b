"""The model family: a configuration becomes pure functions on weights and states, with its losses and its costs.

It knows the recursion, and of puzzles only their sizes; neither optimisers, devices nor files.
"""
