"""Scores of a trained run's samples, each beside the same score of real images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.data.held_out import count_learned
from genprior.data.spec import data_root as root_of
from genprior.errors import GenpriorError
from genprior.evaluation.distances import closeness
from genprior.evaluation.features import FeatureNetwork, features_of, features_of_data
from genprior.evaluation.histogram import class_counts, expected_counts, homogeneity, modes_found
from genprior.evaluation.scores import SCORES, Evidence, Score
from genprior.families import RunConfig
from genprior.judges.run_images import held_out_images, learned_note, load_images, run_split, with_data_root
from genprior.judges.trained_judge import JUDGES, Judge, JudgedBy, choose_judge, judge_of, without_labels
from genprior.priors.contracts import LatentPrior
from genprior.progress import Stage, Task, within
from genprior.restoration.restore import DEFAULT, invert
from genprior.runs.best_weights import used_counters
from genprior.runs.kept_base import base_sha256
from genprior.runs.run_folder import open_run, read_environment
from genprior.runs.trained_prior import load_prior
from genprior.scoring.scoring_results import (
    ClassHistogram,
    Evaluation,
    EvaluationSettings,
    FoundModes,
    JudgeRecord,
    ScoreBesideFloor,
    ScoreInterval,
)
from genprior.seeding import derived_generator
from genprior.stored_files import weights_sha256

INVERTED_AT_ONCE = 25
Scores = dict[str, ScoreBesideFloor]
Counts = Tensor | None  # of images of each class (classes,); None where classes are not known


@dataclass(frozen=True)
class EvaluationInputs:
    """What an evaluation needs.

    Attributes:
        settings: What was asked for.
        config: Of the run, with the data root of the settings.
        images_seen: Of its checkpoint.
        prior: Its model.
        training: All images that it was trained on.
        held_out: Images that it has not seen.
        judged_by: Which judge, and the images that it is trained on.
        size: Number of samples, of held-out and of training images that are compared.
        inversions: Number of held-out and of training images that are inverted.
    """

    settings: EvaluationSettings
    config: RunConfig
    images_seen: int
    prior: LatentPrior
    training: Dataset
    held_out: Dataset
    judged_by: JudgedBy
    size: int
    inversions: int

    @cached_property
    def held_out_learned(self) -> int:
        """How many of the held-out images the run has learned."""
        return count_learned(self.training, self.held_out)

    @property
    def notes(self) -> list[str]:
        """Lines that must stand beside the scores."""
        size, data, held_out, judged_by = self.size, self.config.data, self.held_out.name, self.judged_by
        judge = f"{'features learned from' if judged_by.reason else 'a classifier of'} {judged_by.train.name}"
        notes = [
            f"{size:,} samples; real against real: {size:,} images of {data} against {size:,} of {held_out}; "
            f"judged by {judge}"
        ]
        if judged_by.reason:
            notes.append(f"no classifier judges: {judged_by.reason}")
        if size < self.settings.count:
            notes.append(f"{self.settings.count:,} samples are not compared: there are not as many real images")
        notes += learned_note("the run", self.held_out_learned, self.held_out)
        return notes + [self._too_few(score) for score in SCORES.values() if self.images_for(score) < score.minimum]

    def images_for(self, score: Score) -> int:
        """Returns how many images of either kind there are for a score."""
        return self.inversions if score.of_inversions else self.size

    def _too_few(self, score: Score) -> str:
        kind = "inversions" if score.of_inversions else "samples and as many held-out images"
        return f"left out: {score.title} needs at least {score.minimum} {kind}, there are {self.images_for(score)}"

    def some(self, data: Dataset, purpose: str, count: int) -> Dataset:
        """Returns that many images of a data set, chosen at random for a purpose."""
        return replace(data, images=data.images[self.chosen(len(data), purpose, count)], labels=None)

    def chosen(self, of: int, purpose: str, count: int) -> Tensor:
        """Returns the indices (count,) of random images, in their order."""
        return torch.randperm(of, generator=derived_generator(self.settings.seed, purpose))[:count].sort().values


@dataclass(frozen=True)
class JudgedImages:
    """Images as the judge sees them: features (N, F), and how many are of each class (classes,); None: not known."""

    features: Tensor
    counts: Tensor | None


def evaluate(settings: EvaluationSettings, kept: Evaluation | None = None) -> Task[Evaluation]:
    """Scores a run; an interrupted evaluation is resumed with the scores that it lacks.

    Raises:
        GenpriorError: No run, an untrained one, one of points, other data than it was trained on, no held-out images,
            too few of them, or no judge: all of this before the first stage. Samples that are not finite.
    """
    inputs = load_evaluation_inputs(settings)
    yield Stage(0.0, "images", notes=(str(settings.run), *inputs.notes))
    return (yield from measure_scores(inputs, kept))


def load_evaluation_inputs(settings: EvaluationSettings) -> EvaluationInputs:
    """Returns what an evaluation needs, checked; errors as `evaluate` has them."""
    run = open_run(settings.run, settings.data)
    config, shape = with_data_root(run.config, settings.data_root), read_environment(run).image_shape
    if shape[1:] == (1, 1):
        raise GenpriorError(
            f"{settings.run} models points, which no judge sees; runs of images are evaluated", argument="run"
        )
    prior, split = load_prior(settings.run, weights=settings.weights), run_split(run, settings.data_root)
    training, held_out = split.learned, held_out_images(config, shape, settings.held_out, split)
    judged_by = choose_judge(settings.judge, config.data, training, lambda spec: load_images(config, shape, spec))
    size = _checked_size(settings.count, held_out, training)
    if settings.inversions != 0 and settings.inversions < 2:
        raise GenpriorError(f"expected 0 for none, or at least 2, got {settings.inversions}", argument="inversions")
    inversions = min(settings.inversions, len(held_out), len(training))
    counters = used_counters(run, settings.weights)
    assert counters is not None, "a prior was loaded from the checkpoint"
    return EvaluationInputs(
        settings, config, counters.images_seen, prior, training, held_out, judged_by, size, inversions
    )


def measure_scores(inputs: EvaluationInputs, kept: Evaluation | None = None) -> Task[Evaluation]:
    """Scores a run whose inputs are loaded; writes nothing.

    Arguments:
        inputs: The run, and real images.
        kept: What an interrupted evaluation of the same settings has found; scores of the same features are not
            measured again.
    """
    inputs, judge = yield from within(_judge(inputs), 0.0, 0.3)
    value, floor, counts = yield from within(_evidence(inputs, judge.network), 0.3, 0.6)
    sha256 = weights_sha256(
        {"real": value.reference, "made": value.judged, "near": value.judged_closeness, "floor": floor.judged}
    )
    scores = dict(kept.scores) if kept is not None and kept.evidence_sha256 == sha256 else {}

    def found(scores: Scores, *, is_complete: bool = False) -> Evaluation:
        own = {"is_complete": is_complete, "evidence_sha256": sha256}
        return _result(inputs, judge, scores, counts).model_copy(update=own)

    wanted = [name for name, score in SCORES.items() if inputs.images_for(score) >= score.minimum]
    late = [name for name in wanted if SCORES[name].of_inversions]  # inverting takes longest
    early = [name for name in wanted if name not in late]
    scores = yield from within(_scores(inputs, early, value, floor, scores), 0.6, 0.7, found=found)
    if not scores.keys() >= set(late):
        training, held_out = yield from within(_inversion_errors(inputs), 0.7, 0.95)
        value = replace(value, reference_errors=training, judged_errors=held_out)
        floor = replace(floor, reference_errors=training, judged_errors=training)
    scores = yield from within(_scores(inputs, late, value, floor, scores), 0.95, 1.0, found=found)
    yield Stage(1.0, "scores")
    return found({name: scores[name] for name in wanted}, is_complete=True)


def _judge(inputs: EvaluationInputs) -> Task[tuple[EvaluationInputs, Judge[Any]]]:
    """The judge, and inputs that say which it is: another one where the run's own labels make no good one."""
    root, given = root_of(inputs.config.data_root), inputs.judged_by
    try:
        return inputs, (yield from judge_of(JUDGES[given.kind], *given.images, root))
    except GenpriorError as error:
        if inputs.settings.judge is not None:
            raise
        given = without_labels(inputs.training, error.message)
    judge = yield from within(judge_of(JUDGES[given.kind], *given.images, root), 0.95, 1.0)
    return replace(inputs, judged_by=given), judge


