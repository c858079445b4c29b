"""A run of the benchmark of mode counts: trained, sampled and measured in a folder of its own."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from genprior.errors import GenpriorError
from genprior.evaluation.birthday import birthday
from genprior.families import GANConfig
from genprior.judges.mode_finder import Finder
from genprior.modes.mode_tables import CountedModes, MeasuredRun
from genprior.progress import Stage, Task, result_of, within
from genprior.runs.checkpoint import load_counters
from genprior.runs.execute import execute
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import CONFIG, Run, open_run
from genprior.runs.trained_prior import load_prior
from genprior.stored_files import read_model, signed
from genprior.writing import write_text

MODES = "modes.json"
# Of a config: what may differ between a folder and what is wanted, for it says how a run is made, not what is made.
FREE = ("data_root", "threads", "device", "checkpoint_seconds")


@dataclass(frozen=True)
class BenchmarkRun:
    """A run to be trained and measured.

    Attributes:
        data, row, seed: What it is called in the benchmark.
        path: Its folder.
        config: How it is trained; its budget is a number of images.
        samples: How many are drawn of its averaged generator.
    """

    data: str
    row: str
    seed: int
    path: Path
    config: GANConfig
    samples: int

    @property
    def name(self) -> str:
        """Data set, row and seed."""
        return f"{self.data}/{self.row}/{self.seed}"

    def measured(self) -> MeasuredRun | None:
        """Returns what was found of it, or None while that is not known or not readable."""
        try:
            return read_model(self.path / MODES, MeasuredRun, "out")
        except GenpriorError:
            return None

    def check(self) -> None:
        """Raises `GenpriorError` where the folder holds a run of other settings, or something else."""
        if not (self.path / CONFIG).is_file():
            return
        try:
            then, now = open_run(self.path).config.model_dump(), self.config.model_dump()
        except GenpriorError as error:
            raise GenpriorError(error.message, argument="out") from error
        changed = [key for key in now if key not in FREE and now[key] not in (then.get(key), "auto")]
        found = self.measured()
        changed += ["samples"] if found is not None and found.samples != self.samples else []
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
            self.check()
        except GenpriorError:
            return False
        return True


def measure(item: tuple[BenchmarkRun, Finder]) -> str:
    """Measures a run with what counts the modes of its data, as a worker does it; returns the run's name."""
    run, finder = item
    torch.set_num_threads(run.config.threads or 1)
    result_of(measure_run(run, finder))
    return run.name


def measure_run(run: BenchmarkRun, finder: Finder) -> Task[None]:
    """Trains a run from its last checkpoint to its end, measures its samples and writes `modes.json`, the last file.

    Training that ends in values that are not finite is a finding, and written like others.

    Arguments:
        run: Not measured.
        finder: Of its data.

    Raises:
        GenpriorError: Another process trains it, or its data or checkpoints are not what they were.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = yield from _train(run)
        yield Stage(0.96, f"{run.name}: samples")
        modes = None if trained.failed else _count(run, finder)
    checkpoint, _ = load_counters(open_run(run.path).checkpoints)
    assert checkpoint is not None, "one is saved before the first step"
    found = MeasuredRun(
        data=run.data,
        row=run.row,
        seed=run.seed,
        samples=run.samples,
        images_seen=checkpoint.images_seen,
        training_seconds=checkpoint.seconds,
        images_per_core_second=trained.images_per_core_second,
        failed="samples are not finite" if modes is None and trained.failed is None else trained.failed,
        modes=modes,
        notes=tuple(dict.fromkeys(str(each.message) for each in caught)),
    )
    write_text(run.path / MODES, signed(found.as_json()))


@dataclass(frozen=True)
class TrainedStretch:
    """How a stretch of training went.

    Attributes:
        failed: What stopped it before its end; None: nothing.
        images_per_core_second: For each second of a core, which others may share; None where nothing was left to do.
    """

    failed: str | None = None
    images_per_core_second: float | None = None


def _train(run: BenchmarkRun) -> Task[TrainedStretch]:
    prepared = _prepared(run)
    if prepared is None:
        return TrainedStretch()
    before, began = _images_seen(prepared.run), time.process_time()
    training = execute(prepared.run, prepared.learner, prepared.data)
    ended = yield from within(training, 0.0, 0.95, f"{run.name}: ")
    seen, seconds = ended.row["images_seen"], time.process_time() - began
    failed = f"not finite at {seen:,} images" if ended.outcome == "non-finite" else None
    return TrainedStretch(failed, (seen - before) / seconds if seen > before else None)


def _prepared(run: BenchmarkRun) -> PreparedRun | None:
    """The run, ready to be trained on from where it stands; None where it has ended."""
    if not (run.path / CONFIG).is_file():
        return new_run(run.path, run.config)
    return resumed_run(run.path, {}) if _images_seen(open_run(run.path)) < (run.config.images_seen or 0) else None


def _images_seen(run: Run) -> int:
    """At its last checkpoint."""
    checkpoint, _ = load_counters(run.checkpoints)
    return 0 if checkpoint is None else checkpoint.images_seen


def _count(run: BenchmarkRun, finder: Finder) -> CountedModes | None:
    """What was found of samples; None where they are not finite."""
    x = load_prior(run.path).sample(run.samples, run.seed)
    if not bool(torch.isfinite(x).all()):
        return None
    found = finder(x)
    support = birthday(finder.features(x[: len(finder.real)]), finder.real)
    values = {**vars(found), "counts": found.counts.tolist(), "support": support}
    return CountedModes.model_validate(values, from_attributes=True)
