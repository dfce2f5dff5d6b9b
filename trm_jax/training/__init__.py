"""What an optimiser step is: supervision with a carry, losses, updates, and the batch that it takes.

Pure: state and batch in, state and metrics out, compiled as one program. It opens no file and keeps no time.
"""
