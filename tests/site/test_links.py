"""What a built site asks for and does not hold is named."""

from pathlib import Path

import pytest
from places import ROOT, module_at

faults = module_at(ROOT / "site" / "links.py").faults
WHOLE = '<h1 id="top">A</h1><a href="b/#part">b</a><a href="#top">up</a><img src="p.png"><a href="https://x.org">x</a>'


def built(folder: Path, first: str) -> list[str]:
    (folder / "b").mkdir()
    (folder / "index.html").write_text(first)
    (folder / "b" / "index.html").write_text('<h2 id="part">B</h2><a href="..">A</a><img src="../p.png">')
    (folder / "p.png").write_bytes(b"")
    return list(faults(folder))


def test_a_whole_site_has_no_faults(tmp_path: Path) -> None:
    assert built(tmp_path, WHOLE) == []


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ('<a href="c/">', "index.html: c/ is not there"),
        ('<a href="b/#gone">', "index.html: b/#gone names no anchor of that page"),
        ('<a href="#gone">', "index.html: #gone names no anchor of that page"),
        ('<img src="q.png">', "index.html: q.png is not there"),
        ('<a href="../out.html">', "index.html: ../out.html is not there"),
        ('<script src="https://x.org/a.js"></script>', "index.html: fetches https://x.org/a.js from elsewhere"),
        ('<link rel="icon" href="//x.org/i.png">', "index.html: fetches //x.org/i.png from elsewhere"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, planted: str, fault: str) -> None:
    assert built(tmp_path, WHOLE + planted) == [fault]


def test_no_site_is_not_a_whole_one(tmp_path: Path) -> None:
    assert list(faults(tmp_path)) == [f"{tmp_path}: no site is there"]
