"""The steps of a run as lines of strict JSON, and the same in TensorBoard."""

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from genprior.errors import GenpriorError
from genprior.runs.run_folder import Run, write_text
from genprior.training.loop import Step

Row = dict[str, Any]
ALARMS = ("alarm", "recovered")  # events that tell of a sign's beginning and its end


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


def append_event(run: Run, event: dict[str, Any]) -> None:
    """Adds a line to the run's events."""
    with run.events.open("a") as file:
        file.write(json.dumps(event, allow_nan=False) + "\n")


def replace_alarms(run: Run, alarms: Sequence[dict[str, Any]]) -> None:
    """Puts alarms in the place of those that stand in the run's events, in the order of their steps."""
    others = [event for event in read_events(run) if event["event"] not in ALARMS]
    events = sorted([*others, *alarms], key=lambda event: int(event["step"]))
    if events or run.events.exists():
        write_text(run.events, "".join(json.dumps(event, allow_nan=False) + "\n" for event in events))


def read_events(run: Run) -> list[dict[str, Any]]:
    """Returns the run's events, oldest first; lines that cannot be read are left out as in `read_rows`."""
    return _read_lines(run.events, _is_event)


def _is_event(value: object) -> bool:
    """Whether a line held a setback or an alarm, with all that is told of it."""
    if not isinstance(value, dict) or not isinstance(value.get("step"), int):
        return False
    needed = ("verdict", "message") if value.get("event") in ALARMS else ("not_finite", "back_to")
    return isinstance(value.get("event"), str) and all(name in value for name in needed)


def read_rows(path: Path) -> list[Row]:
    """Returns the rows of a log, with null as it stands.

    A last line that was cut off by a kill is left out; so is any other line that cannot be read, with a warning.
    """
    return _read_lines(path, _is_row)


def _read_lines(path: Path, is_whole: Callable[[object], bool]) -> list[Row]:
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").splitlines()
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            row = None
        if is_whole(row):
            rows.append(row)
        else:
            warnings.warn(f"line {number} of {path} cannot be read and is left out", stacklevel=2)
    return rows


def _is_row(value: object) -> bool:
    """Whether a line held a step: its two counters, and otherwise numbers or null."""
    if not isinstance(value, dict):
        return False
    if not all(isinstance(value.get(name), int) for name in ("step", "images_seen")):
        return False
    return all(v is None or isinstance(v, int | float) for name, v in value.items() if name != "not_finite")


class StepLog:
    """Appends rows to a run's log, and to TensorBoard if its config says so; rows after `last_step` are dropped.

    Arguments:
        run: The run.
        last_step: Step of the checkpoint that training goes on from.

    Raises:
        GenpriorError: TensorBoard is asked for and not installed.
    """

    def __init__(self, run: Run, last_step: int) -> None:
        self._writer = None
        if run.config.tensorboard:
            self._writer = tensorboard_writer()(str(run.path / "tensorboard"))
        kept = [row for row in read_rows(run.steps) if row["step"] <= last_step]
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
