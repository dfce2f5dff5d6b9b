"""A trained model as one file that runs without this package: what goes into it, and the forms it is written in.

It knows models and how they are kept, but neither the library nor the command line.
"""
