"""The page's core, tested in JavaScript: tests/viewing/core.test.mjs."""

import shutil
import subprocess

import pytest
from places import TESTS

node = shutil.which("node")


@pytest.mark.skipif(node is None, reason="needs Node.js: install nodejs")
def test_the_core_of_the_page() -> None:
    done = subprocess.run([str(node), TESTS / "viewing" / "core.test.mjs"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
