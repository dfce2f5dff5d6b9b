"""Each part of a run leaves a row: from where to where, at which commit, on which machine."""

import re
from pathlib import Path

import pytest
from places import ROOT

from trm_jax.devices.machine import describe
from trm_jax.runs import parts
from trm_jax.runs.parts import FILE, PartsLog, commit, read_parts, repository
from trm_jax.runs.writers import MetricsWriter


def test_parts_follow_each_other_and_one_that_was_killed_has_no_end(tmp_path: Path) -> None:
    assert read_parts(tmp_path) == []
    with MetricsWriter(tmp_path, 0) as writer:
        PartsLog(writer, tmp_path, 0)  # killed
    with MetricsWriter(tmp_path, 4) as writer:
        PartsLog(writer, tmp_path, 4).end(9)

    killed, ended = read_parts(tmp_path)
    assert killed == {"first": 0, "commit": commit(), "machine": describe()}
    assert {**killed, "first": 4, "last": 9} == {key: ended[key] for key in ended if key != "peak_gib"}
    assert 0.01 < ended["peak_gib"] < describe()["memory_gib"]


def test_what_is_no_part_is_left_out(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"first": 0}\n{"first": "x"}\n[]\n\xff\n{"first": 4, "comm')
    assert read_parts(tmp_path) == [{"first": 0}]


def test_of_several_processes_one_writes(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 0, writes=False) as writer:
        PartsLog(writer, tmp_path, 0).end(9)
    assert read_parts(tmp_path) == []


def test_a_checkout_tells_its_commit_and_an_installed_package_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repository() == ROOT
    assert re.fullmatch("|[0-9a-f]{40}(-dirty)?", commit())
    for place in (None, tmp_path):  # in no repository; in a folder without commits
        monkeypatch.setattr(parts, "repository", lambda place=place: place)
        assert commit.__wrapped__() == ""
    (tmp_path / ".git").mkdir()
    assert commit.__wrapped__() == ""
