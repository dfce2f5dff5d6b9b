"""The folders of saved steps: which there are, which are whole, and how they come and go without ever being half there.

Beside the steps there may be, of step 7: 7.saving and 7.deleted, leftovers of a process that was killed, which the next
run removes; 7.damaged, set aside; 7.keep, an empty file of the user's, for whose sake the step is never deleted.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from trm_jax.console import say
from trm_jax.data.disk import remove, sync
from trm_jax.errors import CheckpointError
from trm_jax.runs import manifest
from trm_jax.runs.meta import MANIFEST_SINCE, read_json

_STEP = re.compile("0|[1-9][0-9]{0,18}")
_LEFTOVER = re.compile(rf"({_STEP.pattern})\.(saving|deleted|orbax-checkpoint-tmp).*")


def step_of(name: str) -> int | None:
    """The step whose folder has this name; None for other names."""
    return int(name) if _STEP.fullmatch(name) else None


class StepFolders:
    """The steps in one folder, of which the newest are kept.

    Of several processes that make the same calls one, which `writes`, judges and changes what is there.
    """

    def __init__(self, directory: Path, keep: int, writes: bool) -> None:
        self._directory, self._keep, self._writes = directory, keep, writes
        self._verified: set[int] = set()

    @property
    def steps(self) -> list[int]:
        """The steps on disk, in order, whether or not they are folders whose files are what was written."""
        try:
            names = [path.name for path in self._directory.iterdir()]
        except OSError:
            return []
        return sorted(step for step in map(step_of, names) if step is not None)

    def of(self, step: int) -> Path:
        """Where a step is, or would be."""
        return self._directory / str(step)

    def saving(self, step: int) -> Path:
        """Where a step is written, before `publish` gives it its name."""
        return self._directory / f"{step}.saving"

    def publish(self, step: int) -> None:
        """Gives a step that was written whole its manifest, and only then its name; then deletes the oldest.

        Raises:
          OSError: a file cannot be read, written or renamed.
        """
        manifest.write(self.saving(step))
        self.saving(step).rename(self.of(step))
        sync(self._directory)
        self._delete_old()

    def hold(self, step: int) -> None:
        """From now on the step is never deleted."""
        if self._writes:
            (self._directory / f"{step}.keep").touch()

    def checked(self, step: int) -> Path:
        """The folder of a step. Raises CheckpointError: it is damaged."""
        if self._writes and step not in self._verified and (wrong := self._fault(step)):
            raise CheckpointError(f"{self.of(step)} is damaged: {wrong}")
        self._verified.add(step)
        return self.of(step)

    def newest_valid(self) -> int:
        """The newest step that is not damaged; says which ones are, and leaves them where they are.

        Raises:
          CheckpointError: there is none.
        """
        step, faults = self._judged()
        if step is None:
            raise CheckpointError(_none_valid(faults) if faults else f"{self._directory}: no checkpoint here")
        for damaged, wrong in faults.items():
            say(f"{damaged} is damaged: {wrong}; step {step} is used in its place")
        return step

    def recover(self) -> None:
        """Removes what killed processes left, and sets aside, and says so, what is newer than the newest valid step.

        Raises:
          CheckpointError: there are steps, and none is valid; all are left as they are.
        """
        if not self._directory.is_dir():
            return
        self.remove_leftovers()
        step, faults = self._judged()
        if step is None and faults:
            raise CheckpointError(f"{_none_valid(faults)}: put a copy there, or give a new --workdir")
        # A process that was killed may have published a step and not come to this.
        if not faults:
            self._delete_old()
        for damaged, wrong in faults.items():
            aside = self._aside(damaged)
            damaged.rename(aside)
            say(f"{damaged} is damaged: {wrong}; set aside as {aside.name}, step {step} is used in its place")

    def remove_leftovers(self) -> None:
        """Removes what killed processes left half written or half deleted."""
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            if _LEFTOVER.fullmatch(path.name):
                remove(path)

    def _judged(self) -> tuple[int | None, dict[Path, str]]:
        """The newest valid step, if there is one, and what is wrong with each folder of a newer one."""
        faults: dict[Path, str] = {}
        for step in reversed(self.steps):
            if not (wrong := self._fault(step)):
                self._verified.add(step)
                return step, faults
            faults[self.of(step)] = wrong
        return None, faults

    def _fault(self, step: int) -> str:
        """What is wrong with the files of a step, in a clause; "" if nothing is."""
        folder = self.of(step)
        listed = (folder / manifest.NAME).exists()
        if listed and (wrong := manifest.fault(folder)):
            return wrong
        try:
            text = read_json(folder)
        except CheckpointError as error:
            return str(error).removeprefix(f"{folder}/")
        # Older formats had none; what a newer one has instead is for its own version to judge.
        if not listed and text["format"] >= MANIFEST_SINCE:
            return f"{manifest.NAME} is missing"
        # A copy under another number would be gone on from at one step and saved at another.
        return "" if text.get("step", step) == step else "meta/metadata is that of another step"

    def _aside(self, folder: Path) -> Path:
        names = (f"{folder.name}.damaged{f'-{number}' if number else ''}" for number in range(1_000_000))
        return next(path for path in map(self._directory.joinpath, names) if not os.path.lexists(path))

    def delete(self, step: int) -> None:
        """Deletes a step."""
        deleted = self._directory / f"{step}.deleted"
        # Renamed first, so that a kill leaves no half step in the list.
        self.of(step).rename(deleted)
        remove(deleted)

    def _delete_old(self) -> None:
        for old in self.steps[: -self._keep]:
            if not (self._directory / f"{old}.keep").exists():
                self.delete(old)


def _none_valid(faults: Mapping[Path, str]) -> str:
    told = [f"{folder} is damaged: {wrong}" for folder, wrong in faults.items()]
    return f"{'; '.join(told)}; no other checkpoint is there"
