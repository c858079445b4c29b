"""The record of a run: its steps and its events as lines of strict JSON, and the steps in TensorBoard."""

import hashlib
import json
import math
import os
import time
import warnings
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import numpy as np
import torch
from pydantic import TypeAdapter

from genprior.errors import GenpriorError
from genprior.runs.run_folder import LogSum, Run
from genprior.settings import Model
from genprior.stored_files import CHECKSUM, loads, loads_numbers
from genprior.training.loop import Step
from genprior.writing import appended, errors_of, remove_leftovers, write_text, written, written_text

T = TypeVar("T")
Row = dict[str, Any]
COUNTERS, FLAGS = ("step", "images_seen"), "not_finite"
_ABSENT = math.inf  # no number of a row: those are finite
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


class Alarm(Model):
    """A sign of ill training that began or ended.

    Attributes:
        event: Which of the two.
        step, images_seen: When it was seen.
        verdict: Name of the sign.
        message: What was seen, in a line.
    """

    event: Literal["alarm", "recovered"]
    step: int
    images_seen: int = 0
    verdict: str
    message: str


class Setback(Model):
    """A step with values that were not finite.

    Attributes:
        event: What was done: training went back to the last checkpoint, or stopped.
        step, images_seen: When it happened.
        not_finite: Names of the values.
        back_to: Step of the checkpoint.
        rate: Share of the learning rates that was left; None where training stopped.
    """

    event: Literal["rolled back", "stopped"]
    step: int
    images_seen: int = 0
    not_finite: tuple[str, ...]
    back_to: int
    rate: float | None = None


class Damage(Model):
    """What was wrong with the record when training was resumed, said for ever: the record is mended, not restored.

    Attributes:
        event: Which it is.
        step: Of the checkpoint from which training went on.
        message: What was wrong.
    """

    event: Literal["damaged"]
    step: int
    message: str


Event = Alarm | Setback | Damage
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def append_event(run: Run, event: Event) -> None:
    """Adds an event to the run's."""
    write_lines(run.events, [*read_events(run), event])


def replace_alarms(run: Run, alarms: Sequence[Alarm]) -> None:
    """Puts alarms in the place of those that stand in the run's events, in the order of their steps."""
    others = [event for event in read_events(run) if not isinstance(event, Alarm)]
    events: list[Event] = sorted([*others, *alarms], key=_step)
    write_lines(run.events, events)


def write_lines(path: Path, items: Sequence[Model]) -> None:
    """Writes a line for each, and a last one with their checksum."""
    lines = "".join(item.model_dump_json() + "\n" for item in items)
    write_text(path, f"{lines}{_last_line(lines)}\n")


def _last_line(lines: str) -> str:
    return json.dumps({CHECKSUM: hashlib.sha256(lines.encode()).hexdigest()})


def are_whole(path: Path) -> bool:
    """Returns whether the lines of a file are those that `write_lines` wrote."""
    lines, end, last = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").rpartition("\n")
    return last == _last_line(lines + end)


def _step(event: Event) -> int:
    return event.step


def record_fault(run: Run, rows: Iterable[Row], last_step: int, log: LogSum | None) -> str | None:
    """Returns why a run's record is not the one that its checkpoint stands for, or None where it is.

    Arguments:
        run: The run.
        rows: Its record as it is read.
        last_step: Step of the checkpoint.
        log: What the record was then; None: not known, as in runs of older versions.
    """
    steps = {row["step"] for row in rows}
    last = max(steps, default=0)
    if last < last_step:
        return f"{run.steps} ends at step {last:,}, and the checkpoint stands at step {last_step:,}"
    missing = last_step - sum(0 < step <= last_step for step in steps)
    if missing:
        return f"{run.steps} lacks {missing:,} of the {last_step:,} steps up to the checkpoint"
    if log is not None and _digest(run.steps, log.bytes).hexdigest() != log.sha256:
        return f"{run.steps} was altered since the checkpoint was saved"
    if log is not None and not (run.events.is_file() and are_whole(run.events)):
        return f"{run.events} is gone, or was altered"
    return told_damage(run)  # the rows before it are still what they were then


