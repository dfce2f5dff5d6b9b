"""The arguments of the commands: a value that is meant, or a refusal that says in one line what is wanted."""

import argparse
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trm_jax.commands import arguments

FUZZ = settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PATHS = [arguments.new_path, arguments.output_file, arguments.output_folder]
# With what every value that they return keeps to.
OTHERS = {
    arguments.positive: lambda value: 1 <= value < 10**18,
    arguments.count: lambda value: 0 <= value < 10**18,
    arguments.whole: lambda value: 0 <= value < 2**31,
    arguments.noise: lambda value: 0 <= value < 1e6,
    arguments.logit: lambda value: -1e6 < value < 1e6,
    arguments.amounts: lambda value: value[0] >= 1 and value[1] >= 0,
    arguments.low_high: lambda value: min(value) >= 0,
    arguments.size: lambda value: min(value) >= 1,
    arguments.box: lambda value: "x" in value,
    arguments.rows: lambda value: min(value) >= 0,
    arguments.names: all,
    arguments.columns: lambda value: bool(value[0]) and value[0] != value[1],
    arguments.memory: lambda value: 1 <= value < 10**31,
    arguments.window: lambda value: 0 <= value.start < value.stop,
    arguments.address: lambda value: value.isprintable() and ":" in value,
}
PIECES = [
    "a", "..", "/", "file", "folder", "/etc/passwd", "\0", "\n", "\x1b[2J", "\u2028", "\ud800", "\u00b2", "\u0663",
    "x" * 256, "x" * 255, "9" * 19, "9" * 5_000, "0", "1", "-1", "-0", "1e999", "nan", "inf", ",", ":", "x", ".", " ",
    "~", "[::1]", "GiB", "1_000", "+3",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), max_size=4).map("".join) | st.text(max_size=8)


def given_or_told(function, text):
    """The value; None where a refusal came in due form."""
    try:
        return function(text)
    except argparse.ArgumentTypeError as error:
        assert str(error).isprintable()  # noqa: PT017
        assert len(str(error)) < 1_000  # noqa: PT017
        return None


@FUZZ
@given(TEXT)
@example("1")
@example("3,4")
@example("1:2")
@example("9" * 5_000 + ":" + "9" * 5_000)
def test_any_text_is_a_value_or_told(text):
    for function, keeps in OTHERS.items():
        value = given_or_told(function, text)
        assert value is None or keeps(value), function.__name__


@FUZZ
@given(TEXT)
@example("folder")
@example("file")
@example("new")
def test_any_text_is_a_path_or_told(tmp_path, text):
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "file").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        new, file, folder = (given_or_told(function, text) for function in PATHS)
        for path in filter(None, (new, file, folder)):
            assert path == Path(text)
            assert text.isprintable()
        assert new is None or not os.path.lexists(new)
        assert file is None or (file.parent.is_dir() and not file.is_dir())
        assert folder is None or folder.is_dir() or not folder.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("function", PATHS)
def test_names_that_no_file_can_have_are_told_at_once(tmp_path, monkeypatch, function):
    monkeypatch.chdir(tmp_path)
    for text in ("", " ", "a\nb", "a\0b", "x" * 256, "there/" + "\u00e4" * 128, "\ud800", "y/" * 3_000, "\x1b[2J"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"is no name for|cannot be looked at"):
            function(text)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(argparse.ArgumentTypeError):
        function("loop/x")


def test_what_is_meant_is_given():
    assert arguments.size("3x4") == (3, 4)
    assert arguments.amounts("5") == (5, 0)
    assert arguments.window("100:110") == range(99, 110)
    assert arguments.memory("80GiB") == 80 << 30
    assert arguments.columns("q,a") == ("q", "a")
    assert arguments.columns("q") == ("q", "")
    assert arguments.rows("2,5") == [2, 5]
    assert arguments.output_folder("runs/a b/\u00e4") == Path("runs/a b/\u00e4")
