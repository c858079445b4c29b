"""The record of a run as it is written: its steps as lines of strict JSON, and in TensorBoard."""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from genprior.errors import GenpriorError
from genprior.runs.lined_files import are_whole, write_lines
from genprior.runs.run_events import Damage, append_event, told_damage
from genprior.runs.run_folder import LogSum, Run
from genprior.runs.step_rows import COUNTERS, FLAGS, Row, each_row
from genprior.training.loop import Step
from genprior.writing import appended, errors_of, remove_leftovers, written, written_text

SHOWN = {  # in the line that is shown while training, where they are in a row
    "D(x)": "d_real",
    "D(G(z))": "d_fake",
    "error": "image_error",
    "reconstruction": "reconstruction_error",
    "bits/dim": "bits_per_dim",
    "negative bound": "negative_bound",
}


def rows_of(steps: Sequence[Step], images_per_step: int, began: float) -> list[Row]:
    """Returns one flat table a step; all tensors are fetched from the device at once.

    Arguments:
        steps: A block of steps, at least one.
        images_per_step: Images that each of them saw.
        began: `time.perf_counter()` when the block began; its rate stands in each of its rows.
    """
    names = list(dict.fromkeys(name for step in steps for name in step.record))
    first = next(iter(steps[0].record.values()))
    absent = torch.full_like(first, math.nan, dtype=torch.float64)  # of a number that other steps of the block have
    values = torch.stack(
        [torch.stack([step.record.get(name, absent).double() for name in names]) for step in steps]
    ).tolist()  # waits for the device, so only now the clock is right
    rate = len(steps) * images_per_step / (time.perf_counter() - began)
    return [
        {
            "step": step.index,
            "images_seen": step.images_seen,
            "images_per_second": round(rate, 1),
            **{name: value for name, value in zip(names, row, strict=True) if name in step.record},
        }
        for step, row in zip(steps, values, strict=True)
    ]


def in_words(row: Row) -> str:
    """Returns the numbers of a row that are shown while training.

    Example:
        >>> in_words({"step": 1, "images_seen": 1280, "images_per_second": 640.2, "bits_per_dim": 3.21})
        '1,280 images  640/s  bits/dim 3.210'
    """
    parts = [f"{row['images_seen']:,} images"]
    if "images_per_second" in row:
        parts.append(f"{row['images_per_second']:,.0f}/s")
    parts += [f"{name} {row[key]:.3f}" for name, key in SHOWN.items() if key in row]
    return "  ".join(parts)


def non_finite_names(row: Row) -> list[str]:
    """Returns what in a row is not finite: its own values, and the counts of values that were not."""
    return [
        name for name, value in row.items() if not math.isfinite(value) or (name.startswith("non_finite") and value > 0)
    ]


def ill_names(row: Row) -> list[str]:
    """Returns the same of a row as it is read from a log, where a number that is not finite is null."""
    known = {name: value for name, value in row.items() if isinstance(value, int | float)}
    return [*row.get(FLAGS, {}), *non_finite_names(known)]


def to_json(row: Row) -> str:
    """Returns a line of strict JSON: a number that is not finite becomes null, and `not_finite` names it.

    Example:
        >>> to_json({"step": 1, "loss": float("nan")})
        '{"step": 1, "loss": null, "not_finite": {"loss": "nan"}}'
    """
    flags = {name: str(value) for name, value in row.items() if not math.isfinite(value)}
    clean = {name: None if name in flags else value for name, value in row.items()}
    return json.dumps(clean | ({FLAGS: flags} if flags else {}), allow_nan=False)


def record_fault(run: Run, rows: Iterable[Row], last_step: int, log: LogSum | None) -> str | None:
    """Returns why a run's record is not the one that its checkpoint stands for, or None where it is.

    Arguments:
        run: The run.
        rows: Its record as it is read.
        last_step: Step of the checkpoint.
        log: What the record was then; None: not known, as in runs of older versions.
    """
    before, _ = run.config.begins_after
    steps = {row["step"] for row in rows}
    last = max(steps, default=before)
    if last < last_step:
        return f"{run.steps} ends at step {last:,}, and the checkpoint stands at step {last_step:,}"
    missing = last_step - before - sum(before < step <= last_step for step in steps)
    if missing:
        return f"{run.steps} lacks {missing:,} of the {last_step - before:,} steps up to the checkpoint"
    if log is not None and _digest(run.steps, log.bytes).hexdigest() != log.sha256:
        return f"{run.steps} was altered since the checkpoint was saved"
    if log is not None and not (run.events.is_file() and are_whole(run.events)):
        return f"{run.events} is gone, or was altered"
    return told_damage(run)  # the rows before it are still what they were then


