"""What surrounds the steps of a run: files, time and faults, so that nothing is lost.

The loop, checkpoints, figures, signals, the lock. What a step computes is decided below, in `training`.
"""
