"""What a report shows of a run, read from its folder; a file that is not there becomes a sentence that says so."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from genprior.errors import GenpriorError
from genprior.plotting.sample_figures import PLANE
from genprior.report.run_samples import samples_by_age, samples_of
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.experiment import read_result
from genprior.runs.run_folder import Environment, Run, open_run, read_environment
from genprior.runs.step_log import Event, Row, read_events, read_rows
from genprior.scoring.scoring_results import DIAGNOSIS, METRICS, DiagnosisResult, Evaluation

MADE_BY = {DIAGNOSIS: "genprior diagnose", METRICS: "genprior evaluate"}


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
        ages: Images of the same latents (N, C, H, W) by images seen, of the weights as they were; empty: none kept.
        diagnosis, metrics: Results in the folder; None where there are none.
    """

    run: Run
    name: str
    environment: Environment
    step: int
    images_seen: int
    seconds: float
    rows: list[Row]
    events: list[Event]
    samples: Tensor
    ages: dict[int, Tensor] = field(default_factory=dict)
    diagnosis: DiagnosisResult | None = None
    metrics: Evaluation | None = None

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
    environment, (checkpoint, _) = read_environment(run), load_checkpoint(run.checkpoints)
    if checkpoint is None:
        raise GenpriorError(f"{path} has no checkpoint; train it first", argument="run")
    return Reported(
        run,
        name,
        environment,
        checkpoint.step,
        checkpoint.images_seen,
        checkpoint.seconds,
        read_rows(run.steps),
        read_events(run),
        samples_of(run, checkpoint.tensors, environment.image_shape),
        samples_by_age(run, environment.image_shape, checkpoint.images_seen),
        read_result(run.path / DIAGNOSIS, DiagnosisResult),
        read_result(run.path / METRICS, Evaluation),
    )


def names_of(paths: Sequence[Path]) -> list[str]:
    """Returns a short name for each run: the folder's, or the whole path where two would be called the same.

    Example:
        >>> names_of([Path("a/one"), Path("a/two"), Path("b/two")])
        ['one', 'a/two', 'b/two']
    """
    short = [path.resolve().name for path in paths]
    return [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]
