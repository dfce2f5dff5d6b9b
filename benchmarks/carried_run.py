"""Trains, and every minute carries what the run has learned into a few small files, from which another machine goes on.

    python -m benchmarks.carried_run OUT WORKDIR --config=sudoku_mlp [--config.GROUP.KEY=VALUE ...]

The run is that of `trm train --workdir=WORKDIR`, which resumes what is in WORKDIR exactly. Where nothing is there, it
goes on from what OUT holds of an earlier visit: step, weights, their average, place in the data. What is left out makes
a checkpoint four times as large, and is soon made again: the optimiser's moments begin at zero (they remember some
twenty steps), and the batch with fresh puzzles. So a run that is carried is not, bit for bit, one that was never
stopped.

OUT receives run.0, run.1, run.2 and metrics.jsonl: four files, below 50 MB. The exit code is that of `trm train`: 0
where it is done, 75 where it was stopped and can go on.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import jax
import numpy as np

from trm_jax.console import say
from trm_jax.devices.sharding import ALONE
from trm_jax.errors import CheckpointError, TrmError
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.meta import meta_from, meta_to_json, with_format
from trm_jax.runs.named_arrays import flat, unflat
from trm_jax.runs.signals import StopSignals
from trm_jax.runs.writers import FILE as METRICS
from trm_jax.training.program import fresh_state, like, no_metrics

# What is carried, cut into pieces of so many bytes: the first begins with the SHA-256 of all that follows.
PIECES, _LARGEST = ("run.0", "run.1", "run.2"), 15_000_000
_DIGITS = 64
# Among its arrays, what the checkpoint says of itself.
_META = "meta"
# Bytes of the figures, of which the newest are kept.
_FIGURES = 2_000_000
_LOOK = 0.5


def carry(workdir: Path, out: Path) -> int:
    """Writes what the newest checkpoint of a run has learned; returns its step.

    Raises:
      CheckpointError: there is none, or what has to be carried is too large.
    """
    with Checkpoints(workdir, writes=False) as checkpoints:
        meta = checkpoints.latest_meta()
        if meta is None:
            raise CheckpointError(f"{workdir}: no checkpoint here")
        state, _ = checkpoints.restore(*like(meta.experiment, ALONE))
    arrays = {name: np.asarray(array) for name, array in flat(state).items() if _is_carried(name, array)}
    arrays[_META] = np.frombuffer(json.dumps(meta_to_json(int(state.step), meta)).encode(), np.uint8)
    file = BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    content = sha256(file.getvalue()).hexdigest().encode() + file.getvalue()
    if len(content) > (most := _LARGEST * len(PIECES)):
        raise CheckpointError(f"{workdir}: {len(content) / 1e6:.0f} MB to be carried, and {most / 1e6:.0f} may be")
    # Each over the last one: there is no room for both.
    for number, name in enumerate(PIECES):
        (out / name).write_bytes(content[number * _LARGEST : (number + 1) * _LARGEST])
    return int(state.step)


def unpack(out: Path, workdir: Path) -> int:
    """Makes of what was carried a checkpoint in a working directory that has none; returns its step.

    Raises:
      CheckpointError: it is damaged, or of another version.
    """
    try:
        content = b"".join((out / name).read_bytes() for name in PIECES)
        if sha256(content[_DIGITS:]).hexdigest().encode() != content[:_DIGITS]:
            raise ValueError("its pieces are not those that were written together")
        with np.load(BytesIO(content[_DIGITS:]), allow_pickle=False) as file:
            arrays = dict(file)
        meta = meta_from(with_format(arrays.pop(_META).tobytes().decode()), out / PIECES[0])
        fresh = fresh_state(meta.experiment, ALONE)
        expected = {name: array.shape for name, array in flat(fresh).items() if _is_carried(name, array)}
        if {name: array.shape for name, array in arrays.items()} != expected:
            raise ValueError("its arrays are not those of its experiment")
    except (OSError, ValueError, KeyError) as error:
        where = out / PIECES[0]
        raise CheckpointError(f"{where}: nothing to go on from: {error}: bring all three pieces, or none") from None
    state: Any = unflat(fresh, flat(fresh) | {name: jax.numpy.asarray(array) for name, array in arrays.items()})
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(state, no_metrics(meta.experiment, ALONE), meta)
    if (out / METRICS).exists():
        shutil.copy(out / METRICS, workdir / METRICS)
    return int(state.step)


def _is_carried(name: str, array: Any) -> bool:
    """Whether an array of a training state is carried: not the half-solved batch, and no moments."""
    return not name.startswith("carry.") and not (name.startswith("opt_state") and array.ndim > 0)


def follow(process: "subprocess.Popen[bytes]", out: Path, workdir: Path, every: float, signals: StopSignals) -> int:
    """Carries until a run has ended, and once more then; the run's exit code. A request to stop is passed on to it."""
    carried, step, passed_on = time.monotonic(), -1, False
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
        code = process.returncode
        if code is not None or time.monotonic() - carried > every:
            with Checkpoints(workdir, writes=False) as checkpoints:
                newest = checkpoints.latest
            try:
                if newest is not None and newest != step:
                    step = carry(workdir, out)
                    say(f"carried: step {step:,}")
                _copy_figures(workdir, out)
            except (TrmError, OSError) as error:  # the run deletes old steps, also while we read them
                say(f"not carried this time: {error}")
            carried = time.monotonic()
        if code is not None:
            return code
        if signals.stop and not passed_on:
            process.terminate()
            passed_on = True


def _copy_figures(workdir: Path, out: Path) -> None:
    with suppress(FileNotFoundError):
        (out / METRICS).write_bytes((workdir / METRICS).read_bytes()[-_FIGURES:])


def main() -> int:
    """Trains and carries; the exit code of `trm train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two carries (60)")
    args, words = parser.parse_known_args()
    environment = dict(os.environ)
    # Devices are for the process that trains.
    jax.config.update("jax_platforms", "cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    with StopSignals() as signals:
        try:
            with Checkpoints(args.workdir) as checkpoints:
                begun = checkpoints.latest is not None
            if not begun and (args.out / PIECES[0]).exists():
                say(f"going on from what an earlier visit carried: step {unpack(args.out, args.workdir):,}")
        except TrmError as error:
            say(str(error))
            return error.exit_code
        command = [sys.executable, "-m", "trm_jax", "train", *words, f"--workdir={args.workdir}"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) as process:
            return follow(process, args.out, args.workdir, args.every, signals)


if __name__ == "__main__":
    sys.exit(main())
