"""Checkpoints: tensors as safetensors, counters as JSON, each with a checksum, renamed into place when whole.

Beside them, what a run keeps of several ages: one file of tensors an age, named after the images seen. Counters are
alone where tensors are not needed: those of a large model take seconds to read and to hash.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from genprior.errors import GenpriorError, NoRightError
from genprior.runs.files import file_sha256
from genprior.runs.run_folder import LogSum, Run
from genprior.settings import Model
from genprior.stored_files import read_model, read_tensors, sum_of
from genprior.training.loop import Learner
from genprior.training.optimisation import joined
from genprior.writing import save_tensors, sync, write_text

TENSORS, COUNTERS = "tensors.safetensors", "counters.json"
KEPT = 2
FIRST_AGE, FACTOR = 1000, 4  # in images; early training changes fastest
T = TypeVar("T")


@dataclass(frozen=True)
class Counters:
    """How far a run was when a checkpoint was saved.

    Attributes:
        step: Updates so far.
        images_seen: Images so far.
        seconds: Time spent training so far.
        threads: CPU threads with which the steps after it are made; None: not recorded.
        log: The record of the steps up to here; None: not known.
    """

    step: int
    images_seen: int
    seconds: float
    threads: int | None = None
    log: LogSum | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Counters):
    """A run at an instant.

    Attributes:
        tensors: What the algorithm's `state_dict` returned.
    """

    tensors: dict[str, Tensor]


class CountersFile(Model):
    """What stands beside the tensors of a checkpoint.

    Attributes:
        step, images_seen, seconds, threads, log: See `Counters`; older checkpoints do not have all of them.
        sha256: Of the file of tensors.
        bytes: Its size; older checkpoints do not have it.
        own_sha256: Of the other values as JSON.
    """

    step: int
    images_seen: int
    seconds: float
    threads: int | None = None
    log: LogSum | None = None
    sha256: str
    bytes: int | None = None
    own_sha256: str = ""

    def checksum(self) -> str:
        """Returns what `own_sha256` must be."""
        values = self.model_dump(exclude={"own_sha256"}, exclude_none=True)
        return _sha256(json.dumps(values).encode())


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint and removes all but the last two; returns its folder.

    Raises:
        OSError: It could not be written; the checkpoints that were there are still whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = checkpoint_path(folder, checkpoint.step)
    temporary = final.with_suffix(".tmp")
    for left_over in folder.glob("*.tmp"):  # of a run that was killed while saving, or removing
        _discard(left_over)
    aside = final.with_suffix(".old")
    try:
        _write(temporary, checkpoint)
        if final.exists():  # saved twice at the same step; until the new one stands, the old one is loaded
            final.rename(aside)
        temporary.rename(final)
    except BaseException:  # what is not whole would keep a full disk full
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for refused in [path for path in _newest_first(folder) if path.name[: len(final.name)] > final.name]:
        _discard(refused)  # of a lost future
    settle(folder, checkpoint.step)
    return final


def settle(folder: Path, step: int) -> None:
    """Ends what `save_checkpoint` began, and a kill or an error may have left: of older ones the last alone stays.

    Arguments:
        folder: Of the checkpoints.
        step: Of the newest one that is whole.

    Raises:
        OSError: The disk does not say that it has the checkpoint; none is removed then.
    """
    final = checkpoint_path(folder, step)
    sync(folder)
    for left_over in [*folder.glob("*.tmp"), *([final.with_suffix(".old")] if final.exists() else [])]:
        if left_over.exists():
            _discard(left_over)
    for unwanted in [path for path in _newest_first(folder) if path.name < final.name][KEPT - 1 :]:
        _discard(unwanted)


def _discard(folder: Path) -> None:
    """Removes a checkpoint that nobody needs, first its name: half of one is never taken for one."""
    gone = folder.with_name(f"{folder.stem}-gone.tmp")
    try:
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        warnings.warn(f"{folder} cannot be removed: {error.strerror}", stacklevel=3)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of a step lies."""
    return folder / f"step-{step:09d}"


