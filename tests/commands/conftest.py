"""What tests of several commands share."""

from collections.abc import Callable

import pytest

from trm_jax.commands.cli import main


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that refuses what it is given, with exit code 2; returns the one line that it says."""

    def call(*words: str) -> str:
        assert main([*words]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        return line

    return call
