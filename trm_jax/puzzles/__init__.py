"""Puzzles as arrays: parse and print them, generate, solve and verify them, and permute them by symmetry."""