def load_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Returns the newest whole checkpoint, or None where none was ever saved, and a line for each refused one.

    Raises:
        GenpriorError: There are checkpoints, and none of them is whole.
    """
    return _newest(folder, _read)


def load_counters(folder: Path) -> tuple[Counters | None, list[str]]:
    """Returns the counters of the newest checkpoint, as `load_checkpoint`, without reading its tensors.

    A file of tensors that is absent or cut off is noticed, one whose contents were altered is not.

    Raises:
        GenpriorError: There are checkpoints, and none of them is whole.
    """
    return _newest(folder, lambda path: Counters(**_values(_read_counters(path))))


def trained_checkpoint(folder: Path) -> Checkpoint:
    """Returns the newest whole checkpoint, with a warning for each one that is refused.

    Raises:
        GenpriorError: There is none.
    """
    checkpoint, refused = load_checkpoint(folder)
    for line in refused:
        warnings.warn(f"{line}; the one before it is used", stacklevel=4)
    if checkpoint is None:
        raise GenpriorError(f"{folder.parent} has no checkpoint; train it first", argument="run")
    return checkpoint


def is_age(images_seen: int, images_per_update: int) -> bool:
    """Whether the last update reached an age that is kept: 0, 1000, 4000, 16,000 ... images.

    Example:
        >>> [seen for seen in range(0, 10_000, 384) if is_age(seen, 384)]
        [0, 1152, 4224]
    """
    age = FIRST_AGE
    while age <= images_seen - images_per_update:
        age *= FACTOR
    return images_seen == 0 or images_seen >= age


def keep_age(run: Run, learner: Learner, images_seen: int) -> None:
    """Writes the learner's snapshot of this age; nothing where its family keeps none.

    Raises:
        OSError: Disk full, for example.
    """
    tensors = {name: value.cpu().contiguous() for name, value in learner.snapshot().items()}
    if tensors:
        run.history.mkdir(exist_ok=True)
        save_tensors(tensors, run.history / f"{images_seen}.safetensors", sum_of(tensors))


def ages(run: Run) -> dict[int, Path]:
    """Returns the files of a run by images seen, youngest first; files of other names are left out."""
    files = {int(path.stem): path for path in run.history.glob("*.safetensors") if path.stem.isdecimal()}
    return dict(sorted(files.items()))


def lost_ages(run: Run, images_per_update: int, images_seen: int) -> list[int]:
    """Returns the ages that should be in the history and are not, by images seen; none where its family keeps none.

    Arguments:
        run: Whose history it is.
        images_per_update: At least 1.
        images_seen: By the last checkpoint; each age up to it was kept before it.
    """
    if not run.config.keeps_ages:
        return []
    due, there, (_, begun) = [0], list(ages(run)), run.config.begins_after
    while (age := FIRST_AGE * FACTOR ** (len(due) - 1)) <= images_seen:
        due.append(age)
    due = [-(-age // images_per_update) * images_per_update for age in due]
    own = [begun, *(age for age in due if age > begun)]
    return [age for age in dict.fromkeys(own) if age not in there]


def load_age(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of an age, as "<part>/<name>"; older runs kept the generator alone.

    Raises:
        GenpriorError: The file is damaged.
    """
    try:
        tensors = read_tensors(path)
    except PermissionError as error:
        raise no_right(path, error) from error
    except (OSError, ValueError) as error:
        raise GenpriorError(f"{path} cannot be read: {error}; delete it", argument="run") from error
    return tensors if any("/" in name for name in tensors) else joined({"generator": tensors})


def age_fault(path: Path) -> str | None:
    """Returns what is wrong with the file of an age, or None."""
    try:
        load_age(path)
    except GenpriorError as error:
        return error.message
    return None


def _newest(folder: Path, read: Callable[[Path], T]) -> tuple[T | None, list[str]]:
    refused: list[str] = []
    for path in _newest_first(folder):
        try:
            return read(path), refused
        except NoRightError:
            raise
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            refused.append(f"checkpoint {path} is refused: {error}")
        except OSError as error:  # it may well be whole
            raise no_right(path, error) from error
    if refused:
        raise GenpriorError(
            "; ".join(refused) + "; no whole checkpoint is left: train the run anew with --overwrite", argument="run"
        )
    return None, refused


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    folder.mkdir()
    tensors = folder / TENSORS
    save_tensors({name: value.contiguous() for name, value in checkpoint.tensors.items()}, tensors)
    counters = CountersFile(
        step=checkpoint.step,
        images_seen=checkpoint.images_seen,
        seconds=checkpoint.seconds,
        threads=checkpoint.threads,
        log=checkpoint.log,
        sha256=file_sha256(tensors),
        bytes=tensors.stat().st_size,
    )
    signed = counters.model_copy(update={"own_sha256": counters.checksum()})
    write_text(folder / COUNTERS, signed.model_dump_json(indent=2) + "\n")


def checkpoint_faults(folder: Path) -> dict[Path, str]:
    """Returns all checkpoints of a folder, newest first, with what is wrong with each; empty where it is whole."""
    found = {}
    for path in _newest_first(folder):
        try:
            _read(path)
            found[path] = ""
        except (OSError, ValueError) as error:
            found[path] = str(error)
    return found


def _read(path: Path) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load

    counters = _read_counters(path)
    data = (path / TENSORS).read_bytes()
    if _sha256(data) != counters.sha256:
        raise ValueError(f"{TENSORS} is truncated or was altered")
    try:
        return Checkpoint(**_values(counters), tensors=load(data))
    except SafetensorError as error:
        raise ValueError(f"{TENSORS}: {error}") from error


def _read_counters(path: Path) -> CountersFile:
    """Raises `OSError` or `ValueError` where a file is absent, or its checksum or size is wrong."""
    counters = read_model(path / COUNTERS, CountersFile, "run")
    if counters.own_sha256 != counters.checksum():
        raise ValueError(f"{COUNTERS} was altered")
    size = (path / TENSORS).stat().st_size
    if counters.bytes not in (None, size):
        raise ValueError(f"{TENSORS} is truncated or was altered")
    return counters


def _values(file: CountersFile) -> dict[str, Any]:
    return {each.name: getattr(file, each.name) for each in fields(Counters)}


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise no_right(folder, error) from error
    return [folder / name for name in sorted(names, reverse=True) if name.startswith("step-") and name[-4:] != ".tmp"]


def no_right(path: Path, error: OSError) -> NoRightError:
    """Returns the error for a file that is there, and that the system does not let this process read."""
    reason = error.strerror or error
    return NoRightError(f"{path} cannot be read: {reason}; give this user the right to read it", argument="run")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
