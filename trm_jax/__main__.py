"""`python -m trm_jax` is the command `trm`."""

import sys

from trm_jax.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
