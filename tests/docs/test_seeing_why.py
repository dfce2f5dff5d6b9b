"""What docs/seeing_why.md shows is what the commands on it print, but for rounding."""

import re
import shlex
from pathlib import Path

import pytest
from places import ROOT

from trm_jax.commands.cli import main

PAGE = (ROOT / "docs" / "seeing_why.md").read_text()
NUMBER = re.compile(r"[+-]?\d+\.\d+|\d+(?=%)")


def examples() -> list[tuple[list[str], list[str]]]:
    """Commands, as words, each with the blocks that follow it up to the next one."""
    found: list[tuple[list[str], list[str]]] = []
    for block in re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        if block.startswith("trm "):
            found.append((shlex.split(block.replace("\\\n", ""))[1:], []))
        else:
            found[-1][1].append(block)
    return found


def words_of(text: str) -> str:
    """The text with # for each number that rounding may change."""
    return NUMBER.sub("#", re.sub(" +", " ", text))


def test_each_command_is_followed_by_what_it_prints() -> None:
    assert [len(blocks) for _, blocks in examples()] == [2, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_the_page_shows_what_is_printed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, blocks = examples()[number]
    monkeypatch.chdir(tmp_path)
    assert main(words) == (1 if number == 2 else 0)
    out = capsys.readouterr().out
    for block in blocks:
        start = words_of(out).find(words_of(block))
        assert start >= 0, f"not printed:\n{block}"
        printed = NUMBER.findall(re.sub(" +", " ", out))[words_of(out)[:start].count("#") :]
        for here, there in zip(NUMBER.findall(block), printed, strict=False):
            assert float(here) == pytest.approx(float(there), rel=0.02, abs=0.02)
    assert "why.png" not in words or (tmp_path / "why.png").stat().st_size > 10_000
