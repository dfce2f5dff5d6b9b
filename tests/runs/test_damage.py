"""Damaged checkpoints: each fault is noticed and told, nothing is lost, and training goes on from the newest good."""

import json
import math
import os
import random
import re
import shutil
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hostile import EDITS, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_checkpoint import EXPERIMENT, TOTALS, drawn_state, zeros_like
from small_run import assert_same_run
from small_run import learning as experiment

from trm_jax.commands.cli import main
from trm_jax.config import Experiment
from trm_jax.errors import CheckpointError
from trm_jax.runs import manifest
from trm_jax.runs import train as training
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.meta import Meta
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.resume import check_same_run, position_of
from trm_jax.runs.train import train

STEPS = (5, 7, 9)
PLACE = {"epoch": 3, "place": 2, "offset": 1, "fingerprint": "of puzzles"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with three checkpoints that nobody changes."""
    workdir = tmp_path_factory.mktemp("sound")
    with Checkpoints(workdir, keep=3) as checkpoints:
        for step in STEPS:
            checkpoints.save(drawn_state(EXPERIMENT, seed=step, step=step), TOTALS, Meta(EXPERIMENT, PLACE))
    return workdir


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy of its checkpoints."""
    return copy(sound, tmp_path / "run") / "checkpoints"


def copy(workdir: Path, to: Path) -> Path:
    shutil.copytree(workdir, to)
    return to


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def listing(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """All there is, by name, with what changes when somebody touches it."""
    found = {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*")}
    return {name: (s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in found.items()}


def recovered(workdir: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that are said when training looks at what is there."""
    capsys.readouterr()
    with Checkpoints(workdir, keep=3) as checkpoints:
        checkpoints.recover()
    return capsys.readouterr().err.splitlines()


# --- What may befall one file

Mutation = Callable[[Path, Path, random.Random], None]


def flip(file: Path, other: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def rewritten(change: Callable[[bytes, random.Random], bytes]) -> Mutation:
    """A mutation of the content, for which it is a flipped bit where it changes nothing."""

    def mutate(file: Path, other: Path, rng: random.Random) -> None:
        before = file.read_bytes()
        after = change(before, rng)
        file.write_bytes(after)
        if after == before:
            flip(file, other, rng)

    return mutate


def in_its_place(make: Callable[[Path, Path], None]) -> Mutation:
    def mutate(file: Path, other: Path, rng: random.Random) -> None:
        file.unlink()
        make(file, other)

    return mutate


def swap(file: Path, other: Path, rng: random.Random) -> None:
    """With a file of another step; where both are equal, a bit of it is flipped."""
    ours, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    if ours == theirs:
        flip(file, other, rng)


def full_folder(file: Path, other: Path) -> None:
    file.mkdir()
    shutil.copy(other, file / "part")


MUTATIONS: dict[str, Mutation] = {
    "bit": flip,
    "bits": rewritten(lambda b, rng: bytes(byte ^ (rng.random() < 0.01) << rng.randrange(8) for byte in b)),
    "cut": rewritten(lambda b, rng: b[: rng.randrange(len(b))]),
    "last byte cut": rewritten(lambda b, rng: b[:-1]),
    "first byte cut": rewritten(lambda b, rng: b[1:]),
    "empty": rewritten(lambda b, rng: b""),
    "zeros": rewritten(lambda b, rng: bytes(len(b))),
    "zeros at the end": rewritten(lambda b, rng: b[: len(b) // 2] + bytes(len(b) - len(b) // 2)),
    "zero byte more": rewritten(lambda b, rng: b + b"\0"),
    "new line more": rewritten(lambda b, rng: b + b"\n"),
    "carriage returns": rewritten(lambda b, rng: b.replace(b"\n", b"\r\n")),
    "twice": rewritten(lambda b, rng: b + b),
    "backwards": rewritten(lambda b, rng: b[::-1]),
    "lines backwards": rewritten(lambda b, rng: b"".join(b.splitlines(keepends=True)[::-1])),
    "a line twice": rewritten(lambda b, rng: b"".join(b.splitlines(keepends=True)[:1]) + b),
    "other case": rewritten(lambda b, rng: b.swapcase()),
    "other letters": rewritten(lambda b, rng: b.replace(b"a", b"b")),
    "garbled JSON": rewritten(lambda b, rng: b.replace(b'"', b"", 1).replace(b"}", b"]")),
    "noise": rewritten(lambda b, rng: rng.randbytes(len(b))),
    "of another step": swap,
    "gone": in_its_place(lambda file, other: None),
    "empty folder": in_its_place(lambda file, other: file.mkdir()),
    "folder": in_its_place(full_folder),
    "pipe": in_its_place(lambda file, other: os.mkfifo(file)),
    "link to nowhere": in_its_place(lambda file, other: file.symlink_to("nowhere")),
    "link to itself": in_its_place(lambda file, other: file.symlink_to(file)),
    "link to a device": in_its_place(lambda file, other: file.symlink_to("/dev/zero")),
    "link to a folder": in_its_place(lambda file, other: file.symlink_to(other.parent)),
}


def two_hundred_pairs(names: list[str], kinds: list[str]) -> list[tuple[str, str]]:
    """Every file with several mutations and every mutation on several files, however many there are of either.

    (Orbax puts the same arrays into a file more or fewer, depending on its threads.)
    """
    again = math.lcm(len(names), len(kinds))  # where the pairs would begin to repeat
    return [(names[i % len(names)], kinds[(i + i // again) % len(kinds)]) for i in range(200)]


@pytest.mark.parametrize("count", [21, len(MUTATIONS) - 1, len(MUTATIONS), len(MUTATIONS) + 1, 40])
def test_pairs(count: int) -> None:
    names = [str(i) for i in range(count)]
    pairs = two_hundred_pairs(names, list(MUTATIONS))
    assert len(set(pairs)) == 200
    assert {name for name, _ in pairs} == set(names)
    assert {kind for _, kind in pairs} == set(MUTATIONS)


@pytest.mark.parametrize("count", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_two_hundred_mutations(count: int, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is noticed and told in one line that names the file; the step is set aside, whole, and the next one used."""
    names, kinds = files(sound / "checkpoints" / "9"), list(MUTATIONS)
    assert len(names) > 20
    state = drawn_state(EXPERIMENT, seed=7, step=7)
    for i, (name, kind) in enumerate(two_hundred_pairs(names, kinds)[:count]):
        rng = random.Random(i)
        workdir = copy(sound, tmp_path / str(i))
        here = workdir / "checkpoints"
        other = here / "7" / files(here / "7")[min(i % len(names), len(files(here / "7")) - 1)]
        if name == manifest.NAME:
            other = here / "7" / name
        MUTATIONS[kind](here / "9" / name, other, rng)
        before = listing(here)

        if i % 40 == 0:  # whoever only reads uses the one before as well, and touches nothing
            capsys.readouterr()
            assert fingerprint(load(workdir, averaged=False)[1]) == fingerprint(state.weights)
            assert re.fullmatch(rf"{here / '9'} is damaged: .*; step 7 is used in its place\n", capsys.readouterr().err)
            assert listing(here) == before
        lines = recovered(workdir, capsys)

        assert len(lines) == 1, (name, kind, lines)
        told = re.fullmatch(
            rf"{here / '9'} is damaged: (.*); set aside as 9\.damaged, step 7 is used in its place", lines[0]
        )
        assert told is not None, (name, kind, lines)
        assert told[1].isprintable()
        if name != manifest.NAME:
            assert told[1].startswith(f"{name} is "), (kind, told[1])
        else:  # whose lines are about others
            assert any(told[1].startswith(each) for each in names), (kind, told[1])
        moved = {re.sub("^9(?=/|$)", "9.damaged", at): what for at, what in before.items()}
        assert listing(here) == moved, (name, kind)
        with Checkpoints(workdir, keep=3) as checkpoints:
            assert checkpoints.steps == [5, 7]
            if i % 40 == 0:
                found, _ = checkpoints.restore(zeros_like(state), TOTALS)
                assert fingerprint(found) == fingerprint(state)
        shutil.rmtree(workdir)


# --- What may befall a step, or more than one


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def befall(folder: Path) -> None:
        shutil.rmtree(folder / "9")
        make(folder / "9")

    return befall


def add(name: str | bytes, make: Callable[[Path], object] = Path.touch) -> Callable[[Path], None]:
    def befall(folder: Path) -> None:
        make(Path(os.fsdecode(os.path.join(os.fsencode(folder / "9" / "weights"), os.fsencode(name)))))

    return befall


def empty(folder: Path) -> None:
    for path in (folder / "9").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def without_files(folder: Path) -> None:
    for name in files(folder / "9"):
        (folder / "9" / name).unlink()


def with_manifest_of_another(folder: Path) -> None:
    shutil.copy(folder / "7" / manifest.NAME, folder / "9")


def with_weights_of_another(folder: Path) -> None:
    shutil.rmtree(folder / "9" / "weights")
    shutil.copytree(folder / "7" / "weights", folder / "9" / "weights")


def with_files_exchanged(folder: Path) -> None:
    one, two = (folder / "9" / part / "_METADATA" for part in ("weights", "training"))
    contents = one.read_bytes(), two.read_bytes()
    two.write_bytes(contents[0])
    one.write_bytes(contents[1])


def without_manifest_and_meta(folder: Path) -> None:
    (folder / "9" / manifest.NAME).unlink()
    (folder / "9" / "meta" / "metadata").unlink()


def without_manifest_and_a_pipe_for_meta(folder: Path) -> None:
    without_manifest_and_meta(folder)
    os.mkfifo(folder / "9" / "meta" / "metadata")


# Name -> what befalls the folder of checkpoints, and what is told of it.
BEFALLS: dict[str, tuple[Callable[[Path], object], str]] = {
    "emptied": (empty, "meta/metadata is damaged or not ours: .*No such file.*"),
    "without files": (without_files, "meta/metadata is damaged or not ours: .*No such file.*"),
    "a file": (replace_by(Path.touch), "meta/metadata is damaged or not ours: .*Not a directory.*"),
    "a pipe": (replace_by(os.mkfifo), "meta/metadata is damaged or not ours: .*Not a directory.*"),
    "a link to nowhere": (replace_by(lambda p: p.symlink_to("nowhere")), "meta/metadata is damaged .*No such file.*"),
    "a link to another": (replace_by(lambda p: p.symlink_to("7")), "meta/metadata is that of another step"),
    "a copy of another": (replace_by(lambda p: shutil.copytree(p.with_name("7"), p)), ".* is that of another step"),
    "manifest gone": (lambda f: (f / "9" / manifest.NAME).unlink(), r"manifest\.sha256 is missing"),
    "manifest of another": (with_manifest_of_another, "[^ ]+ is not what was written|[^ ]+ is (missing|not in .*)"),
    "weights of another": (with_weights_of_another, "weights/[^ ]+ is .*"),
    "files exchanged": (with_files_exchanged, "training/_METADATA is not what was written"),
    "manifest and meta gone": (without_manifest_and_meta, "meta/metadata is damaged or not ours: .*"),
    "a pipe for meta": (without_manifest_and_a_pipe_for_meta, "meta/metadata is damaged or not ours: it is no file"),
    "a file more": (add("more"), r"weights/more is not in its manifest"),
    "a pipe more": (add("more", os.mkfifo), r"weights/more is not in its manifest"),
    "a name of two lines": (add("more\nless"), r"weights/more\?less is not in its manifest"),
    "a name that clears the screen": (add("\x1b[2J"), r"weights/\?\[2J is not in its manifest"),
    "a name of odd bytes": (add(b"\xff\xfe"), r"weights/\?\? is not in its manifest"),
    "a long name": (add("x" * 250), r"weights/x+ is not in its manifest"),
}  # fmt: skip


@pytest.mark.parametrize("what", BEFALLS)
def test_what_befalls_a_step(what: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    befall, expected = BEFALLS[what]
    befall(folder)
    others = {name: there for name, there in listing(folder).items() if name[0] in "57"}

    lines = recovered(folder.parent, capsys)

    where, then = re.escape(str(folder / "9")), r"set aside as 9\.damaged, step 7 is used in its place"
    assert len(lines) == 1
    assert re.fullmatch(f"{where} is damaged: (?:{expected}); {then}", lines[0]), lines
    assert lines[0].isprintable()
    assert {name: there for name, there in listing(folder).items() if name[0] in "57"} == others
    assert os.path.lexists(folder / "9.damaged")
    with Checkpoints(folder.parent, keep=3) as checkpoints:
        assert checkpoints.steps == [5, 7]
        # In its place comes the step that will be made again.
        checkpoints.save(drawn_state(EXPERIMENT, step=9), TOTALS, Meta(EXPERIMENT, PLACE))
    with Checkpoints(folder.parent, keep=3) as checkpoints:
        assert checkpoints.steps == [5, 7, 9]
        assert checkpoints.latest_meta() == Meta(EXPERIMENT, PLACE)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, os.mkfifo], ids=["empty", "file", "pipe"])
def test_something_that_is_called_as_a_newer_step(
    make: Callable[[Path], object], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(folder / "999")
    lines = recovered(folder.parent, capsys)
    assert len(lines) == 1
    assert lines[0].startswith(f"{folder / '999'} is damaged: meta/metadata is damaged or not ours: ")
    assert lines[0].endswith("; set aside as 999.damaged, step 9 is used in its place")
    with Checkpoints(folder.parent, keep=3) as checkpoints:
        checkpoints.save(drawn_state(EXPERIMENT, step=11), TOTALS, Meta(EXPERIMENT))
        checkpoints.wait()
        assert checkpoints.steps == [7, 9, 11]


def test_names_that_are_no_step_are_let_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["10\n", "\n10", "010", "-10", "+10", " 10", "1e3", "10.0", "٣٣", "10.keep", "...", "10 .saving", "1" * 20]
    for name in names:
        (folder / name).mkdir()
    before = listing(folder)
    assert recovered(folder.parent, capsys) == []
    with Checkpoints(folder.parent) as checkpoints:
        assert checkpoints.steps == [*STEPS]
    assert listing(folder) == before


def test_an_empty_folder_in_a_step_is_without_effect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "9" / "weights" / "more").mkdir()
    assert recovered(folder.parent, capsys) == []
    state = drawn_state(EXPERIMENT, seed=9, step=9)
    assert fingerprint(load(folder.parent, averaged=False)[1]) == fingerprint(state.weights)


def test_two_that_are_damaged_are_both_set_aside_and_beside_those_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was set aside is not overwritten; of each step that is not used there is a line."""
    (folder / "9.damaged").mkdir()
    (folder / "9.damaged-1").symlink_to("nowhere")
    for step in (7, 9):
        (folder / str(step) / "meta" / "metadata").write_bytes(b"{}")
    lines = recovered(folder.parent, capsys)
    wrong = "meta/metadata is not what was written"
    assert lines == [
        f"{folder / '9'} is damaged: {wrong}; set aside as 9.damaged-2, step 5 is used in its place",
        f"{folder / '7'} is damaged: {wrong}; set aside as 7.damaged, step 5 is used in its place",
    ]
    assert (folder / "9.damaged-2" / "meta" / "metadata").read_bytes() == b"{}"
    state = drawn_state(EXPERIMENT, seed=5, step=5)
    with Checkpoints(folder.parent) as checkpoints:
        assert fingerprint(checkpoints.restore(zeros_like(state), TOTALS)[0]) == fingerprint(state)


def test_all_that_are_damaged_are_an_error_and_are_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in STEPS:
        flip(folder / str(step) / "training" / "manifest.ocdbt", folder, random.Random(step))
    before = listing(folder)
    for attempt in (lambda: recovered(folder.parent, capsys), lambda: load(folder.parent)):
        with pytest.raises(CheckpointError) as caught:
            attempt()
        assert str(caught.value).isprintable()
        for step in STEPS:
            wrong = f"{folder / str(step)} is damaged: training/manifest.ocdbt is not what was written"
            assert wrong in str(caught.value)
        assert listing(folder) == before
    assert capsys.readouterr().err == ""


def test_one_that_is_asked_for_by_name_is_not_replaced_by_another(folder: Path) -> None:
    (folder / "9" / "_CHECKPOINT_METADATA").unlink()
    with pytest.raises(CheckpointError, match=r"9 is damaged: _CHECKPOINT_METADATA is missing$"):
        load(folder / "9")


def test_coreutils_read_the_manifest_as_well(folder: Path) -> None:
    """The format is one that is checked without us; and names in it lead nowhere."""
    lines = (folder / "9" / manifest.NAME).read_text().splitlines()
    assert [line[66:] for line in lines] == [name for name in files(folder / "9") if name != manifest.NAME]
    assert all(re.fullmatch("[0-9a-f]{64}  [^ ].*", line) for line in lines)
    (folder / "outside").write_bytes(b"")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with (folder / "9" / manifest.NAME).open("a") as file:
        file.write(f"{digest}  ../outside\n")
    assert manifest.fault(folder / "9") == "../outside is missing"


# --- Training goes on


def config(**changes: object) -> Experiment:
    return experiment(**{"train__save_every": 4, "train__keep_checkpoints": 3, "train__eval_every": 0, **changes})


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("uncut")
    assert train(config(), workdir).finished
    return workdir


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, up to step 12."""
    workdir = tmp_path_factory.mktemp("begun")
    calls, advance = [0], training.advance

    def signalled(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 12:
            signal.raise_signal(signal.SIGTERM)
        return advance(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "advance", signalled)
        assert train(config(), workdir).step == 12
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.steps == [4, 8, 12]
    return workdir


def flipped(*steps: int) -> Callable[[Path], None]:
    def befall(folder: Path) -> None:
        for step in steps:
            name = next(name for name in files(folder / str(step)) if "weights/ocdbt.process_0/d/" in name)
            flip(folder / str(step) / name, folder, random.Random(step))

    return befall


def emptied_and_a_newer_one(folder: Path) -> None:
    for path in (folder / "12").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "999").mkdir()


def a_file_for_the_newest(folder: Path) -> None:
    shutil.rmtree(folder / "12")
    (folder / "12").touch()


@pytest.mark.parametrize(
    ("befall", "aside", "lines"),
    [
        (flipped(12), ["12.damaged"], 1),
        pytest.param(flipped(8, 12), ["12.damaged", "8.damaged"], 2, marks=pytest.mark.slow),
        pytest.param(emptied_and_a_newer_one, ["12.damaged", "999.damaged"], 2, marks=pytest.mark.slow),
        pytest.param(a_file_for_the_newest, ["12.damaged"], 1, marks=pytest.mark.slow),
        pytest.param(lambda folder: (folder / "16").mkdir(), ["16.damaged"], 1, marks=pytest.mark.slow),
    ],
    ids=["bit", "two", "empty", "file", "the next to be saved"],
)
def test_training_goes_on_from_the_newest_good_one(
    befall: Callable[[Path], object],
    aside: list[str],
    lines: int,
    begun: Path,
    uncut: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The steps since then are made again, and saved when they are due; in the end nothing tells that it happened."""
    workdir = copy(begun, tmp_path / "run")
    befall(workdir / "checkpoints")
    capsys.readouterr()

    assert train(config(), workdir).finished

    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if "is damaged" in line]) == lines
    names = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    assert names == sorted([*aside, "12", "16", "20"])
    assert_same_run(config(), workdir, uncut)


def test_all_damaged_ends_training_with_one_line_and_nothing_changed(begun: Path, tmp_path: Path) -> None:
    workdir = copy(begun, tmp_path / "run")
    flipped(4, 8, 12)(workdir / "checkpoints")
    before = listing(workdir)
    with pytest.raises(CheckpointError, match="no other checkpoint is there: put a copy there, or") as caught:
        train(config(), workdir)
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()
    assert listing(workdir) == before


def test_eval_uses_the_newest_good_one_and_touches_nothing(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = copy(begun, tmp_path / "run")
    arguments = ["eval", str(workdir), "--limit=4", "--batch-size=4", "--devices=1"]
    assert main([*arguments[:1], str(workdir / "checkpoints" / "8"), *arguments[2:]]) == 0
    expected = capsys.readouterr()
    flipped(12)(workdir / "checkpoints")
    before = listing(workdir)
    assert main(arguments) == 0
    found = capsys.readouterr()
    assert [line for line in found.err.splitlines() if "damaged" in line] != []
    assert "set aside" not in found.err
    assert "step 8 is used in its place" in found.err
    assert figures(found.out) == figures(expected.out)
    assert listing(workdir) == before
    flipped(4, 8)(workdir / "checkpoints")
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("trm: error: ")
    assert said.err.count("\n") == 1


def figures(table: str) -> list[str]:
    return re.findall(r"[0-9.]+%", table)


# --- Whatever stands in the files, with a manifest that agrees

CASES = int(os.environ.get("TRM_FUZZ", "100"))
fuzzed = settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

ODD = st.sampled_from(
    [None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 3, 7, 64, 1000, 1e308, "", "x", "\x1b[2J\n",
     "x" * 5000, [], {}, [[]], {"a": 1}, {"epoch": -1}, float("nan"), float("inf"), "gone"]
)  # fmt: skip


def places(tree: object, here: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The ways to all values in a tree of mappings."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*here, key)
            yield from places(value, (*here, key))


def odd(said: bytes, data: st.DataObject, within: tuple[str, ...] = ()) -> bytes:
    """What a step says of itself, with other values in some places, or none."""
    text = json.loads(said)
    ways = sorted(way for way in places(text) if way[: len(within)] == within)
    for way in data.draw(st.lists(st.sampled_from(ways), min_size=1, max_size=3)):
        there = text
        for key in way[:-1]:
            there = there.get(key) if isinstance(there, dict) else None
        if isinstance(there, dict):
            value = deepcopy(data.draw(ODD))  # or else it could be put into itself
            if value == "gone":
                there.pop(way[-1], None)
            else:
                there[way[-1]] = value
    return json.dumps(text).encode()


@pytest.fixture(scope="module")
def bare(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step without arrays, since what it says of itself is told without them."""
    folder = tmp_path_factory.mktemp("bare") / "checkpoints" / "9"
    (folder / "meta").mkdir(parents=True)
    shutil.copy(sound / "checkpoints" / "9" / "meta" / "metadata", folder / "meta")
    return folder


def begin(workdir: Path) -> None:
    """What training does with the newest step: works, or is an error in due form."""
    with Checkpoints(workdir) as checkpoints:
        checkpoints.recover()
        meta = checkpoints.latest_meta()
        assert meta is not None
        assert all(type(number) is int for number in position_of(meta, "of puzzles"))
        check_same_run(meta, EXPERIMENT, "of puzzles", workdir, force=False)


def works_or_is_told(work: Callable[[Path], object], workdir: Path) -> bool:
    """Whether it works; if not, the error is one line that names the folder."""
    try:
        work(workdir)
    except CheckpointError as error:
        told, code = str(error), error.exit_code
    else:
        return True
    assert told.isprintable()
    assert len(told) < 2000
    assert str(workdir) in told
    assert code == 2
    return False


def says(folder: Path, content: bytes, agreeing: bool = True) -> None:
    (folder / "meta" / "metadata").write_bytes(content)
    (folder / manifest.NAME).unlink(missing_ok=True)
    if agreeing:
        manifest.write(folder)


@pytest.fixture(scope="module")
def said(bare: Path) -> bytes:
    return (bare / "meta" / "metadata").read_bytes()


@fuzzed
@given(edits=EDITS, cut=st.none() | st.integers(0, 5000), agreeing=st.booleans())
def test_meta_of_any_bytes(
    bare: Path, said: bytes, edits: list[tuple[int, bytes, int]], cut: int | None, agreeing: bool
) -> None:
    says(bare, damaged(said, edits, cut), agreeing)
    works_or_is_told(begin, bare.parent.parent)


@fuzzed
@given(data=st.data())
def test_meta_with_any_values(bare: Path, said: bytes, data: st.DataObject) -> None:
    says(bare, odd(said, data))
    works_or_is_told(begin, bare.parent.parent)


@pytest.fixture(scope="module")
def other_model(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(sound, tmp_path_factory.mktemp("other") / "run") / "checkpoints" / "9"


@settings(fuzzed, max_examples=max(1, CASES // 10))
@given(data=st.data())
def test_weights_of_any_model(other_model: Path, said: bytes, data: st.DataObject) -> None:
    """They are not read as those of a model that they are not of, nor does anybody try to make one beyond measure."""
    says(other_model, odd(said, data, ("experiment", "model")))
    works_or_is_told(lambda workdir: load(workdir / "checkpoints" / "9"), other_model.parent.parent)


@fuzzed
@given(edits=EDITS, cut=st.none() | st.integers(0, 5000), whole=st.none() | st.binary(max_size=300))
def test_a_manifest_of_any_bytes(
    sound: Path, edits: list[tuple[int, bytes, int]], cut: int | None, whole: bytes | None, tmp_path: Path
) -> None:
    """Only the one that was written is taken for it."""
    folder = tmp_path / "9"
    if not folder.exists():
        shutil.copytree(sound / "checkpoints" / "9" / "meta", folder)
        manifest.write(folder)
        (tmp_path / "good").write_bytes((folder / manifest.NAME).read_bytes())
    good = (tmp_path / "good").read_bytes()
    content = damaged(good, edits, cut) if whole is None else whole
    (folder / manifest.NAME).write_bytes(content)
    fault = manifest.fault(folder)
    assert (fault == "") == (content == good)
    assert fault.isprintable()
    assert len(fault) < 1000


@pytest.mark.parametrize("what", ["meta", "manifest", "lines"])
def test_of_a_huge_file_little_is_read(what: str, bare: Path, said: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "9"
    shutil.copytree(bare, folder)
    says(folder, said)
    path = folder / "meta" / "metadata" if what == "meta" else folder / manifest.NAME
    if what == "lines":
        path.write_bytes((b"0" * 64 + b"  x\n") * 1_500_000)
    else:
        os.truncate(path, 100 << 20)
    if what == "meta":
        (folder / manifest.NAME).unlink()
        manifest.write(folder)
    with Checkpoints(tmp_path) as checkpoints:
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError) as caught:
                checkpoints.recover()
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
