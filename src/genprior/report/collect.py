"""What a report shows of a run, read from its folder; a file that is not there becomes a sentence that says so.

The picture that training leaves is made of the same samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from genprior.calibration.calibration_results import CALIBRATION, Calibration
from genprior.data import Dataset
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.models.players import latent_size_of
from genprior.plotting.sample_figures import PLANE, write_real_and_generated
from genprior.priors.generator_prior import GeneratorPrior
from genprior.runs.best_weights import ScoredAge, scored_ages, used_checkpoint
from genprior.runs.checkpoint import ages, load_age, load_counters
from genprior.runs.experiment import read_result
from genprior.runs.kept_base import load_base
from genprior.runs.run_events import Event, read_events
from genprior.runs.run_folder import AUTO, Environment, Run, misfit, open_run, read_environment
from genprior.runs.step_log import record_fault
from genprior.runs.step_rows import StepRows, read_rows
from genprior.scoring.auto_results import AutoTraining
from genprior.scoring.scoring_results import DIAGNOSIS, METRICS, DiagnosisResult, Evaluation

IMAGES, POINTS = 64, 1000
SHOWN_AT_EACH_AGE = 10  # latents, the first of those of the samples
MOST_AGES = 10
MADE_BY = {DIAGNOSIS: "genprior diagnose", METRICS: "genprior evaluate"}

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Reported:
    """A run as a report shows it.

    Attributes:
        run: Its folder and config.
        name: Short, and different from those of the other runs in a report.
        environment: In which training began.
        step, images_seen, seconds: Of the checkpoint.
        rows: Of the log.
        events: Setbacks and alarms, oldest first.
        samples: (N, C, H, W), of the averaged weights where there are such.
        sampled_at: Images seen by the weights that made them; None: those of the checkpoint.
        scored: Ages whose weights restored held-out images, youngest first.
        chosen: Why its family was chosen, in words; empty: by the user.
        ages: Images of the same latents (N, C, H, W) by images seen, of the weights as they were; empty: none kept.
        fault: What is wrong with the log, or None.
        diagnosis, metrics, calibration: Results in the folder; None where there are none.
    """

    run: Run
    name: str
    environment: Environment
    step: int
    images_seen: int
    seconds: float
    rows: StepRows
    events: list[Event]
    samples: Tensor
    ages: dict[int, Tensor] = field(default_factory=dict)
    fault: str | None = None
    diagnosis: DiagnosisResult | None = None
    metrics: Evaluation | None = None
    sampled_at: int | None = None
    scored: tuple[ScoredAge, ...] = ()
    chosen: str = ""
    calibration: Calibration | None = None

    @property
    def is_points(self) -> bool:
        """Whether the data are points of the plane instead of images."""
        return self.environment.image_shape == PLANE

    @property
    def has_players(self) -> bool:
        """Whether two players were trained against each other."""
        return self.run.config.adversarial_loss() is not None

    def missing(self, file: str) -> str:
        """Returns why a result is not shown, and the command that makes it."""
        if file == METRICS and self.is_points:
            return "Points have no classes and no scores; images have."
        command, is_there = f"`{MADE_BY[file]} {self.run.path}`", (self.run.path / file).is_file()
        return f"{file} cannot be read; make it again with {command}." if is_there else f"Not made yet; run {command}."


def collect(path: Path, name: str) -> Reported:
    """Returns what is to be shown of a run.

    Arguments:
        path: Of its folder.
        name: Under which it is shown.

    Raises:
        GenpriorError: There is no run, or it is not trained, or its files are damaged.
    """
    run = open_run(path)
    environment, (checkpoint, _) = read_environment(run), load_counters(run.checkpoints)
    if checkpoint is None:
        raise GenpriorError(f"{path} has no checkpoint; train it first", argument="run")
    rows = read_rows(run.steps)
    used, tried = used_checkpoint(run), read_result(run.path / AUTO, AutoTraining)
    return Reported(
        run,
        name,
        environment,
        checkpoint.step,
        checkpoint.images_seen,
        checkpoint.seconds,
        rows,
        read_events(run),
        samples_of(run, used.tensors, environment.image_shape),
        samples_by_age(run, environment.image_shape, checkpoint.images_seen),
        record_fault(run, rows, checkpoint.step, checkpoint.log),
        read_result(run.path / DIAGNOSIS, DiagnosisResult),
        read_result(run.path / METRICS, Evaluation),
        used.images_seen,
        tuple(scored_ages(run)),
        "" if tried is None else tried.reason,
        read_result(run.path / CALIBRATION, Calibration),
    )


def names_of(paths: Sequence[Path]) -> list[str]:
    """Returns a short name for each run: the folder's, or the whole path where two would be called the same.

    Example:
        >>> names_of([Path("a/one"), Path("a/two"), Path("b/two")])
        ['one', 'a/two', 'b/two']
    """
    short = [path.resolve().name for path in paths]
    return [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]


def picture_of(run: Run) -> Path:
    """Returns where samples of a run are drawn when its training has ended."""
    return run.figures / "samples.png"


def write_run_picture(run: Run, data: Dataset) -> Path:
    """Writes samples of a run beside images of its data into its folder, and returns the file."""
    count = 2 * POINTS if data.is_points else IMAGES
    path = picture_of(run)
    generated = samples_of(run, used_checkpoint(run).tensors, data.image_shape, count)
    write_real_and_generated(data.some(count), generated, path)
    return path


def samples_of(run: Run, state: Mapping[str, Tensor], shape: Shape, count: int | None = None) -> Tensor:
    """Returns samples (N, C, H, W) of a checkpoint's tensors, of the averaged weights where there are such.

    Arguments:
        run: The run.
        state: The tensors.
        shape: (C, H, W).
        count: N; None: as many as a report shows.

    Raises:
        GenpriorError: The tensors are not those of the run's config.
    """
    try:
        prior = run.config.prior(state, shape, average=True)
    except (RuntimeError, KeyError) as error:
        raise_lack_of_memory(error)
        raise misfit(run) from error
    return prior.with_base(load_base(run)).sample(count or (POINTS if shape == PLANE else IMAGES)).detach().float()


def samples_by_age(run: Run, shape: Shape, last: int) -> dict[int, Tensor]:
    """Returns images of the same latents (N, C, H, W) by images seen, of the weights as they were; empty: none kept.

    Arguments:
        run: The run.
        shape: (C, H, W).
        last: Images seen by the last checkpoint; `MOST_AGES` up to it are shown, the first and the last included.

    Raises:
        GenpriorError: A file is damaged, or does not fit the run's config.
    """
    files = [(images, path) for images, path in ages(run).items() if images <= last]
    shown = torch.linspace(0, len(files) - 1, min(len(files), MOST_AGES)).round().int().tolist()
    return {images: _at_age(run, path, shape) for images, path in (files[i] for i in shown)}


def _at_age(run: Run, path: Path, shape: Shape) -> Tensor:
    try:
        generator = run.config.generator(load_age(path), shape, average=False)
    except (RuntimeError, KeyError) as error:
        raise_lack_of_memory(error)
        raise misfit(run) from error
    assert generator is not None, "only families with a generator keep a history"
    return GeneratorPrior(generator, latent_size_of(generator), shape).sample(
        POINTS if shape == PLANE else SHOWN_AT_EACH_AGE
    )
