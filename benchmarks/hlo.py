"""What a compiled program sends between devices: read from its text, run nothing.

XLA's optimised program (HLO) names every collective operation, its operands, which devices take part, and how often the
loops around it turn. `collectives_of` reads these, `table` shows them. Bytes moved are those of the usual ring
algorithms; an interconnect or a library that chooses another algorithm moves other amounts.

Not counted: point-to-point sends and receives, copies to and from host memory, and kernels that communicate themselves.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trm_jax.sizes import format_bytes

if TYPE_CHECKING:
    import jax

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)


# Attributes that name computations; others name instructions.
_CALLS = re.compile(r"\b(body|condition|calls|to_apply|\w+_computations?)=(%[^\s,{}]+|\{%[^{}]*\})")


@dataclass(frozen=True)
class Collective:
    """One collective operation of a compiled program.

    kind: one of KINDS; an operation that is split into a start and a done counts once.
    operands: what each device gives, as in "f32[512,3072]", several with commas.
    group: so many devices exchange with each other; of a permutation: so many devices send.
    payload: bytes of the whole array, as one device has it before a reduction and after a gathering.
    bytes: that a device sends each time, n the group: 2 (n - 1) / n of the payload to reduce, (n - 1) / n to gather, to
      scatter or to exchange, all of it to permute or to broadcast; rounded up.
    times: how often a run of the program does it, by the trip counts that XLA knows; a conditional's branches count as
      if each was taken. None: in a loop whose length is not known beforehand.
    where: the operation that it comes from, as JAX names it ("jit(step)/while/body/psum"); of operations that XLA put
      together, one of them.
    """

    kind: str
    operands: str
    group: int
    payload: int
    bytes: int
    times: int | None
    where: str


def collectives_of(compiled: "jax.stages.Compiled") -> list[Collective]:
    """The collectives of a compiled program, in the order of its text; empty where it has none.

    Raises ValueError if the backend gives no text of its programs.
    """
    text = compiled.as_text()
    if not text:
        raise ValueError("this backend does not give the text of a compiled program")
    return collectives_in(text)


def collectives_in(text: str) -> list[Collective]:
    """The same from the text of an optimised program (HLO)."""
    program = list(_instructions(text))
    devices = math.prod(int(n) for n in re.findall(r"(?:num_partitions|replica_count)=(\d+)", text.partition("\n")[0]))
    types = {(at.computation, at.name): at.type for at in program}
    times = _times(program)
    found = []
    for at in program:
        kind = at.opcode.removesuffix("-start")
        # A computation that nothing calls does not run.
        if kind not in KINDS or times.get(at.computation, 0) == 0:
            continue
        operands = [re.sub(r"\{[^}]*\}", "", types[at.computation, name]) for name in at.operands]
        n, given = _group(at, devices), sum(map(_bytes, operands))
        payload = given * n if kind == "all-gather" else given
        where = re.search(r'op_name="((?:[^"\\]|\\.)*)"', at.attributes)
        found.append(
            Collective(
                kind=kind,
                operands=", ".join(operands),
                group=n,
                payload=payload,
                bytes=_sent(kind, payload, n),
                times=times[at.computation],
                where=where[1] if where else "",
            )
        )
    return found


def table(collectives: Sequence[Collective]) -> str:
    """Lines for people, the totals last; long lists of operands and long names are cut."""
    if not collectives:
        return "no collectives"
    operands = [_abridged(c.operands) for c in collectives]
    width = max(len("operands"), *map(len, operands)) + 2
    lines = [f"{'collective':22}{'operands':{width}}{'group':>5}{'times':>9}{'each':>10}{'in all':>10}  from"]
    for c, text in zip(collectives, operands, strict=True):
        times, in_all = ("unknown", "") if c.times is None else (f"{c.times:,}", format_bytes(c.bytes * c.times))
        figures = f"{c.group:>5}{times:>9}{format_bytes(c.bytes):>10}{in_all:>10}"
        where = c.where if len(c.where) <= 100 else f"{c.where[:97]}..."
        lines.append(f"{c.kind:22}{text:{width}}{figures}  {where}")
    known = [(c, c.times) for c in collectives if c.times is not None]
    total = f"{sum(times for _, times in known):,} times, {format_bytes(sum(c.bytes * times for c, times in known))}"
    lines.append(f"a device sends in all: {total}")
    if unknown := len(collectives) - len(known):
        lines.append(f"and what {unknown} of these {len(collectives)} send, in loops of unknown length")
    return "\n".join(lines)


def _abridged(operands: str) -> str:
    """The first two of many."""
    each = re.findall(r"[^,\[]+\[[^\]]*\]", operands)
    return operands if len(each) <= 3 else f"{each[0]},{each[1]} and {len(each) - 2} more"


class _Instruction(NamedTuple):
    """One line of a program's text; `type` with layouts, `operands` as names, `attributes` what follows them."""

    computation: str
    is_entry: bool
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str


