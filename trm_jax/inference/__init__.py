"""What trained weights answer: many supervision steps, many attempts, which of them to believe, how good they are.

Pure computation on arrays and puzzles: it reads no checkpoint and writes no file.
"""
