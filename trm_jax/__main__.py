"""`python -m trm_jax` is the command `trm`."""

import os
import sys


def run() -> int:
    """The command, from the first moment at which it can be interrupted."""
    try:
        from trm_jax.commands.cli import main

        return main()
    except KeyboardInterrupt:  # while Python still reads the program
        os.write(2, b"trm: interrupted\n")
        os._exit(130)


if __name__ == "__main__":
    sys.exit(run())
