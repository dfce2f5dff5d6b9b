"""Do all places that name a version name the same one? `python .ci/versions.py [TAG]`; a tag asks for a day, too."""

import re
import sys
from importlib import import_module
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAPER = "arXiv:2510.04871"


def faults(version: str, changelog: str, citation: str, tag: str = "") -> list[str]:
    """One line for each thing in which the changelog, the citation or a tag differ from the version of the package."""
    found = []
    top = re.search(r"^## \[(.+)\] - (.+)$", changelog, re.MULTILINE)
    dated, cited = (top[2] if top else ""), yaml.safe_load(citation)
    if top is None or top[1] != version:
        found.append(f"CHANGELOG.md begins with {top[1] if top else 'no version'}, the package is {version}")
    if not re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", dated):
        found.append(f"CHANGELOG.md dates its top section {dated!r}: write a day as 2026-11-30, or unreleased")
    if str(cited.get("version")) != version:
        found.append(f"CITATION.cff has version {cited.get('version')}, the package is {version}")
    released = str(cited.get("date-released", "unreleased"))
    if released != dated:
        found.append(f"CITATION.cff has date-released {released}, CHANGELOG.md {dated}")
    named = [entry["value"] for reference in cited.get("references", []) for entry in reference.get("identifiers", [])]
    if PAPER not in named:
        found.append(f"CITATION.cff does not name the paper: give {PAPER} as an identifier of a reference")
    if tag and tag != f"v{version}":
        found.append(f"the tag is {tag}, the package is {version}: tag it v{version}")
    if tag and dated == "unreleased":
        found.append("CHANGELOG.md says unreleased: give its top section, and CITATION.cff, the day of the release")
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "trm_jax"))
    version = import_module("version").VERSION
    texts = [(ROOT / name).read_text() for name in ("CHANGELOG.md", "CITATION.cff")]
    wrong = faults(version, *texts, *sys.argv[1:])
    print("\n".join(wrong) or f"version {version} everywhere")
    sys.exit(bool(wrong))
