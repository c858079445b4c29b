"""What an evaluation needs, loaded and checked before anything is computed."""

from dataclasses import dataclass
from pathlib import Path

from genprior.data import Dataset
from genprior.data.spec import parse_spec
from genprior.errors import GenpriorError
from genprior.evaluation.scores import SCORES, Score
from genprior.families import RunConfig
from genprior.judges.classifier_judge import judge_data, split_specs
from genprior.judges.run_images import load_images, may_share, training_images
from genprior.priors.contracts import LatentPrior
from genprior.runs.environment import read_environment
from genprior.runs.run_folder import Run, open_run
from genprior.runs.trained_prior import load_prior

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Inputs:
    """What an evaluation needs.

    Attributes:
        run: The run.
        config: Its config, with the data root that was asked for.
        prior: Its model.
        training: All images that it was trained on.
        held_out: Images that it has not seen.
        judged_by: Labelled images that the classifier is trained on, and others that tell its accuracy.
        size: Number of samples, of held-out and of training images that are compared.
        inversions: Number of held-out and of training images that are inverted.
    """

    run: Run
    config: RunConfig
    prior: LatentPrior
    training: Dataset
    held_out: Dataset
    judged_by: tuple[Dataset, Dataset]
    size: int
    inversions: int


def load_inputs(
    path: Path, count: int, held_out: str | None, judge: str | None, data_root: Path | None, inversions: int
) -> Inputs:
    """Returns what an evaluation needs; arguments and errors as `Evaluation` has them."""
    run = open_run(path)
    config, shape = _with_root(run.config, data_root), read_environment(run)["image_shape"]
    if shape[1:] == (1, 1):
        raise GenpriorError(
            f"{path} models points, which no classifier sees; runs of images are evaluated", argument="run"
        )
    prior, training, real = load_prior(path), training_images(run, config), _held_out(config, shape, held_out)
    judged_by = judge_data(judge or config.data, lambda spec: load_images(config, shape, spec))
    size = _checked_size(count, real, training)
    inversions = _checked_inversions(inversions, real, training)
    return Inputs(run, config, prior, training, real, judged_by, size, inversions)


def notes_on(inputs: Inputs, count: int) -> list[str]:
    """Returns lines to show beside the scores, of which `count` samples were asked for."""
    size, data, judge = inputs.size, inputs.config.data, inputs.judged_by[0].name
    notes = [
        f"{size:,} samples; real against real: {size:,} images of {data} against {size:,} of {inputs.held_out.name}; "
        f"judged by a classifier of {judge}"
    ]
    if size < count:
        notes.append(f"{count:,} samples were asked for; scores of as many as there are real images are compared")
    if may_share(parse_spec(data), parse_spec(inputs.held_out.name)):
        notes.append(f"the run was trained on {data}, which may hold the images of {inputs.held_out.name}")
    return notes + [_too_few(score, inputs) for score in SCORES.values() if images_for(score, inputs) < score.minimum]


def images_for(score: Score, inputs: Inputs) -> int:
    """Returns how many images of either kind there are for a score."""
    return inputs.inversions if score.of_inversions else inputs.size


def _too_few(score: Score, inputs: Inputs) -> str:
    kind = "inversions" if score.of_inversions else "samples and as many held-out images"
    return f"left out: {score.title} needs at least {score.minimum} {kind}, there are {images_for(score, inputs)}"


def _with_root(config: RunConfig, data_root: Path | None) -> RunConfig:
    return config if data_root is None else config.model_copy(update={"data_root": str(data_root)})


def _held_out(config: RunConfig, shape: Shape, asked: str | None) -> Dataset:
    specs = split_specs(config.data)
    spec = asked or (specs[1] if specs else None)
    if spec is None:
        raise GenpriorError(
            f"{config.data} has no test images of its own; name images that the run has not seen, such as "
            "--held-out other_folder",
            argument="held_out",
        )
    try:
        return load_images(config, shape, spec)
    except GenpriorError as error:
        raise GenpriorError(error.message, argument="held_out") from error


def _checked_size(count: int, held_out: Dataset, training: Dataset) -> int:
    least = min(score.minimum for score in SCORES.values() if not score.of_inversions)
    sizes = {"count": count, "held_out": len(held_out), "run": len(training)}
    short = min(sizes, key=lambda argument: sizes[argument])
    if sizes[short] < least:
        what = {"count": "samples", "held_out": "held-out images", "run": "training images"}[short]
        raise GenpriorError(f"no score is defined for fewer {what} than {least}, got {sizes[short]}", argument=short)
    return sizes[short]


def _checked_inversions(inversions: int, held_out: Dataset, training: Dataset) -> int:
    if inversions != 0 and inversions < 2:
        raise GenpriorError(f"expected 0 for none, or at least 2, got {inversions}", argument="inversions")
    return min(inversions, len(held_out), len(training))
