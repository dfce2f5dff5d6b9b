"""Where things are, for tests at any depth of the tree."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
TESTDATA = TESTS / "testdata"
# Recordings of the original and public benchmark data, where they lie beside the repository.
SHARED = ROOT.parent / "shared"


def module_at(path: Path) -> ModuleType:
    """A module that is in no package."""
    sys.path.insert(0, str(path.parent))
    try:
        return import_module(path.stem)
    finally:
        sys.path.remove(str(path.parent))
