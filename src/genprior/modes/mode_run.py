"""A cell of a benchmark of mode counts: one run, trained, sampled and measured in a folder of its own."""

import json
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from genprior.errors import GenpriorError
from genprior.evaluation.birthday import birthday
from genprior.families import GANConfig
from genprior.judges.mode_finder import Finder
from genprior.runs.checkpoint import load_counters
from genprior.runs.execute import TrainingOutcome, execute
from genprior.runs.files import write_json
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import CONFIG, Run, open_run
from genprior.runs.trained_prior import load_prior
from genprior.settings import strict

MODES = "modes.json"
# Of a config: what may differ between a cell and what is asked for, for it says how a run is made, not what is made.
FREE = ("data_root", "threads", "device", "checkpoint_seconds")
NEEDED = ("data", "row", "seed", "samples", "images_per_core_second", "failed", "modes", "notes")


@dataclass(frozen=True)
class Cell:
    """A run to be trained and measured.

    Attributes:
        data, row, seed: What it is called in the benchmark.
        path: Its folder.
        config: How it is trained; its budget is a number of images.
        samples: How many are drawn of its averaged generator.
        seconds: About how long it takes.
    """

    data: str
    row: str
    seed: int
    path: Path
    config: GANConfig
    samples: int
    seconds: float

    @property
    def name(self) -> str:
        """Data set, row and seed."""
        return f"{self.data}/{self.row}/{self.seed}"

    def measured(self) -> dict[str, Any] | None:
        """Returns what was found of it, or None while that is not known or not readable."""
        try:
            table: dict[str, Any] = json.loads((self.path / MODES).read_text())
            return table if all(key in table for key in NEEDED) else None
        except (OSError, ValueError, TypeError):
            return None

    def check(self) -> None:
        """Raises `GenpriorError` where the folder holds a run of other settings, or something else."""
        try:
            changed = self._changed()
        except GenpriorError as error:
            raise GenpriorError(error.message, argument="out") from error
        if changed:
            raise GenpriorError(
                f"{self.path} was made with other settings ({', '.join(changed)}); choose another folder, such as "
                f"--out {self.path.parents[2]}-2",
                argument="out",
            )

    @property
    def is_of_today(self) -> bool:
        """Whether the folder holds a run of these settings, or none."""
        try:
            return not self._changed()
        except GenpriorError:
            return False

    def _changed(self) -> list[str]:
        """Settings in which a run in the folder differs."""
        if not (self.path / CONFIG).is_file():
            return []
        then, now = open_run(self.path).config.model_dump(), self.config.model_dump()
        changed = [key for key in now if key not in FREE and now[key] not in (then.get(key), "auto")]
        found = self.measured()
        return [*changed, *(["samples"] if found is not None and found["samples"] != self.samples else [])]


@dataclass(frozen=True)
class Advance:
    """How far a cell is.

    Attributes:
        fraction: Share that is done, in [0, 1].
        what: Its name and what is done.
    """

    fraction: float
    what: str


def measure_cell(cell: Cell, finder: Finder, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Advance]:
    """Trains a cell from its last checkpoint to its end, measures its samples and writes `modes.json`, the last file.

    Training that ends in values that are not finite is a finding, and written like others.

    Arguments:
        cell: Not measured.
        finder: Of its data.
        should_stop: Asked after each step; True ends it with a checkpoint.

    Raises:
        GenpriorError: Another process trains it, or its data or checkpoints are not what they were.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = yield from _train(cell, should_stop)
        if should_stop():
            return
        yield Advance(0.96, f"{cell.name}: samples")
        found = None if trained.failed else _count(cell, finder)
    failed = "samples are not finite" if found is None and trained.failed is None else trained.failed
    notes = list(dict.fromkeys(str(each.message) for each in caught))
    told = {"images_per_core_second": trained.images_per_core_second, "failed": failed, "modes": found, "notes": notes}
    write_json(cell.path / MODES, strict({**_facts(cell), **told}))
    yield Advance(1.0, cell.name)


@dataclass(frozen=True)
class Trained:
    """How a stretch of training went.

    Attributes:
        failed: What stopped it before its end; None: nothing.
        images_per_core_second: For each second of a core, which others may share; None where nothing was left to do.
    """

    failed: str | None = None
    images_per_core_second: float | None = None


def _train(cell: Cell, should_stop: Callable[[], bool]) -> Generator[Advance, None, Trained]:
    prepared = _prepared(cell)
    if prepared is None:
        return Trained()
    before, began = _images_seen(prepared.run), time.process_time()
    task = execute(prepared.run, prepared.learner, prepared.data, should_stop)
    while True:
        try:
            stage = next(task)
        except StopIteration as end:
            ended: TrainingOutcome = end.value
            break
        yield Advance(0.95 * stage.fraction, f"{cell.name}: {stage.what}")
    seen, seconds = ended.row["images_seen"], time.process_time() - began
    failed = f"not finite at {seen:,} images" if ended.outcome == "non-finite" else None
    return Trained(failed, (seen - before) / seconds if seen > before else None)


def _prepared(cell: Cell) -> PreparedRun | None:
    """The run, ready to go on where it stands; None where it has ended."""
    if not (cell.path / CONFIG).is_file():
        for torn in cell.path.glob(f"{CONFIG}.tmp"):  # killed while the run was made
            torn.unlink()
        return new_run(cell.path, cell.config)
    checkpoint, _ = load_counters(open_run(cell.path).checkpoints)
    assert cell.config.images_seen is not None
    if checkpoint is not None and checkpoint.images_seen >= cell.config.images_seen:
        return None
    return resumed_run(cell.path, {})


def _count(cell: Cell, finder: Finder) -> dict[str, Any] | None:
    """What was found of samples as it is saved; None where they are not finite."""
    x = load_prior(cell.path).sample(cell.samples, cell.seed)
    if not bool(torch.isfinite(x).all()):
        return None
    found = finder(x)
    support = birthday(finder.features(x[: len(finder.real)]), finder.real)
    return {**asdict(found), "counts": found.counts.tolist(), "support": asdict(support)}


def _images_seen(run: Run) -> int:
    """At its last checkpoint."""
    checkpoint, _ = load_counters(run.checkpoints)
    return 0 if checkpoint is None else checkpoint.images_seen


def _facts(cell: Cell) -> dict[str, Any]:
    run = open_run(cell.path)
    checkpoint, _ = load_counters(run.checkpoints)
    assert checkpoint is not None, "one is saved before the first step"
    return {
        "data": cell.data,
        "row": cell.row,
        "seed": cell.seed,
        "samples": cell.samples,
        "images_seen": checkpoint.images_seen,
        "training_seconds": checkpoint.seconds,
    }
