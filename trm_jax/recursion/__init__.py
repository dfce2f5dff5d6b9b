"""The recursion: a network applied again and again, and gradients through it in the memory of a few states.

It knows JAX and nothing else of this project: no network, no puzzle, no configuration, no file.
"""
