"""What a report shows, gathered from a run's folder; what is not there is told in a sentence."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.generator_prior import GeneratorPrior
from genprior.runs.checkpoint import Checkpoint, ages, load_age, load_checkpoint
from genprior.runs.experiment import read_result
from genprior.runs.run_folder import Environment, Run, misfit, open_run, read_environment
from genprior.runs.step_log import Event, Row, read_events, read_rows
from genprior.scoring.experiments import METRICS, Evaluation

SAMPLES, POINTS = 64, 1000
SHOWN_AT_EACH_AGE = 10  # latents, the first of those of the samples
MOST_AGES = 10
DIAGNOSIS = "diagnosis.json"
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
        diagnosis, metrics: What the commands wrote; empty where they did not run.
        missing: A sentence for each file that is not there or not readable, by its name.
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
    diagnosis: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def is_points(self) -> bool:
        """Whether the data are points of the plane instead of images."""
        return self.environment.image_shape == (2, 1, 1)


def collect(path: Path, name: str) -> Reported:
    """Returns what is to be shown of a run.

    Arguments:
        path: Of its folder.
        name: Under which it is shown.

    Raises:
        GenpriorError: There is no run, or it is not trained, or its files are damaged.
    """
    run = open_run(path)
    environment, checkpoint = read_environment(run), _checkpoint(run)
    diagnosis, metrics = (_table(run, file) for file in MADE_BY)
    return Reported(
        run,
        name,
        environment,
        checkpoint.step,
        checkpoint.images_seen,
        checkpoint.seconds,
        read_rows(run.steps),
        read_events(run),
        _samples(run, checkpoint.tensors, environment.image_shape),
        _ages(run, environment.image_shape, checkpoint.images_seen),
        diagnosis if isinstance(diagnosis, dict) else {},
        metrics if isinstance(metrics, dict) else {},
        {file: each for file, each in zip(MADE_BY, (diagnosis, metrics), strict=True) if isinstance(each, str)},
    )


def names_of(paths: Sequence[Path]) -> list[str]:
    """Returns a short name for each run: the folder's, or the whole path where two would be called the same.

    Example:
        >>> names_of([Path("a/one"), Path("a/two"), Path("b/two")])
        ['one', 'a/two', 'b/two']
    """
    short = [path.resolve().name for path in paths]
    return [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]


def _checkpoint(run: Run) -> Checkpoint:
    checkpoint, _ = load_checkpoint(run.checkpoints)
    if checkpoint is None:
        raise GenpriorError(f"{run.path} has no checkpoint; train it first", argument="run")
    return checkpoint


def _table(run: Run, file: str) -> dict[str, Any] | str:
    """What a command wrote, or the sentence that says how to make it."""
    path, command = run.path / file, f"{MADE_BY[file]} {run.path}"
    if not path.is_file():
        return f"Not made yet; run `{command}`."
    try:
        scores = read_result(path, Evaluation) if file == METRICS else None
        table = json.loads(path.read_text()) if file != METRICS else scores and scores.model_dump(mode="json")
    except (OSError, ValueError):
        table = None
    return table if isinstance(table, dict) else f"{file} cannot be read; make it anew with `{command}`."


def _samples(run: Run, state: Mapping[str, Tensor], shape: tuple[int, int, int]) -> Tensor:
    try:
        prior = run.config.prior(state, shape, average=True)
    except (RuntimeError, KeyError) as error:
        raise misfit(run) from error
    return prior.sample(POINTS if shape == (2, 1, 1) else SAMPLES).detach().float()


def _ages(run: Run, shape: tuple[int, int, int], last: int) -> dict[int, Tensor]:
    """The images of the same latents at each age; at most `MOST_AGES` of them, the youngest and the oldest included."""
    files = [(images, path) for images, path in ages(run).items() if images <= last]
    shown = torch.linspace(0, len(files) - 1, min(len(files), MOST_AGES)).round().int().tolist()
    return {images: _at_age(run, path, shape) for images, path in (files[i] for i in shown)}


def _at_age(run: Run, path: Path, shape: tuple[int, int, int]) -> Tensor:
    try:
        generator = run.config.generator(load_age(path), shape, average=False)
    except (RuntimeError, KeyError) as error:
        raise misfit(run) from error
    assert generator is not None, "only families with a generator keep a history"
    latent_size: int = run.config.model_dump()["latent_size"]
    count = POINTS if shape == (2, 1, 1) else SHOWN_AT_EACH_AGE
    return GeneratorPrior(generator, latent_size, shape).sample(count)
