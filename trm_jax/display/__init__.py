"""Answers and figures for the eye: boards as text, pictures, animations, plots.

It draws what it is given; it neither loads nor computes it.
"""
