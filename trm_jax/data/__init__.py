"""From tables, contest files and generators to tokens: datasets on disk, read, drawn, ordered, and built.

It knows puzzles and a configuration's data group; it never sees a model or a training step.
"""
