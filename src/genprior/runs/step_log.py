"""The record of a run: its steps and its events as lines of strict JSON, and the steps in TensorBoard."""

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import torch
from pydantic import TypeAdapter

from genprior.errors import GenpriorError
from genprior.runs.files import write_text
from genprior.runs.run_folder import Run
from genprior.settings import Model
from genprior.training.loop import Step

T = TypeVar("T")
Row = dict[str, Any]
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
    names = list(steps[0].record)
    values = torch.stack(
        [torch.stack([step.record[name].double() for name in names]) for step in steps]
    ).tolist()  # waits for the device, so only now the clock is right
    rate = len(steps) * images_per_step / (time.perf_counter() - began)
    return [
        {
            "step": step.index,
            "images_seen": step.images_seen,
            "images_per_second": round(rate, 1),
            **dict(zip(names, row, strict=True)),
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


def to_json(row: Row) -> str:
    """Returns a line of strict JSON: a number that is not finite becomes null, and `not_finite` names it.

    Example:
        >>> to_json({"step": 1, "loss": float("nan")})
        '{"step": 1, "loss": null, "not_finite": {"loss": "nan"}}'
    """
    flags = {name: str(value) for name, value in row.items() if not math.isfinite(value)}
    clean = {name: None if name in flags else value for name, value in row.items()}
    return json.dumps(clean | ({"not_finite": flags} if flags else {}), allow_nan=False)


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


Event = Alarm | Setback
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def append_event(run: Run, event: Event) -> None:
    """Adds a line to the run's events."""
    with run.events.open("a") as file:
        file.write(event.model_dump_json() + "\n")


def replace_alarms(run: Run, alarms: Sequence[Alarm]) -> None:
    """Puts alarms in the place of those that stand in the run's events, in the order of their steps."""
    setbacks = [event for event in read_events(run) if isinstance(event, Setback)]
    events: list[Event] = sorted([*setbacks, *alarms], key=_step)
    if events or run.events.exists():
        write_text(run.events, "".join(event.model_dump_json() + "\n" for event in events))


def _step(event: Event) -> int:
    return event.step


def read_events(run: Run) -> list[Event]:
    """Returns the run's events, oldest first; lines that cannot be read are left out as in `read_rows`."""
    return read_lines(run.events, _EVENT.validate_json)


def read_rows(path: Path) -> list[Row]:
    """Returns the rows of a log, with null as it stands.

    A last line that was cut off by a kill is left out; so is any other line that cannot be read, with a warning.
    """
    return read_lines(path, _row)


def read_lines(path: Path, read: Callable[[str], T]) -> list[T]:
    """Returns what is read of each line, as `read_rows` does; `read` raises `ValueError` for one that is not whole."""
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").splitlines()
    found: list[T] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(read(line))
        except ValueError:
            if number < len(lines) or _is_json(line):
                warnings.warn(f"line {number} of {path} cannot be read and is left out", stacklevel=3)
    return found


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _row(line: str) -> Row:
    """A step: its two counters, and otherwise numbers or null."""
    row = json.loads(line)
    is_whole = isinstance(row, dict) and all(isinstance(row.get(name), int) for name in ("step", "images_seen"))
    if not is_whole or not all(v is None or isinstance(v, int | float) for k, v in row.items() if k != "not_finite"):
        raise ValueError("not a step")
    whole: Row = row
    return whole


class StepLog:
    """Appends rows to a run's log, and to TensorBoard if its config says so; rows after `last_step` are dropped.

    Arguments:
        run: The run.
        last_step: Step of the checkpoint from which training continues.

    Raises:
        GenpriorError: The config wants TensorBoard, and it is not installed.
    """

    def __init__(self, run: Run, last_step: int) -> None:
        kept = [row for row in read_rows(run.steps) if row["step"] <= last_step]
        self._writer = None
        if run.config.tensorboard:
            # TensorBoard hides what a killed run wrote after the checkpoint: it is written again.
            again = kept[-1]["images_seen"] + 1 if kept else 0
            self._writer = tensorboard_writer()(str(run.path / "tensorboard"), purge_step=again)
        write_text(run.steps, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = run.steps.open("a")

    def append(self, rows: Sequence[Row]) -> None:
        """Writes rows and hands them to the operating system, so that a kill does not lose them."""
        self._file.write("".join(to_json(row) + "\n" for row in rows))
        self._file.flush()
        if self._writer is not None:
            for row in rows:
                for name in row.keys() - {"step", "images_seen"}:
                    self._writer.add_scalar(name, row[name], row["images_seen"])

    def sync(self) -> None:
        """Waits until the disk has all rows: a checkpoint must not outlive the rows before it."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
