"""What each value of an experiment means, for people: the comments that stand beside its field in values.py."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from textwrap import wrap
from typing import Any

from trm_jax.config import values
from trm_jax.config.mappings import to_dict
from trm_jax.config.values import Experiment

_WIDTH = 118  # characters of a line
_MOST = 48  # of a key with its value, so that meanings stand below one another


def listed(experiment: Experiment) -> str:
    """Every key with its value and its meaning, group by group; what is too long goes on below."""
    lines = [f"config.name={experiment.name!r}"]
    for group, pairs in to_dict(experiment).items():
        if isinstance(pairs, Mapping):
            about = (type(getattr(experiment, group)).__doc__ or "").splitlines()[0].rstrip(".")
            lines += ["", f"{group}: {about[:1].lower()}{about[1:]}"]
            lines += [line for key, value in pairs.items() for line in _lines(group, key, value)]
    return "\n".join(lines)


def _lines(group: str, key: str, value: Any) -> Iterator[str]:
    head = f"  --config.{group}.{key}={value}"
    told = wrap(meanings()[f"{group}.{key}"], _WIDTH - _MOST)
    if len(head) >= _MOST:
        yield head
        head = ""
    first, *others = told or [""]
    yield f"{head:<{_MOST}}{first}".rstrip()
    for line in others:
        yield " " * _MOST + line


@cache
def meanings() -> Mapping[str, str]:
    """The comment of every key such as "model.width", in one line; "" where its name says it all."""
    source = inspect.getsource(values)
    lines, classes = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            classes[node.name] = {ast.unparse(each.target): _comment(lines, each) for each in fields}
    groups = {name: type(value).__name__ for name, value in vars(Experiment()).items() if name != "name"}
    return {f"{group}.{key}": text for group, name in groups.items() for key, text in classes[name].items()}


def _comment(lines: list[str], field: ast.AnnAssign) -> str:
    """What stands above a field, line by line, and behind it."""
    parts: list[str] = []
    above = field.lineno - 2
    while lines[above].strip().startswith("#"):
        parts.insert(0, lines[above].strip())
        above -= 1
    behind = lines[(field.end_lineno or field.lineno) - 1][field.end_col_offset or 0 :].strip()
    return re.sub(r"(^| )# ", r"\1", " ".join([*parts, *filter(None, [behind])]))
