"""This project's own mixers, one file each: the block of a network, and the operations that it takes.

Each is known to config/mixers.py by name; nobody else imports from here.
"""
