"""An extension of griffe, which reads docstrings for the site: the two habits of this house that it does not know.

What a class holds stands below its first line, `name: meaning`, without a heading; an example begins with its first
`>>>`.
"""

import re
from typing import Any

import griffe

FIELDS = re.compile(r"(?<=\n\n)(?:\w+(?:, \w+)*: .*\n?(?:  .*\n?)*)+(?=\n|\Z)")
EXAMPLE = re.compile(r"(?<=\n\n)>>> .*(?:\n.+)*(?=\n\n|\Z)")


def section(title: str, text: str) -> str:
    return f"{title}:\n" + "".join(f"  {line}\n" for line in text.splitlines())


def with_sections(text: str, of_class: bool) -> str:
    """A docstring in which fields and examples have the headings that griffe knows."""
    if of_class:
        text = FIELDS.sub(lambda found: section("Attributes", found[0]), text)
    return EXAMPLE.sub(lambda found: section("Examples", found[0]), text)


class HouseStyle(griffe.Extension):
    """Gives every docstring those headings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = with_sections(obj.docstring.value, obj.is_class)
