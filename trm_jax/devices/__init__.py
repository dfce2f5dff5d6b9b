"""Devices and processes: which has what, all that crosses between them, and how they find each other.

It may know a model's arrays, to lay them out; it does not know what is computed with them.
"""
