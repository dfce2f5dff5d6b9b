"""Lays out the site in a folder: `python site/pages.py FOLDER [NOTEBOOKS]` writes zensical.toml and pages/.

The documents of the repository stand there under their own paths, so that their links to each other need no change. A
link to anything else of the repository leads to a page that shows it, the source of a program or the list of a folder;
data and pictures are copied. A notebook stands there with its outputs if NOTEBOOKS has them (site/notebook.py).
site/api.md is the one page that is written for the site alone.
"""

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("*.md", "docs/*.md", "data/README.md")
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
# Sources that have a page, with the name of their language.
LANGUAGES = {".py": "python", ".sh": "bash", ".sbatch": "bash", ".yaml": "yaml"}
# The page that solves puzzles in the browser, as `make solver` leaves it, where it is there.
SOLVER = ROOT / "build" / "solver"
UNLISTED = "---\nsearch:\n  exclude: true\n---\n"


def notebooks() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "notebooks").glob("*.py"))


def documents() -> dict[str, Path]:
    """The documents by their paths in the repository."""
    return {path.relative_to(ROOT).as_posix(): path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))}


def place(path: str) -> str:
    """Where something of the repository stands among the pages."""
    if (ROOT / path).is_dir():
        return f"{path}/index.md"
    if Path(path).suffix in LANGUAGES:
        return f"{path}.md"
    return re.sub(r"(^|/)README\.md$", r"\1index.md", path)


def linked(path: str, text: str) -> set[str]:
    """What of the repository a document at a path links to, by paths from the root."""
    return {os.path.normpath(os.path.join(os.path.dirname(path), target)) for target in LINK.findall(text)}


def moved(path: str, text: str) -> str:
    """A document with its links as they are among the pages, and code in tables as the builder reads it."""
    folder = os.path.dirname(path)

    def target(link: re.Match[str]) -> str:
        return os.path.relpath(place(os.path.normpath(os.path.join(folder, link[0]))), folder or ".")

    # A bar within code is part of a table's cell: escaped where the repository is read, plain here.
    bars = re.sub(r"`[^`\n]+`", lambda code: code[0].replace("\\|", "|"), text)
    return LINK.sub(target, bars)


def shown(path: str) -> str:
    """A page that shows a source or a folder."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(child.name + "/" * child.is_dir() for child in file.iterdir() if child.name[0] not in "._")
        return "\n".join([UNLISTED, f"# {path}/", "", *(f"- `{name}`" for name in names), ""])
    return f"{UNLISTED}\n# {path}\n\n````{LANGUAGES[file.suffix]}\n{file.read_text()}````\n"


def lay_out(folder: Path, run: Path | None = None) -> None:
    """Writes all pages, and the settings with which they are built, into a folder, which is emptied first.

    run: a folder with the pages and pictures of notebooks that have been run.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages_folder = folder / "pages"
    pages = {path: moved(path, file.read_text()) for path, file in documents().items()}
    others = set().union(*(linked(path, file.read_text()) for path, file in documents().items())) - set(pages)
    others |= set(notebooks())
    pages |= {path: shown(path) for path in others if place(path) != path}
    for path, text in pages.items():
        page = pages_folder / place(path)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
    for path in (path for path in others if place(path) == path and (ROOT / path).is_file()):
        (pages_folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, pages_folder / path)
    for file in (path for suffix in ("*.md", "*.png") for path in (run.glob(suffix) if run else ())):
        shutil.copy(file, pages_folder / "docs" / "notebooks")
    for name in ("api.md", "style.css"):
        shutil.copy(ROOT / "site" / name, pages_folder)
    settings = (ROOT / "site" / "zensical.toml").read_text()
    if (SOLVER / "index.html").is_file():
        shutil.copytree(SOLVER, pages_folder / "solver")
        settings = settings.replace("nav = [\n", 'nav = [\n    { "Solve a puzzle" = "solver/index.html" },\n')
    (folder / "zensical.toml").write_text(settings)


if __name__ == "__main__":
    lay_out(*map(Path, sys.argv[1:]))
