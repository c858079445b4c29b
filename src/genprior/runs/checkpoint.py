"""Checkpoints: tensors as safetensors, counters as JSON, each with a checksum, renamed into place when whole."""

import hashlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genprior.errors import GenpriorError

TENSORS, COUNTERS = "tensors.safetensors", "counters.json"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A run at an instant.

    Attributes:
        step: Updates so far.
        images_seen: Images so far.
        seconds: Time spent training so far.
        tensors: What the algorithm's `state_dict` returned.
    """

    step: int
    images_seen: int
    seconds: float
    tensors: dict[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint and removes all but the last two; returns its folder.

    Raises:
        OSError: It could not be written; the checkpoints that were there are still whole.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.tmp"):  # of a run that was killed while saving
        shutil.rmtree(left_over)
    final = checkpoint_path(folder, checkpoint.step)
    temporary = final.with_suffix(".tmp")
    temporary.mkdir()
    tensors = {name: value.contiguous() for name, value in checkpoint.tensors.items()}
    save_file(tensors, temporary / TENSORS)
    counters: dict[str, Any] = {
        "step": checkpoint.step,
        "images_seen": checkpoint.images_seen,
        "seconds": checkpoint.seconds,
        "sha256": _sha256((temporary / TENSORS).read_bytes()),
    }
    counters["own_sha256"] = _sha256(json.dumps(counters).encode())
    (temporary / COUNTERS).write_text(json.dumps(counters, indent=2) + "\n")
    for name in (TENSORS, COUNTERS):
        _sync(temporary / name)
    _sync(temporary)
    aside = final.with_suffix(".old")
    if final.exists():  # saved twice at the same step; until the new one stands, the old one is loaded
        final.rename(aside)
    temporary.rename(final)
    _sync(folder)
    if aside.exists():
        shutil.rmtree(aside)
    ahead = [path for path in _newest_first(folder) if path.name > final.name]  # refused ones, of a lost future
    for unwanted in [*ahead, *_newest_first(folder)[len(ahead) + KEPT :]]:
        shutil.rmtree(unwanted)
    return final


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of a step lies."""
    return folder / f"step-{step:09d}"


def load_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Returns the newest whole checkpoint, or None where none was ever saved, and a line for each refused one.

    Raises:
        GenpriorError: There are checkpoints, and none of them is whole.
    """
    refused: list[str] = []
    for path in _newest_first(folder):
        try:
            return _read(path), refused
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            refused.append(f"checkpoint {path} is refused: {error}")
    if refused:
        raise GenpriorError(
            "; ".join(refused) + "; no whole checkpoint is left: train the run anew with --overwrite", argument="run"
        )
    return None, refused


def load_state(folder: Path) -> dict[str, Tensor]:
    """Returns the tensors of the newest whole checkpoint, with a warning for each one that is refused.

    Raises:
        GenpriorError: There is none.
    """
    checkpoint, refused = load_checkpoint(folder)
    for line in refused:
        warnings.warn(f"{line}; the one before it is used", stacklevel=4)
    if checkpoint is None:
        raise GenpriorError(f"{folder.parent} has no checkpoint; train it first", argument="run")
    return checkpoint.tensors


def _read(path: Path) -> Checkpoint:
    from safetensors.torch import load

    counters = json.loads((path / COUNTERS).read_text())
    own = counters.pop("own_sha256")
    if own != _sha256(json.dumps(counters).encode()):
        raise ValueError(f"{COUNTERS} was altered")
    data = (path / TENSORS).read_bytes()
    if _sha256(data) != counters["sha256"]:
        raise ValueError(f"{TENSORS} is truncated or was altered")
    return Checkpoint(counters["step"], counters["images_seen"], counters["seconds"], load(data))


def _newest_first(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("step-*") if p.suffix != ".tmp"), reverse=True)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(path: Path) -> None:
    """Waits until the disk has it: a rename may otherwise survive a power cut without its contents."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
