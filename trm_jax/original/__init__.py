"""The public PyTorch implementation: its names, its weights in and out, and proof that this is the same model.

Nothing below knows that there is an original.
"""