def _instructions(text: str) -> Iterator[_Instruction]:
    computation, is_entry = "", False
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%(\S+) \(.*\) -> .*\{$", line):
            computation, is_entry = header[2], header[1] is not None
        elif begin := re.match(r"\s+(?:ROOT )?%(\S+) = ", line):
            rest = line[begin.end() :]
            after = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
            opens = rest.index("(", after)
            closes = _closing(rest, opens)
            yield _Instruction(
                computation,
                is_entry,
                begin[1],
                rest[:after],
                rest[after:opens].strip(),
                tuple(re.findall(r"%([^\s,()]+)", rest[opens:closes])),
                rest[closes:],
            )


def _closing(text: str, opens: int) -> int:
    """Just after the parenthesis that closes the one at `opens`."""
    depth = 0
    for at in range(opens, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    raise ValueError(f"no closing parenthesis in {text!r}")


def _times(program: Sequence[_Instruction]) -> dict[str, int | None]:
    """How often each computation runs in a run of the program; None: not known."""
    calls: dict[str, list[tuple[str, int | None]]] = {}
    for at in program:
        if at.opcode in ("async-update", "async-done"):  # these may name what async-start called
            continue
        trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', at.attributes)
        turns = (int(trips[1]) if trips else None) if at.opcode == "while" else 1
        for attribute, names in _CALLS.findall(at.attributes):
            # A loop asks its condition once more than it turns.
            factor = turns + 1 if attribute == "condition" and turns is not None else turns
            for name in re.findall(r"%([^\s,{}]+)", names):
                calls.setdefault(name, []).append((at.computation, factor))
    times: dict[str, int | None] = {at.computation: 1 for at in program if at.is_entry}

    def count(computation: str) -> int | None:
        if computation not in times:
            total: int | None = 0
            for caller, factor in calls.get(computation, []):
                outer = count(caller)
                # Where the caller never runs, neither does its loop, however long.
                here = 0 if outer == 0 else None if outer is None or factor is None else outer * factor
                total = None if total is None or here is None else total + here
            times[computation] = total
        return times[computation]

    for at in program:
        count(at.computation)
    return times


def _group(at: _Instruction, devices: int) -> int:
    """How many devices exchange with each other, from any of the forms in which XLA writes groups."""
    if pairs := re.search(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}", at.attributes):
        return pairs[1].count("{")
    groups = re.search(r"replica_groups=(.*)", at.attributes)
    if groups is None or groups[1].startswith("{}"):
        return devices
    if listed := re.match(r"\{(\{[\d,]*\}(?:,\{[\d,]*\})*)\}", groups[1]):  # {{0,1},{2,3}}
        return max(len(re.findall(r"\d+", group)) for group in re.findall(r"\{([\d,]*)\}", listed[1]))
    if iota := re.match(r"\[\d+,(\d+)\]<=", groups[1]):  # [2,4]<=[8], or [2,4]<=[4,2]T(1,0)
        return int(iota[1])
    # mesh['a'=2,'b'=4] {'b'}, perhaps with device ids between; 'b':(1)2 is a part of an axis, of size 2.
    if mesh := re.match(r"mesh\[(.*?)\][^{]*\{(.*?)\}", groups[1]):
        sizes = dict(re.findall(r"'?([^',]+?)'?=(\d+)", mesh[1]))
        axes = re.findall(r"'?([^',:]+)'?(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    raise ValueError(f"replica groups in an unknown form: {groups[1]!r}")


def _bytes(type_: str) -> int:
    """Of an array such as "f32[512,3072]" or a tuple of such; what has no width in its name (a token) has no size."""
    size = 0
    for name, dimensions in re.findall(r"([a-z]\w*)\[([\d,<=]*)\]", type_):
        width = re.match(r"[a-z]+(\d+)", name)
        bits = 8 if name == "pred" else int(width[1]) if width else 0
        size += -(-bits * math.prod(int(d.lstrip("<=")) for d in dimensions.split(",") if d) // 8)
    return size


def _sent(kind: str, payload: int, n: int) -> int:
    if kind in ("collective-permute", "collective-broadcast"):
        return payload
    rounds = 2 * (n - 1) if kind == "all-reduce" else n - 1
    return -(-payload * rounds // n)