def _evidence(inputs: EvaluationInputs, network: FeatureNetwork) -> Task[tuple[Evidence, Evidence, list[Counts]]]:
    """What scores are measured on, but for inversions: of samples, and of real images in their place; and the counts
    (classes,) of samples, of as many held-out images and of all training images.
    """
    samples = _judged_samples(inputs, network)
    yield Stage(0.3, "samples")
    training = _judged_images(network, inputs.training)
    yield Stage(0.6, "features of training images")
    held_out = _judged_images(network, inputs.some(inputs.held_out, "held-out images", inputs.size))
    held_out_closeness = closeness(held_out.features, training.features)
    yield Stage(0.8, "nearest training images")
    value = Evidence(
        reference=held_out.features,
        judged=samples.features,
        reference_closeness=held_out_closeness,
        judged_closeness=closeness(samples.features, training.features),
        reference_errors=torch.empty(0),
        judged_errors=torch.empty(0),
    )
    yield Stage(1.0, "nearest training images")
    # Training images stand in for samples, but for near copies, which they are: there held-out images do. Errors of
    # training images stand in for those of held-out ones. Where both sides are the same images the score is known, and
    # what its interval shows is chance.
    index = inputs.chosen(len(training.features), "training images", inputs.size)
    floor = replace(value, judged=training.features[index], judged_closeness=held_out_closeness)
    return value, floor, [samples.counts, held_out.counts, training.counts]