def told_damage(run: Run) -> str | None:
    """Returns what was wrong with a run's record when training was resumed first, or None."""
    found = next((event for event in read_events(run) if isinstance(event, Damage)), None)
    return None if found is None else f"the record was damaged already when training was resumed: {found.message}"


def _digest(path: Path, count: int) -> "hashlib._Hash":
    """The SHA-256 of the first bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while count > 0 and (block := file.read(min(count, 2**20))):
            digest.update(block)
            count -= len(block)
    return digest


def read_events(run: Run) -> list[Event]:
    """Returns the run's events, oldest first; lines that cannot be read are left out as in `read_rows`."""
    return read_lines(run.events, _EVENT.validate_python)


def read_lines(path: Path, read: Callable[[object], T]) -> list[T]:
    """Returns what is read of the values of each line that `write_lines` wrote; others as `read_rows` does.

    Arguments:
        path: Of the file; it need not exist.
        read: Raises `ValueError` for values that are not those of such a line.
    """

    def parsed(line: str) -> list[T]:
        values = loads(line)
        return [] if isinstance(values, dict) and values.keys() == {CHECKSUM} else [read(values)]

    return [item for items in _each(path, parsed) for item in items]


class StepRows(Sequence[Row]):
    """Rows of a log, held as columns of numbers: a tenth of the memory that a table for each row takes.

    Arguments:
        rows: As `each_row` yields them; their numbers are finite, or None.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._columns: dict[str, array[Any]] = {}
        self._flags: dict[int, dict[str, str]] = {}
        self._count = 0
        for row in rows:
            self._append(row)

    def _append(self, row: Row) -> None:
        for name, value in row.items():
            if name == FLAGS:
                self._flags[self._count] = value
                continue
            if name not in self._columns:
                is_counter = name in COUNTERS
                self._columns[name] = array("q") if is_counter else array("d", [_ABSENT]) * self._count
            self._columns[name].append(math.nan if value is None else value)
        self._count += 1
        for column in self._columns.values():
            if len(column) < self._count:
                column.append(_ABSENT)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...

    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        if isinstance(at, slice):
            return [self._row(i) for i in range(*at.indices(self._count))]
        return self._row(range(self._count)[at])

    def _row(self, i: int) -> Row:
        found = ((name, column[i]) for name, column in self._columns.items())
        row: Row = {name: None if math.isnan(value) else value for name, value in found if value != _ABSENT}
        return row | ({FLAGS: self._flags[i]} if i in self._flags else {})

    @property
    def names(self) -> set[str]:
        """Of all numbers that any row has."""
        return set(self._columns)

    def column(self, name: str) -> np.ndarray:
        """Returns the numbers of a name (N,), not-a-number where a row has none."""
        values = np.array(self._columns.get(name, array("d", [math.nan]) * self._count), dtype=float)
        values[values == _ABSENT] = math.nan
        return values


def read_rows(path: Path) -> StepRows:
    """Returns the rows of a log, with null as it stands.

    A last line that was cut off by a kill is left out; so is any other line that cannot be read, with a warning.
    """
    return StepRows(_each(path, _row))


def each_row(path: Path) -> Iterator[Row]:
    """Yields the same, one after another: a long log is never held in memory."""
    return _each(path, _row)


def _each(path: Path, read: Callable[[str], T]) -> Iterator[T]:
    """What is read of each line; `read` raises `ValueError` for a line that is not whole."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        line, number = file.readline(), 1
        while line:
            after = file.readline()
            try:
                found = read(line)
            except ValueError:
                if after or _is_json(line):
                    warnings.warn(f"line {number} of {path} cannot be read and is left out", stacklevel=3)
            else:
                yield found
            line, number = after, number + 1


def _is_json(line: str) -> bool:
    try:
        loads(line)
    except ValueError:
        return False
    return True


def _row(line: str) -> Row:
    """A step: its two counters, and otherwise numbers or null."""
    row = loads_numbers(line, FLAGS)
    if not all(type(row.get(name)) is int for name in COUNTERS):
        raise ValueError("not a step")
    return row


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
