"""Trained runs side by side: what each is good for, on the same held-out images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.data.held_out import count_learned
from genprior.errors import GenpriorError
from genprior.evaluation.comparison import LEAST_COMPARED_DRAWS, TASKS, Reconstructions, drawn, inverted, restored
from genprior.evaluation.comparison import Task as DamageTask
from genprior.families.run_config import Likelihood
from genprior.judges.run_images import held_out_images, learned_note, run_split, with_data_root
from genprior.models.image_flow import bits_per_dim
from genprior.priors.contracts import LatentPrior
from genprior.progress import Stage, Task, within
from genprior.restoration.operators import OPERATORS
from genprior.runs.best_weights import used_checkpoint
from genprior.runs.checkpoint import Checkpoint
from genprior.runs.experiment import part_of
from genprior.runs.run_folder import Run, open_run
from genprior.runs.trained_prior import prior_of
from genprior.scoring.scoring_results import (
    COMPARISON,
    ComparedRun,
    Comparison,
    ComparisonSettings,
    DrawnScore,
    RestorationScore,
)
from genprior.settings import Weights
from genprior.stored_files import read_tensors, sum_of
from genprior.writing import csv_text, save_tensors, write_text

SAMPLES = 36
NONE = "none"
STRIPS = ("seen", "restored", "mean of draws")
TABLE, FIGURE, IMAGES = "table.csv", "comparison.png", "comparison.safetensors"
Images = dict[str, Tensor]
"""What is drawn: "truth" (B, C, H, W), and of run i "i/samples", "i/inverted", and "i/STRIP/TASK" of the `STRIPS`."""


@dataclass(frozen=True)
class Compared:
    """A run that is compared, its checkpoint, and its model."""

    run: Run
    checkpoint: Checkpoint
    prior: LatentPrior

    @property
    def age(self) -> tuple[int, float]:
        """Images and minutes of its training."""
        return self.checkpoint.images_seen, self.checkpoint.seconds / 60


def compare(settings: ComparisonSettings, kept: Comparison | None) -> Task[Comparison]:
    """Measures run after run on the same images; an interrupted comparison is resumed with the runs that it lacks.

    Raises:
        GenpriorError: No run, an untrained one, points, images of different shapes, no held-out images, or a folder
            that holds something else: all of this before the first stage.
    """
    _refuse_folder(settings.out)
    # What is wrong with the last run is found before an hour is spent on the others.
    compared = [_opened(path, settings.weights) for path in settings.runs]
    data = _held_out(settings, compared[0].run, _common_shape(compared))
    notes = _notes(settings, compared, data)
    x = data.take(torch.arange(len(data)))
    found, images = _resumed(settings, kept, compared, x)
    yield Stage(0.0, "images", notes, found=_saved(settings, found, images))
    total = len(compared)
    for i in range(len(found), total):
        run, made = yield from within(_measured(compared[i], x, settings), i / total, (i + 1) / total)
        found = [*found, run]
        # Safetensors refuses tensors that share memory or lie channels-last.
        images |= {f"{i}/{name}": own.clone(memory_format=torch.contiguous_format) for name, own in made.items()}
        yield Stage((i + 1) / total, f"{run.run}: measured", found=_saved(settings, found, images))
    return Comparison(settings=settings, runs=found)


def draw_comparison(settings: ComparisonSettings, found: Comparison) -> Mapping[str, Path]:
    """Draws the images of a comparison, and returns its files."""
    from genprior.plotting.sample_figures import Pictured, write_comparison

    images, path = read_tensors(settings.out / IMAGES), settings.out / FIGURE
    pictured = [
        Pictured(
            run.run,
            images[f"{i}/samples"],
            images["truth"],
            images[f"{i}/inverted"],
            {
                title: {what: images[f"{i}/{what}/{title}"] for what in STRIPS if f"{i}/{what}/{title}" in images}
                for title in run.restoration
            },
        )
        for i, run in enumerate(found.runs)
    ]
    write_comparison(pictured, path)
    return {"table": settings.out / TABLE, "figure": path}


def comparison_rows(runs: list[ComparedRun]) -> list[list[str]]:
    """Returns the table as text: names first, then a column for each of the runs, at least one."""
    restored = [row for title in runs[0].restoration for row in _restored_rows(runs, title)]
    return [
        ["", *(each.run for each in runs)],
        ["family", *(each.family for each in runs)],
        ["trained", *(f"{each.images_seen:,} images, {each.training_minutes:.1f} min" for each in runs)],
        [
            "held-out error",
            *(f"{each.reconstruction_error:.5f} +- {each.reconstruction_standard_error:.5f}" for each in runs),
        ],
        ["inversion", *(f"{1000 * each.inversion_seconds:.0f} ms an image" for each in runs)],
        *restored,
        ["log-likelihood", *(_likelihood(each) for each in runs)],
    ]


def _restored_rows(runs: list[ComparedRun], title: str) -> list[list[str]]:
    """What the runs make of a kind of damage: one row, and two more of draws."""
    found = [each.restoration[title] for each in runs]
    rows = [[f"{title} (PSNR)", *(_psnr(each.psnr, each.standard_error, each.seconds) for each in found)]]
    drawn = [each.drawn for each in found if each.drawn is not None]
    if len(drawn) < len(runs):
        return rows
    means = [_psnr(each.psnr, each.standard_error, each.seconds) for each in drawn]
    balls = [_held(each) for each in drawn]
    return [*rows, ["  mean of draws", *means], [f"  balls of {drawn[0].promised:.0%} hold", *balls]]


def _refuse_folder(out: Path) -> None:
    if out == Path() or (out.exists() and not out.is_dir()):
        raise GenpriorError(f"expected the name of a folder, got '{out}'", argument="out")
    if out.exists() and any(out.iterdir()) and not any(map(Path.exists, (out / COMPARISON, part_of(out / COMPARISON)))):
        raise GenpriorError(f"{out} exists and holds no comparison; choose another folder", argument="out")


def _opened(path: Path, weights: Weights) -> Compared:
    run = open_run(path)
    checkpoint = used_checkpoint(run, weights)
    return Compared(run, checkpoint, prior_of(run, checkpoint.tensors))


def _common_shape(compared: list[Compared]) -> tuple[int, int, int]:
    shapes = {each.prior.image_shape: each.run.path for each in compared}
    if len(shapes) > 1:
        given = ", ".join(f"{path}: {_by(shape)}" for shape, path in shapes.items())
        raise GenpriorError(
            f"runs are compared on the same images, these make different ones ({given})", argument="run"
        )
    (shape,) = shapes
    if shape[1:] == (1, 1):
        raise GenpriorError(f"{compared[0].run.path} models points; images are compared", argument="run")
    return shape


def _held_out(settings: ComparisonSettings, run: Run, shape: tuple[int, int, int]) -> Dataset:
    """Images that the first run has not seen, as many as the settings say."""
    if 0 < settings.draws < LEAST_COMPARED_DRAWS:
        raise GenpriorError(f"expected 0 or at least {LEAST_COMPARED_DRAWS}, got {settings.draws}", argument="draws")
    if settings.count < 2:
        raise GenpriorError(f"expected at least 2 images, got {settings.count}", argument="count")
    config = with_data_root(run.config, settings.data_root)
    split = None if settings.held_out is not None else config.load_split()
    data = held_out_images(config, shape, settings.held_out, split)
    if len(data) < 2:
        raise GenpriorError(f"expected at least 2 images, {data.name} has {len(data)}", argument="held_out")
    return data.part(torch.arange(min(settings.count, len(data))))


def _notes(settings: ComparisonSettings, compared: list[Compared], held_out: Dataset) -> tuple[str, ...]:
    data = {each.run.config.data for each in compared}
    different = [f"trained on different data: {', '.join(sorted(data))}"] if len(data) > 1 else []
    seen = [line for each in compared for line in _seen(settings, each.run, held_out)]
    return (f"{len(held_out)} images of {held_out.name}", *different, *seen)


def _seen(settings: ComparisonSettings, run: Run, held_out: Dataset) -> list[str]:
    """What must be said of a run that has learned images that it is judged on."""
    try:
        learned = run_split(run, settings.data_root).learned
    except GenpriorError as error:
        return [f"whether {run.path} has learned these images is not known: {error.message}"]
    return learned_note(str(run.path), count_learned(learned, held_out), held_out)


def _resumed(
    settings: ComparisonSettings, kept: Comparison | None, compared: list[Compared], x: Tensor
) -> tuple[list[ComparedRun], Images]:
    """What an interrupted comparison has measured, as far as it is of these checkpoints and these images."""
    try:
        images = read_tensors(settings.out / IMAGES) if kept is not None else {}
    except (OSError, ValueError):
        images = {}
    if kept is None or not torch.equal(images.get("truth", torch.empty(0)), x):
        return [], {"truth": x}
    whole = [
        (run.images_seen, run.training_minutes) == each.age for run, each in zip(kept.runs, compared, strict=False)
    ]
    count = [*whole, False].index(False)
    return kept.runs[:count], images


def _saved(settings: ComparisonSettings, found: list[ComparedRun], images: Images) -> Comparison:
    """Writes what is beside the numbers, and returns these."""
    try:
        settings.out.mkdir(parents=True, exist_ok=True)
        save_tensors(images, settings.out / IMAGES, sum_of(images))
        for stale in (TABLE, FIGURE):  # of other numbers
            (settings.out / stale).unlink(missing_ok=True)
    except OSError as error:
        raise GenpriorError(f"cannot write to {settings.out}: {error.strerror}", argument="out") from None
    if found:
        write_text(settings.out / TABLE, "".join(csv_text(comparison_rows(found))))
    return Comparison(settings=settings, runs=found, is_complete=False)


def _measured(compared: Compared, x: Tensor, settings: ComparisonSettings) -> Task[tuple[ComparedRun, Images]]:
    """What a run is good for on x (B, C, H, W), and its images by name."""
    run, prior, shape, total = compared.run, compared.prior, compared.prior.image_shape, 3 + len(TASKS)
    likelihood = run.config.log_probability(compared.checkpoint.tensors, shape, x, settings.seed)
    yield Stage(1 / total, f"{run.path}: likelihood")
    samples = prior.sample(SAMPLES, settings.seed)
    yield Stage(2 / total, f"{run.path}: samples")
    inversion = inverted(prior, x)
    yield Stage(3 / total, f"{run.path}: inversion")
    images, scores = {"samples": samples, "inverted": inversion.images}, {}
    for i, task in enumerate(TASKS.values(), start=4):
        scores[task.title], own = _restorations(prior, x, task, settings)
        images |= {f"{name}/{task.title}": each for name, each in own.items()}
        yield Stage(i / total, f"{run.path}: {task.title}")
    return _numbers(compared, likelihood, inversion, scores), images


def _restorations(
    prior: LatentPrior, x: Tensor, task: DamageTask, settings: ComparisonSettings
) -> tuple[RestorationScore, Images]:
    """What a prior makes of a kind of damage, and pictures of it by the names of `STRIPS`."""
    shape, seed = prior.image_shape, settings.seed
    operator, sigma = task.operator(shape).build(OPERATORS, "operator", image_shape=shape, seed=seed), task.sigma(shape)
    found = restored(prior, x, operator, sigma, seed)
    score = RestorationScore(
        psnr=float(found.psnr.mean()), standard_error=_standard_error(found.psnr), seconds=found.seconds
    )
    images = {"seen": found.shown, "restored": found.images}
    if not settings.draws:
        return score, images
    draws = drawn(prior, x, operator, sigma, settings.draws, seed)
    means = DrawnScore(
        psnr=float(draws.psnr.mean()),
        standard_error=_standard_error(draws.psnr),
        held=float(draws.held.float().mean()),
        promised=draws.promised,
        disagree=draws.disagree,
        seconds=draws.seconds,
    )
    return score.model_copy(update={"drawn": means}), images | {"mean of draws": draws.images}


def _numbers(
    compared: Compared,
    likelihood: Likelihood | None,
    inversion: Reconstructions,
    restoration: dict[str, RestorationScore],
) -> ComparedRun:
    config, size = compared.run.config, math.prod(compared.prior.image_shape)
    images_seen, minutes = compared.age
    return ComparedRun(
        run=str(compared.run.path),
        family=config.title,
        data=config.data,
        images_seen=images_seen,
        training_minutes=minutes,
        bits_per_dim=None if likelihood is None else float(bits_per_dim(likelihood.nats, size).mean()),
        nats=None if likelihood is None else float(likelihood.nats.mean()),
        likelihood=NONE if likelihood is None else f"{likelihood.how}, D = {size}",
        images=len(inversion.error),
        reconstruction_error=float(inversion.error.mean()),
        reconstruction_standard_error=_standard_error(inversion.error),
        inversion_seconds=inversion.seconds,
        restoration=restoration,
    )


def _standard_error(values: Tensor) -> float:
    return float(values.std() / len(values) ** 0.5)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _psnr(psnr: float, standard_error: float, seconds: float) -> str:
    return f"{psnr:.2f} +- {standard_error:.2f} dB, {1000 * seconds:.0f} ms"


def _held(found: DrawnScore) -> str:
    return f"{found.held:.0%}" + (f", {found.disagree} not mixed" if found.disagree else "")


def _likelihood(run: ComparedRun) -> str:
    known = run.bits_per_dim is not None
    return f"{run.nats:.0f} nats, {run.bits_per_dim:.3f} bits/dim" if known else run.likelihood
