"""Where things are, for tests at any depth of the tree."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
TESTDATA = TESTS / "testdata"
# Recordings of the original and public benchmark data, where they lie beside the repository.
SHARED = ROOT.parent / "shared"
