"""Scores of a trained run's samples, each beside the same score of real images."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.data.request import data_root as root_of
from genprior.errors import GenpriorError
from genprior.evaluation.distances import closeness
from genprior.evaluation.features import features_and_classes, seen
from genprior.evaluation.histogram import class_counts, expected_counts, homogeneity, modes_found
from genprior.evaluation.scores import SCORES, Evidence, Score
from genprior.judges.classifier_judge import FOLDER, Judge, judge_of
from genprior.progress import Stage
from genprior.restoration.restore import invert
from genprior.restoration.search_settings import SearchSettings
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.metrics import METRICS
from genprior.runs.run_folder import write_json
from genprior.scoring.evaluation_inputs import images_for, load_inputs, notes_on
from genprior.seeding import derived_generator

INVERTED_AT_ONCE = 25
# About how long each part takes, in seconds at 10,000 samples of 28 x 28 on two cores: for the live line alone.
COSTS = {"classifier": 30, "samples": 10, "features": 8, "training images": 12, "inversions": 10, "score": 4}

Work = tuple[int, str, Callable[[], Iterator[float]]]


@dataclass
class Evaluation:
    """Scores a run.

    Arguments:
        run: Folder of a trained run on images.
        count: Number of samples, and of real images of either kind; fewer where there are not as many real ones.
        held_out: Spec of images that the run has not seen; None: the test images of its data set.
        judge: Spec of labelled images whose classifier judges; None: the run's data set.
        seed: Of samples, of which real images are taken, and of intervals.
        data_root: Of named data sets, and of the classifier's cache.
        inversions: Number of held-out images, and of training images, that are inverted; 0: none.

    Attributes:
        notes: Lines to show beside the scores.
        metrics: What was found, as it is saved; empty before.

    Raises:
        GenpriorError: No run, an untrained one, one of points, other data than it was trained on, no held-out images,
            too few of them, or no labelled images.
    """

    run: Path
    count: int = 10_000
    held_out: str | None = None
    judge: str | None = None
    seed: int = 0
    data_root: Path | None = None
    inversions: int = 100
    notes: list[str] = field(default_factory=list, init=False)
    metrics: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.inputs = load_inputs(self.run, self.count, self.held_out, self.judge, self.data_root, self.inversions)
        self.notes = notes_on(self.inputs, self.count)

    def measure(self) -> Iterator[Stage]:
        """Measures, yields how far it is, and writes what was found into the run's folder, in place of what was."""
        yield from self.look()
        write_json(self.inputs.run.path / METRICS, self.metrics)

    def look(self) -> Iterator[Stage]:
        """Measures and yields how far it is; what was found stands in `metrics` alone."""
        work = self._work()
        total, done = sum(cost for cost, _, _ in work), 0
        for cost, what, part in work:
            for share in part():
                yield Stage((done + share * cost) / total, what)
            done += cost

    def _work(self) -> list[Work]:
        return [
            (COSTS["classifier"], "classifier", self._find_judge),
            (COSTS["samples"], "samples", self._sample),
            (COSTS["features"], "features", self._see),
            (COSTS["training images"], "nearest training images", self._find_nearest),
            (COSTS["inversions"], "inversions", self._invert),
            (COSTS["score"] * len(SCORES), "scores", self._score),
        ]

    # What the parts find, in their order.

    def _find_judge(self) -> Iterator[float]:
        folder = root_of(self.inputs.config.data_root) / FOLDER
        self.found_judge: Judge = yield from judge_of(*self.inputs.judged_by, folder)

    def _sample(self) -> Iterator[float]:
        x = self.inputs.prior.sample(self.inputs.size, self.seed)
        if not bool(torch.isfinite(x).all()):
            raise GenpriorError(f"samples of {self.run} are not finite: its training has diverged", argument="run")
        self.samples, classes = features_and_classes(self.found_judge.classifier, x.float().clamp(0, 1))
        self.counts = class_counts(classes, self._classes)
        yield 1.0

    def _see(self) -> Iterator[float]:
        self.all_training, classes = seen(self.found_judge.classifier, self.inputs.training)
        self.training_counts = class_counts(classes, self._classes)
        yield 0.8
        self.held_out_features, classes = seen(
            self.found_judge.classifier, self._some(self.inputs.held_out, "held-out images", self.inputs.size)
        )
        self.held_out_counts = class_counts(classes, self._classes)
        yield 1.0

    def _find_nearest(self) -> Iterator[float]:
        self.held_out_closeness = closeness(self.held_out_features, self.all_training)
        yield 0.5
        self.sample_closeness = closeness(self.samples, self.all_training)
        yield 1.0

    def _invert(self) -> Iterator[float]:
        count = self.inputs.inversions
        training = self._some(self.inputs.training, "training images", count)
        held_out = self._some(self.inputs.held_out, "held-out images", count)
        parts = []
        for share, errors in self._errors(training, held_out):
            parts.append(errors)
            yield share
        errors = torch.cat(parts) if parts else torch.empty(0)
        self.training_errors, self.held_out_errors = errors[:count], errors[count:]
        yield 1.0

    def _errors(self, *kinds: Dataset) -> Iterator[tuple[float, Tensor]]:
        """Errors (B,) of inverting all images of one kind after the other, and the share of them that is done."""
        done, total = 0, sum(map(len, kinds))
        for data in kinds:
            for part in torch.split(torch.arange(len(data)), INVERTED_AT_ONCE):
                x = data.take(part)
                if len(x):
                    images = invert(self.inputs.prior, x, SearchSettings(first=int(part[0])), seed=self.seed).images
                    done += len(x)
                    yield done / total, (images - x).square().flatten(1).mean(1).double()

    def _score(self) -> Iterator[float]:
        value, floor = self._evidence()
        scores = {}
        for i, (name, score) in enumerate(SCORES.items()):
            if images_for(score, self.inputs) >= score.minimum:
                scores[name] = self._scored(name, score, value, floor)
            yield (i + 1) / (len(SCORES) + 1)
        self.metrics = self._summary(scores)
        yield 1.0

    def _evidence(self) -> tuple[Evidence, Evidence]:
        """Of the samples, and of real images in their place.

        Training images stand in for samples, but for near copies, which they are: there held-out images do. Errors of
        training images stand in for those of held-out ones. Where both sides are the same images the score is known,
        and what its interval shows is chance.
        """
        index = self._chosen(len(self.all_training), "training images", self.inputs.size)
        value = Evidence(
            reference=self.held_out_features,
            judged=self.samples,
            reference_closeness=self.held_out_closeness,
            judged_closeness=self.sample_closeness,
            reference_errors=self.training_errors,
            judged_errors=self.held_out_errors,
        )
        return value, replace(
            value,
            judged=self.all_training[index],
            judged_closeness=self.held_out_closeness,
            judged_errors=self.training_errors,
        )

    def _scored(self, name: str, score: Score, value: Evidence, floor: Evidence) -> dict[str, Any]:
        found = asdict(score.estimate(value, derived_generator(self.seed, f"interval of {name}")))
        beside = asdict(score.estimate(floor, derived_generator(self.seed, f"interval of {name}", 1)))
        return {"title": score.title, **found, "floor": beside, "better": score.better, "unit": score.unit}

    def _summary(self, scores: dict[str, Any]) -> dict[str, Any]:
        checkpoint, _ = load_checkpoint(self.inputs.run.checkpoints)
        assert checkpoint is not None
        test = homogeneity(self.counts, self.training_counts)
        found, of = modes_found(self.counts, self.training_counts)
        judge = self.found_judge
        return {
            "images_seen": checkpoint.images_seen,
            "samples": len(self.samples),
            "real": len(self.held_out_features),
            "held_out": self.inputs.held_out.name,
            "judge": {"data": judge.data, "accuracy": judge.accuracy, "hash": judge.sha256},
            "scores": scores,
            "classes": {
                "names": [str(i) for i in range(self._classes)],
                "counts": self.counts.tolist(),
                "expected": expected_counts(self.counts, self.training_counts).tolist(),
                "chi_square": test.statistic,
                "degrees": test.degrees,
                "p_value": test.p_value,
                "floor_chi_square": homogeneity(self.held_out_counts, self.training_counts).statistic,
            },
            "modes": {"found": found, "of": of},
            "notes": self.notes,
        }

    @property
    def _classes(self) -> int:
        return self.found_judge.classifier.out.out_features

    def _some(self, data: Dataset, purpose: str, count: int) -> Dataset:
        """That many images of a data set, chosen at random."""
        return replace(data, images=data.images[self._chosen(len(data), purpose, count)], labels=None)

    def _chosen(self, of: int, purpose: str, count: int) -> Tensor:
        return torch.randperm(of, generator=derived_generator(self.seed, purpose))[:count].sort().values
