"""A calibration on disk: read as it was written, of these weights and puzzles alone, and damage told in one line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trm_jax.errors import CheckpointError, ConfigError, StorageError, TrmError
from trm_jax.inference.confidence import Evidence, calibrate
from trm_jax.inference.effort import Effort
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs import shipped
from trm_jax.runs.calibration import Calibrated, check, how_of, place, promise_of, puzzle_of, read, write
from trm_jax.runs.named_arrays import fingerprint

KIND = kind_of("sudoku", 16)
WEIGHTS = {"kernel": np.arange(4.0)}
HOW = how_of(Effort((16,)), "q")


@pytest.fixture(scope="module")
def made() -> Calibrated:
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(300, 3))
    right = signals @ [1.0, 2.0, 0.5] + rng.logistic(size=300) > -4
    found = calibrate(Evidence(("q", "rest", "margin"), signals, right), 0.9, 0.05)
    return Calibrated(found, fingerprint(WEIGHTS), puzzle_of(KIND), HOW, "f" * 64)


@pytest.fixture
def path(made: Calibrated, tmp_path: Path) -> Path:
    write(tmp_path / "c.json", made)
    return tmp_path / "c.json"


def test_what_is_read_is_what_was_written(made: Calibrated, path: Path) -> None:
    assert read(path) == made
    write(path, replace(made, puzzles="e" * 64))
    assert read(path).puzzles == "e" * 64
    assert [each.name for each in path.parent.iterdir()] == ["c.json"]
    assert check("c.json", read(path), WEIGHTS, KIND, HOW) == made.confidence  # type: ignore[arg-type]


def test_it_lies_beside_the_weights(tmp_path: Path) -> None:
    beside = tmp_path / "run" / "calibration.json"
    for name in ("", "checkpoints/500", "checkpoints/best"):
        assert place(tmp_path / "run" / name) == beside
    (tmp_path / "model.safetensors").touch()
    assert place(tmp_path / "model.safetensors") == tmp_path / "model.calibration.json"
    assert place("sudoku-4x4") == shipped.path_of("sudoku-4x4").with_name("sudoku-4x4.calibration.json")


def test_it_is_of_no_other_weights_puzzles_or_effort(made: Calibrated) -> None:
    other = {"kernel": np.arange(4.0) + 1}
    with pytest.raises(CheckpointError, match=r"^c: a calibration of other weights than these: make it again"):
        check("c", made, other, KIND, HOW)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^c: calibrated on puzzles of kind 'sudoku' of 16 cells, and these are"):
        check("c", made, WEIGHTS, kind_of("sudoku", 36), HOW)  # type: ignore[arg-type]
    effort = Effort((16,), attempts=4, latent_noise=0.5)
    with pytest.raises(ConfigError, match=r"c: calibrated with attempts 1 and not 4, latent_noise 0.0 and not 0.5"):
        check("c", made, WEIGHTS, KIND, how_of(effort, "vote"))  # type: ignore[arg-type]
    # Seeds, and depths to report on before the last, change nothing.
    assert how_of(Effort((2, 16), seed=9), "rules") == HOW


def test_without_a_calibration_nothing_is_promised(made: Calibrated, tmp_path: Path) -> None:
    what = WEIGHTS, KIND, Effort((16,)), "q", 0.8
    with pytest.raises(CheckpointError, match=r"calibration.json: no calibration there: make one with `trm calibrate`"):
        promise_of(tmp_path, None, *what)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"confidence 0.8: this model was never calibrated: call calibrate\(\)"):
        promise_of("", None, *what)  # type: ignore[arg-type]
    assert promise_of("", made, *what) == made.confidence.promise(0.8)  # type: ignore[arg-type]


def test_a_folder_that_is_not_there_is_told(made: Calibrated, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"c.json: cannot be written: No such file"):
        write(tmp_path / "nowhere" / "c.json", made)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("format",), 2),
        (("weights_sha256",), 3),
        (("puzzle",), []),
        (("how",), None),
        (("confidence",), 1),
        (("confidence", "fit", "names"), ["q", "rest"]),
        (("confidence", "fit", "mean"), [0.0]),
        (("confidence", "fit", "scale"), [1.0, 0.0, 1.0]),
        (("confidence", "fit", "weights"), [1.0, float("nan"), 1.0]),
        (("confidence", "fit", "bias"), True),
        (("confidence", "alone"), []),
        (("confidence", "bounds"), []),
        (("confidence", "bounds", 0, "most_wrong"), -0.1),
        (("confidence", "bounds", 0, "answered"), -1),
        (("confidence", "bounds", 0, "threshold"), "0"),
        (("confidence", "delta"), 2),
        (("confidence", "fitted"), 1.5),
    ],
)
def test_what_was_changed_is_not_read(path: Path, at: tuple, value: object) -> None:
    told = json.loads(path.read_text())
    inner = told
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = value
    path.write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=r"c.json: no calibration that can be read: .*: make it again") as error:
        read(path)
    assert "\n" not in str(error.value)
    for missing in ("confidence", "format"):
        path.write_text(json.dumps({name: part for name, part in told.items() if name != missing}))
        with pytest.raises(CheckpointError, match=r"no calibration that can be read"):
            read(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{" * 5_000, b"[" * 100_000, b" " * (1 << 21)])
def test_other_files_are_told_in_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(TrmError, match=r"c.json: no calibration that can be read") as error:
        read(path)
    assert "\n" not in str(error.value)