def _checked_size(count: int, held_out: Dataset, training: Dataset) -> int:
    least = min(score.minimum for score in SCORES.values() if not score.of_inversions)
    sizes = {"count": count, "held_out": len(held_out), "run": len(training)}
    short = min(sizes, key=lambda argument: sizes[argument])
    if sizes[short] < least:
        what = {"count": "samples", "held_out": "held-out images", "run": "training images"}[short]
        raise GenpriorError(f"no score is defined for fewer {what} than {least}, got {sizes[short]}", argument=short)
    return sizes[short]


def _judged_samples(inputs: EvaluationInputs, network: FeatureNetwork) -> JudgedImages:
    x = inputs.prior.sample(inputs.size, inputs.settings.seed)
    if not bool(torch.isfinite(x).all()):
        raise GenpriorError(
            f"samples of {inputs.settings.run} are not finite: its training has diverged", argument="run"
        )
    return _with_counts(network, features_of(network, x.float().clamp(0, 1)))


def _judged_images(network: FeatureNetwork, data: Dataset) -> JudgedImages:
    return _with_counts(network, features_of_data(network, data))


@torch.no_grad()
def _with_counts(network: FeatureNetwork, features: Tensor) -> JudgedImages:
    classes = network.classes(features)
    return JudgedImages(features, None if classes is None else class_counts(classes, network.num_classes))


def _inversion_errors(inputs: EvaluationInputs) -> Task[tuple[Tensor, Tensor]]:
    """Mean squared errors of inverting training images (I,) and held-out images (I,)."""
    count, seed, errors = inputs.inversions, inputs.settings.seed, [torch.empty(0)]
    training = inputs.some(inputs.training, "training images", count)
    held_out = inputs.some(inputs.held_out, "held-out images", count)
    for data in (training, held_out) if count else ():
        for part in torch.split(torch.arange(count), INVERTED_AT_ONCE):
            x = data.take(part)
            images = invert(inputs.prior, x, replace(DEFAULT, first=int(part[0])), seed=seed).images
            errors.append((images - x).square().flatten(1).mean(1).double())
            yield Stage(sum(map(len, errors)) / (2 * count), "inversions")
    found = torch.cat(errors)
    return found[:count], found[count:]


def _scores(
    inputs: EvaluationInputs, names: Sequence[str], value: Evidence, floor: Evidence, found: Scores
) -> Task[Scores]:
    """The scores that are found, and those of these names."""
    for i, name in enumerate(names):
        if name not in found:
            found = {**found, name: _beside_floor(inputs, name, value, floor)}
        yield Stage((i + 1) / len(names), "scores", found=found)
    return found


def _beside_floor(inputs: EvaluationInputs, name: str, value: Evidence, floor: Evidence) -> ScoreBesideFloor:
    score = SCORES[name]
    beside, own = (
        asdict(score.estimate(evidence, derived_generator(inputs.settings.seed, f"interval of {name}", *part)))
        for evidence, part in ((floor, (1,)), (value, ()))
    )
    return ScoreBesideFloor(
        title=score.title, **own, floor=ScoreInterval(**beside), better=score.better, unit=score.unit
    )


def _result(inputs: EvaluationInputs, judge: Judge[Any], scores: Scores, counts: Sequence[Counts]) -> Evaluation:
    """The result, from counts (classes,) of samples, of as many held-out images and of all training images."""
    samples, held_out, training = counts
    record, kind = judge.record, inputs.judged_by.kind
    classes, modes = None, None
    if samples is not None and held_out is not None and training is not None:
        classes, modes = _histogram(samples, held_out, training), _modes(samples, training)
    return Evaluation(
        settings=inputs.settings,
        images_seen=inputs.images_seen,
        samples=inputs.size,
        real=inputs.size,
        held_out=inputs.held_out.name,
        held_out_learned=inputs.held_out_learned,
        judge=JudgeRecord(data=record.data, accuracy=record.accuracy, hash=record.sha256, kind=kind),
        scores=scores,
        classes=classes,
        modes=modes,
        notes=inputs.notes,
        base_sha256=base_sha256(inputs.settings.run),
    )


def _histogram(samples: Tensor, held_out: Tensor, training: Tensor) -> ClassHistogram:
    test = homogeneity(samples, training)
    return ClassHistogram(
        names=[str(i) for i in range(len(samples))],
        counts=samples.tolist(),
        expected=expected_counts(samples, training).tolist(),
        chi_square=test.statistic,
        degrees=test.degrees,
        p_value=test.p_value,
        floor_chi_square=homogeneity(held_out, training).statistic,
    )


def _modes(samples: Tensor, training: Tensor) -> FoundModes:
    found, of = modes_found(samples, training)
    return FoundModes(found=found, of=of)
