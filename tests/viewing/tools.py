"""What tests of the page need besides Python, taken from the distribution where that is allowed, or skipped."""

import os
import shutil
import subprocess

import pytest


def tool(command: str, package: str) -> str:
    """Where a command is; installed by apt-get where it is missing and this user may. Skips the test otherwise."""
    found = shutil.which(command)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "--yes", "--no-install-recommends", package]
        subprocess.run(
            install, capture_output=True, timeout=900, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        )
        found = shutil.which(command)
    if found is None:
        pytest.skip(f"needs {command}: install {package}, as in `sudo apt-get install {package}`")
    return found
