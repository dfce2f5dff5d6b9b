"""The pages of the site: each document has its place, and what it links to stands where the link leads."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from places import ROOT, module_at

import trm_jax

PAGES = vars(module_at(ROOT / "site" / "pages.py"))
SETTINGS = tomllib.loads((ROOT / "site" / "zensical.toml").read_text())["project"]


def listed(entries: Any) -> Iterator[str]:
    """The pages of a navigation, in order."""
    if isinstance(entries, str):
        yield entries
        return
    for entry in entries:
        for inside in entry.values():
            yield from listed(inside)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    PAGES["lay_out"](folder)
    return folder / "pages"


def test_every_document_stands_once_in_the_navigation() -> None:
    found = list(listed(SETTINGS["nav"]))
    assert sorted(found) == sorted(["api.md", *map(PAGES["place"], [*PAGES["documents"](), *PAGES["notebooks"]()])])


def test_every_link_leads_to_a_page_or_a_file(pages: Path) -> None:
    followed = 0
    for page in pages.rglob("*.md"):
        for target in PAGES["LINK"].findall(re.sub(r"(`{3,})\w*\n.*?\1", "", page.read_text(), flags=re.DOTALL)):
            assert (page.parent / target).is_file(), (page.relative_to(pages).as_posix(), target)
            followed += 1
    assert followed > 100


def test_a_source_has_a_page_a_folder_a_list_and_data_are_copied(pages: Path) -> None:
    policies = (ROOT / "trm_jax" / "recursion" / "policies.py").read_text()
    assert f"````python\n{policies}````" in (pages / "trm_jax" / "recursion" / "policies.py.md").read_text()
    assert "- `ledger.jsonl`\n" in (pages / "benchmarks" / "results" / "index.md").read_text()
    assert (pages / "docs" / "answer.png").read_bytes() == (ROOT / "docs" / "answer.png").read_bytes()
    moved = PAGES["moved"]("docs/x.md", "[a](../trm_jax/version.py) [b](../README.md#use-it) [c](https://x.org/a.py)")
    assert moved == "[a](../trm_jax/version.py.md) [b](../index.md#use-it) [c](https://x.org/a.py)"


def test_the_solver_stands_in_the_navigation_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = tmp_path / "solver"
    solver.mkdir()
    (solver / "index.html").write_text("<h1>Solve</h1>")
    monkeypatch.setitem(PAGES["lay_out"].__globals__, "SOLVER", solver)
    PAGES["lay_out"](tmp_path / "site")
    settings = tomllib.loads((tmp_path / "site" / "zensical.toml").read_text())["project"]
    assert list(listed(settings["nav"])) == ["solver/index.html", *listed(SETTINGS["nav"])]
    assert [path.name for path in (tmp_path / "site" / "pages" / "solver").iterdir()] == ["index.html"]


def test_a_bar_in_the_code_of_a_table_is_plain() -> None:
    assert PAGES["moved"]("x.md", "| `a\\|b` | c \\| d | `e` |") == "| `a|b` | c \\| d | `e` |"


def test_the_page_of_names_has_every_name_of_the_library() -> None:
    named = re.findall(r"^::: trm_jax\.(\w+)$", (ROOT / "site" / "api.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(set(trm_jax.__all__) - {"__version__"})


@pytest.mark.parametrize("path", sorted({*PAGES["documents"](), "site/api.md"} - {"CHANGELOG.md"}))
def test_a_page_begins_with_what_it_answers(path: str) -> None:
    title, opening = (ROOT / path).read_text().split("\n\n")[:2]
    assert re.fullmatch(r"# .*", title)
    assert re.match(r"[A-Z*`]", opening), "a paragraph, before any heading, picture, table or block"
    assert len(opening.split()) >= 15
    assert os.linesep * 2 not in opening
