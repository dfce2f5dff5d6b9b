"""The page that solves puzzles in a browser: of which files it is made, and how this machine alone gets them.

Knows exported models as bytes with their metadata; nothing of how they are made.
"""
