"""Progress of the builders: a bar comes late, says each thing once and never runs back."""

import pytest

from trm_jax.console import Bar
from trm_jax.data.builders import running


def test_what_was_told_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puzzles made in place of others count from the beginning again, and the last of them is the last twice."""
    now, told = [0.0], []

    class Told(Bar):
        def update(self, done: int, note: str | None = None) -> None:
            told.append(done)

    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("trm_jax.console.Bar", Told)
    with running.Progress("generating") as progress:
        progress(1, 20)
        now[0] = 9.0
        for done in (5, 12, 20, 20, 3, 14, 20):
            progress(done, 20)
    assert told == [5, 12, 20]


def test_what_takes_a_moment_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with running.Progress("building") as progress:
        progress(20, 20)
    assert capsys.readouterr().err == ""
