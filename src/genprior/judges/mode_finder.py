"""What counts the modes of samples, made for the data that they are to resemble."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.data.request import data_root as root_of
from genprior.data.spec import parse_spec
from genprior.errors import GenpriorError
from genprior.evaluation.features import IMAGES_AT_ONCE, Classifier, seen
from genprior.evaluation.histogram import SHARE_OF_A_MODE, class_counts
from genprior.evaluation.mode_counts import ModeCount, count_class_modes, count_gaussian_modes, modes_of, near_centres
from genprior.families import RunConfig
from genprior.judges.classifier_judge import FOLDER, judge_data, judge_of
from genprior.seeding import derived_generator

FLOOR = "floor of a divergence"
STACKED, DIGITS = "stacked-mnist", "mnist"
REAL = 2000  # real samples that others are near to, or not


class Finder(Protocol):
    """Counts the modes of samples."""

    @property
    def real(self) -> Tensor:
        """Features of real samples (M, F)."""

    @property
    def spread(self) -> Tensor:
        """How the data are spread over the modes (modes,)."""

    def modes(self, x: Tensor) -> Tensor:
        """Returns the mode of each sample (N,), the nearest one where it is of none."""

    def __call__(self, x: Tensor) -> ModeCount:
        """Returns the modes of samples x (N, C, H, W), at least one."""

    def features(self, x: Tensor) -> Tensor:
        """Returns features (N, F), in which samples that look alike are near each other."""


@dataclass(frozen=True)
class GaussianFinder:
    """Counts the modes of points; their features are they themselves.

    Attributes:
        centres: (modes, 2).
        sigma: Standard deviation around each.
        real: Points of the data (M, 2).
    """

    centres: Tensor
    sigma: float
    real: Tensor

    def __call__(self, x: Tensor) -> ModeCount:
        return count_gaussian_modes(x, self.centres, self.sigma, derived_generator(0, FLOOR))

    @property
    def spread(self) -> Tensor:
        return torch.ones(len(self.centres))

    def modes(self, x: Tensor) -> Tensor:
        return near_centres(x, self.centres, self.sigma)[1]

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@dataclass(frozen=True)
class ClassFinder:
    """Counts the modes of images by their classes.

    Attributes:
        classifier: In evaluation mode.
        apart: Whether it judges channel by channel.
        spread: How the data are spread over the modes (modes,).
        ceiling: Share of real images of which it is sure.
        least: Share of its expected samples from which on a mode counts; 0: one sample is enough.
        real: Features of real images (M, F); of images that are judged apart, those of their channels side by side.
    """

    classifier: Classifier
    apart: bool
    spread: Tensor
    ceiling: float
    least: float
    real: Tensor

    def __call__(self, x: Tensor) -> ModeCount:
        found = probabilities(self.classifier, x, self.apart)
        return count_class_modes(found, self.spread, self.ceiling, self.least, derived_generator(0, FLOOR))

    def modes(self, x: Tensor) -> Tensor:
        return modes_of(probabilities(self.classifier, x, self.apart))[1]

    def features(self, x: Tensor) -> Tensor:
        return class_features(self.classifier, x, self.apart)


def mode_finder(
    data: Dataset, *, judge: str | None = None, data_root: Path | None = None, fit: str = "crop"
) -> Generator[float, None, Finder]:
    """Makes what counts the modes of samples of a data set, yields the share that is done, and returns it.

    For points these are the centres; for images their classes, and for stacked digits a class for each channel, by the
    classifier of single digits.

    Arguments:
        data: What the samples are to resemble, as it was trained on.
        judge: Spec of labelled images of the same shape whose classifier judges; None: that of the data.
        data_root: Of named data sets, and of the classifier's cache.
        fit: How oblong images became square.

    Raises:
        GenpriorError: The data have neither known modes nor labels, or no classifier can judge them.
    """
    if data.modes is not None and data.modes.centres is not None:
        assert data.modes.sigma is not None
        yield 1.0
        return GaussianFinder(data.modes.centres, data.modes.sigma, data.some(REAL).flatten(1))
    is_stacked = judge is None and parse_spec(data.name).source == STACKED
    if judge is None and data.labels is None:
        raise GenpriorError(
            f"{data.name} has neither known modes nor labels to count; use points (ring, grid), labelled images such "
            "as mnist, or name labelled images of the same shape with --judge",
            argument="data",
        )
    channels, height, _ = data.image_shape

    def load(spec: str) -> Dataset:
        return load_data(spec, root=data_root, size=height, channels=1 if is_stacked else channels, fit=fit)

    train, test = judge_data(DIGITS if is_stacked else judge or data.name, load)
    found = yield from judge_of(train, test, root_of(data_root) / FOLDER)
    classes = found.classifier.out.out_features
    sure = sure_share(found.classifier, test)
    if is_stacked:
        assert data.labels is not None
        real = class_features(found.classifier, data.some(REAL), apart=True)
        return ClassFinder(found.classifier, True, _of_triples(data.labels, classes), sure**channels, 0.0, real)
    judged = seen(found.classifier, data)[1] if judge is not None or data.labels is None else data.labels
    real = class_features(found.classifier, data.some(REAL), apart=False)
    return ClassFinder(found.classifier, False, class_counts(judged, classes), sure, SHARE_OF_A_MODE, real)


def run_finder(
    config: RunConfig, data: Dataset, judge: str | None = None, data_root: Path | None = None
) -> Generator[float, None, Finder]:
    """Makes what counts the modes of a run's samples, as `mode_finder` does, for the run's config and its data."""
    root = data_root or (None if config.data_root is None else Path(config.data_root))
    return mode_finder(data, judge=judge, data_root=root, fit=config.fit)


@torch.no_grad()
def probabilities(classifier: Classifier, x: Tensor, apart: bool) -> Tensor:
    """Returns the probabilities of classes (N, classes) of x (N, C, H, W); apart: of each channel (N, C, classes)."""
    parts = []
    for part in torch.split(x, IMAGES_AT_ONCE):
        shown = part.float().clamp(0, 1)
        logits = classifier(shown.flatten(0, 1)[:, None] if apart else shown)
        parts.append(logits.softmax(1).unflatten(0, part.shape[:2]) if apart else logits.softmax(1))
    return torch.cat(parts)


@torch.no_grad()
def class_features(classifier: Classifier, x: Tensor, apart: bool) -> Tensor:
    """Returns a classifier's features of x (N, C, H, W) as (N, F); apart: those of each channel, side by side."""
    parts = []
    for part in torch.split(x, IMAGES_AT_ONCE):
        shown = part.float().clamp(0, 1)
        features = classifier.features(shown.flatten(0, 1)[:, None] if apart else shown)
        parts.append(features.view(len(part), -1))
    return torch.cat(parts)


def sure_share(classifier: Classifier, real: Dataset) -> float:
    """Returns the share of real images of whose class a classifier is sure."""
    parts = torch.split(torch.arange(len(real)), IMAGES_AT_ONCE)
    sure = [modes_of(probabilities(classifier, real.take(part), apart=False))[0] for part in parts]
    return float(torch.cat(sure).double().mean())


def _of_triples(modes: Tensor, classes: int) -> Tensor:
    """How stacks are spread over the modes, from how their digits are spread over the classes (modes,).

    The digits of a stack are drawn independently, and three digits in each stack tell their frequencies better than
    some hundred stacks in each mode would.
    """
    digits = torch.cat([modes // classes**place % classes for place in range(3)])
    share = class_counts(digits, classes).double() / len(digits)
    return torch.einsum("a,b,c->abc", share, share, share).flatten()