def _digest(path: Path, count: int) -> "hashlib._Hash":
    """The SHA-256 of the first bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while count > 0 and (block := file.read(min(count, 2**20))):
            digest.update(block)
            count -= len(block)
    return digest


class StepLog:
    """Appends rows to a run's log, and to TensorBoard if its config says so; rows after `last_step` are dropped.

    Arguments:
        run: The run.
        last_step: Step of the checkpoint from which training continues; then that of the last row.
        log: What the record was when that checkpoint was saved. What is wrong with it now is told by an event.

    Raises:
        GenpriorError: The config wants TensorBoard, and it is not installed.
    """

    def __init__(self, run: Run, last_step: int, log: LogSum | None = None) -> None:
        self.run, self.last_step = run, last_step
        fault = record_fault(run, each_row(run.steps), last_step, log)
        remove_leftovers(run.path, below=True)
        if fault is not None and told_damage(run) is None:  # before anything is mended: a kill forgets nothing
            append_event(run, Damage(event="damaged", step=last_step, message=fault))
        again = 0
        with written_text(run.steps) as file:
            for row in each_row(run.steps):
                if row["step"] <= last_step:
                    file.write(json.dumps(row) + "\n")
                    again = row["images_seen"] + 1
        self._writer = None
        if run.config.tensorboard:
            # TensorBoard hides what a killed run wrote after the checkpoint: it is written again.
            self._writer = tensorboard_writer()(str(run.path / "tensorboard"), purge_step=again)
        self._file = appended(run.steps)
        if not run.events.exists():
            write_lines(run.events, [])
        self._bytes = run.steps.stat().st_size
        self._sha256 = _digest(run.steps, self._bytes)

    def append(self, rows: Sequence[Row]) -> None:
        """Writes rows and hands them to the operating system, so that a kill does not lose them."""
        text = "".join(to_json(row) + "\n" for row in rows)
        with errors_of(self.run.steps):
            self._file.write(text)
            self._file.flush()
        self._bytes, self.last_step = self._bytes + len(text), rows[-1]["step"]  # it is ASCII
        self._sha256.update(text.encode())
        if self._writer is not None:
            for row in rows:
                for name in row.keys() - set(COUNTERS):
                    self._writer.add_scalar(name, row[name], row["images_seen"])

    def mend(self) -> None:
        """Writes the rows anew after an error, which may have left half of one.

        Raises:
            OSError: Disk full, for example.
            ValueError: The rows that were there are no longer what was written.
        """
        with suppress(OSError):  # what its buffer holds is not wanted
            self._file.close()
        with self.run.steps.open("rb") as old, written(self.run.steps) as new:
            left = self._bytes
            while left and (block := old.read(min(left, 2**20))):
                new.write(block)
                left -= len(block)
        if _digest(self.run.steps, self._bytes).digest() != self._sha256.digest():
            raise ValueError(f"{self.run.steps} was altered while it was written")
        self._file = appended(self.run.steps)

    def sum(self) -> LogSum:
        """Returns what tells whether the record, as it is now, is still there later."""
        return LogSum(bytes=self._bytes, sha256=self._sha256.hexdigest())

    def sync(self) -> None:
        """Waits until the disk has all rows: a checkpoint must not outlive the rows before it."""
        with errors_of(self.run.steps):
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError) if error is not None else nullcontext():  # the first error is what is told
            self._file.close()
        if self._writer is not None:
            self._writer.close()


def tensorboard_writer() -> Any:  # noqa: ANN401 - the extra may be absent
    """Returns TensorBoard's writer class; raises `GenpriorError` where the extra is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise GenpriorError(
            "TensorBoard is not installed; pip install 'genprior[tensorboard]'", argument="tensorboard"
        ) from None
    return SummaryWriter
