"""Version, changelog and citation agree, and where they do not, each fault is told."""

import pytest
from places import ROOT, module_at

from trm_jax.version import VERSION

faults = module_at(ROOT / ".ci" / "versions.py").faults
CHANGELOG = "# Changelog\n\n## [1.2.0] - 2026-12-01\n\n## [1.1.0] - 2026-11-01\n"
CITATION = """\
version: 1.2.0
date-released: 2026-12-01
references:
  - identifiers:
      - value: arXiv:2510.04871
"""


def test_the_versions_of_this_tree_agree() -> None:
    assert faults(VERSION, (ROOT / "CHANGELOG.md").read_text(), (ROOT / "CITATION.cff").read_text()) == []


def test_a_tag_of_the_same_version_is_right() -> None:
    assert faults("1.2.0", CHANGELOG, CITATION, "v1.2.0") == []


@pytest.mark.parametrize(
    ("old", "new", "tag", "fault"),
    [
        ("## [1.2.0]", "## [1.3.0]", "", "CHANGELOG.md begins with 1.3.0, the package is 1.2.0"),
        ("- 2026-12-01", "- soon", "", "CHANGELOG.md dates its top section 'soon'"),
        ("version: 1.2.0", "version: 1.1.0", "", "CITATION.cff has version 1.1.0, the package is 1.2.0"),
        ("date-released: 2026-12-01\n", "", "", "CITATION.cff has date-released unreleased, CHANGELOG.md 2026-12-01"),
        ("- 2026-12-01", "- unreleased", "", "CITATION.cff has date-released 2026-12-01, CHANGELOG.md unreleased"),
        ("2510.04871", "2506.21734", "", "CITATION.cff does not name the paper"),
        ("", "", "v1.2", "the tag is v1.2, the package is 1.2.0"),
    ],
)
def test_what_differs_is_told(old: str, new: str, tag: str, fault: str) -> None:
    changelog, citation = (
        (CHANGELOG.replace(old, new, 1), CITATION.replace(old, new, 1)) if old else (CHANGELOG, CITATION)
    )
    assert any(told.startswith(fault) for told in faults("1.2.0", changelog, citation, tag))


def test_what_is_not_dated_is_not_released() -> None:
    texts = CHANGELOG.replace("2026-12-01", "unreleased"), CITATION.replace("date-released: 2026-12-01\n", "")
    assert faults("1.2.0", *texts) == []
    (told,) = faults("1.2.0", *texts, "v1.2.0")
    assert told.startswith("CHANGELOG.md says unreleased")
