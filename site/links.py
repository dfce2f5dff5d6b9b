"""Is the built site whole? `python site/links.py FOLDER` names each link, anchor, picture and script that is not there.

The builder looks at links between pages; this looks at all that a browser would ask for. Nothing may be fetched from
elsewhere: the site is read without a network.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, where it links to, and what a browser fetches to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if "src" in values:
            self.fetched.add(values["src"])
        if "href" in values:
            (self.fetched if tag == "link" else self.links).add(values["href"])


def faults(folder: Path) -> Iterator[str]:
    """One line for each thing that a page of a site asks for and that is not in its folder."""
    pages = {path: Page(path.read_text()) for path in sorted(folder.rglob("*.html"))}
    if folder / "index.html" not in pages:
        yield f"{folder}: no site is there"
    for path, page in pages.items():
        for target in sorted(page.links | page.fetched):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.fetched and parts.scheme != "data":
                    yield f"{path.relative_to(folder)}: fetches {target} from elsewhere"
                continue
            inside = unquote(parts.path)
            file = (folder / inside.lstrip("/") if inside.startswith("/") else path.parent / inside) if inside else path
            file = (file / "index.html" if file.is_dir() else file).resolve()
            anchor = unquote(parts.fragment)
            if not file.is_file() or not file.is_relative_to(folder.resolve()):
                yield f"{path.relative_to(folder)}: {target} is not there"
            elif anchor and file in pages and anchor not in pages[file].anchors:
                yield f"{path.relative_to(folder)}: {target} names no anchor of that page"


if __name__ == "__main__":
    found = list(faults(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "every link and picture of the site is there")
    sys.exit(bool(found))
