"""The page's core, tested in JavaScript: tests/viewing/*.test.mjs."""

import shutil
import subprocess
from pathlib import Path

import pytest
from places import TESTS

FILES = sorted((TESTS / "viewing").glob("*.test.mjs"))
node = shutil.which("node")


@pytest.mark.skipif(node is None, reason="needs Node.js: install nodejs")
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_the_core_of_the_page(file: Path) -> None:
    done = subprocess.run([str(node), file], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
