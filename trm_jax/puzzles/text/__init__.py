"""Boards as people write them: first what a text is, then its cells, strictly; read right or refused.

    writing.py   what a kind declares (signs, blanks, sizes, frame), and a board of cells with their places
    lines.py     what stands between boards: frames, comments, titles, sections, fences
    forms.py     how rows of cells are written, one function for each form
    lists.py     lists of Python and JSON, and what NumPy prints
    reading.py   which of them a text is: one board, or several

A form is added as a function with its examples to `forms.FORMS`, and as a row to the table of data/README.md.
"""
