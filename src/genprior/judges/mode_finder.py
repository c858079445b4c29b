"""What counts the modes of samples, made for the data that they are to resemble, where it can be had."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.data.spec import data_root as root_of
from genprior.data.spec import parse_spec
from genprior.diagnosis.minmax_problems import CountModes
from genprior.errors import GenpriorError
from genprior.evaluation.features import IMAGES_AT_ONCE, Classifier, seen
from genprior.evaluation.histogram import SHARE_OF_A_MODE, class_counts, modes_found
from genprior.evaluation.mode_counts import ModeCount, count_class_modes, count_gaussian_modes, modes_of, near_centres
from genprior.families import RunConfig
from genprior.judges.trained_judge import CLASSIFIER, judge_data, judge_of
from genprior.progress import Stage, Task
from genprior.seeding import derived_generator

FLOOR = "floor of a divergence"
STACKED, DIGITS = "stacked-mnist", "mnist"
REAL = 2000  # real samples that others are near to, or not


class Finder(Protocol):
    """Counts the modes of samples.

    Attributes:
        real: Features of real samples (M, F).
        spread: How the data are spread over the modes (modes,).
    """

    @property
    def real(self) -> Tensor: ...

    @property
    def spread(self) -> Tensor: ...

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
        probabilities, _ = judged(self.classifier, x, self.apart)
        return count_class_modes(probabilities, self.spread, self.ceiling, self.least, derived_generator(0, FLOOR))

    def modes(self, x: Tensor) -> Tensor:
        return modes_of(judged(self.classifier, x, self.apart)[0])[1]

    def features(self, x: Tensor) -> Tensor:
        return judged(self.classifier, x, self.apart)[1]


def mode_finder(
    data: Dataset, *, judge: str | None = None, data_root: Path | None = None, fit: str = "crop"
) -> Task[Finder]:
    """Makes what counts the modes of samples of a data set, and returns it.

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
        yield Stage(1.0, CLASSIFIER.name)
        return GaussianFinder(data.modes.centres, data.modes.sigma, data.some(REAL).flatten(1))
    is_stacked = judge is None and parse_spec(data.name).source == STACKED
    if judge is None and data.labels is None:
        raise GenpriorError(
            f"{data.name} has neither known modes nor labels to count; use points (ring, grid), labelled images such "
            "as mnist, or name labelled images of the same shape with --judge",
            argument="data",
        )
    channels, *size = data.image_shape

    def load(spec: str) -> Dataset:
        return load_data(spec, root=data_root, size=(size[0], size[1]), channels=1 if is_stacked else channels, fit=fit)

    train, test = judge_data(DIGITS if is_stacked else judge or data.name, load)
    found = yield from judge_of(CLASSIFIER, train, test, root_of(data_root))
    classes = found.network.num_classes
    sure = sure_share(found.network, test)
    _, real = judged(found.network, data.some(REAL), is_stacked)
    if is_stacked:
        assert data.labels is not None
        return ClassFinder(found.network, True, _of_triples(data.labels, classes), sure**channels, 0.0, real)
    labels = seen(found.network, data)[1] if judge is not None or data.labels is None else data.labels
    return ClassFinder(found.network, False, class_counts(labels, classes), sure, SHARE_OF_A_MODE, real)


def run_finder(config: RunConfig, data: Dataset, judge: str | None = None) -> Task[Finder]:
    """Makes what counts the modes of a run's samples, as `mode_finder` does, for the run's config and its data."""
    root = None if config.data_root is None else Path(config.data_root)
    return mode_finder(data, judge=judge, data_root=root, fit=config.fit)


def finder_or_note(config: RunConfig, data: Dataset, judge: str | None, notes: list[str]) -> Task[Finder | None]:
    """Makes what `run_finder` makes, and returns it; None where modes cannot be counted.

    Arguments:
        config: Of the run.
        data: Of the run.
        judge: Spec of labelled images whose classifier judges; None: the run's data set.
        notes: Gets a line that says why they cannot be counted.

    Raises:
        GenpriorError: A named judge cannot be had.
    """
    try:
        return (yield from run_finder(config, data, judge))
    except GenpriorError as error:
        if judge is not None:
            raise
        notes.append(f"how many modes there are is not known: {error.message}")
        return None


def mode_counter(config: RunConfig, data: Dataset, judge: str | None, notes: list[str]) -> Task[CountModes | None]:
    """Makes a function that counts the modes of samples x (N, C, H, W), as `finder_or_note` makes a finder."""
    finder = yield from finder_or_note(config, data, judge, notes)
    return None if finder is None else lambda x: held_modes(finder, x)[0]


def held_modes(finder: Finder, x: Tensor) -> tuple[int, int]:
    """Returns how many modes hold a tenth of their share of samples x (N, C, H, W), and how many there are.

    Of points, each belongs to the nearest centre.
    """
    return modes_found(class_counts(finder.modes(x), len(finder.spread)), finder.spread)


@torch.no_grad()
def judged(classifier: Classifier, x: Tensor, apart: bool) -> tuple[Tensor, Tensor]:
    """Returns the probabilities of classes (N, classes) of x (N, C, H, W), and the classifier's features (N, F).

    Apart, it judges channel by channel: probabilities (N, C, classes), and the features of all channels side by side.
    """
    parts = []
    for part in torch.split(x.float().clamp(0, 1), IMAGES_AT_ONCE):
        features = classifier.features(part.flatten(0, 1)[:, None] if apart else part)
        probabilities = classifier.out(features).softmax(1)
        parts.append((probabilities.unflatten(0, part.shape[:2]) if apart else probabilities, features))
    probabilities, features = (torch.cat(each) for each in zip(*parts, strict=True))
    return probabilities, features.reshape(len(x), -1)


def sure_share(classifier: Classifier, real: Dataset) -> float:
    """Returns the share of real images of whose class a classifier is sure."""
    parts = torch.split(torch.arange(len(real)), IMAGES_AT_ONCE)
    sure = [modes_of(judged(classifier, real.take(part), apart=False)[0])[0] for part in parts]
    return float(torch.cat(sure).double().mean())


def _of_triples(modes: Tensor, classes: int) -> Tensor:
    """How stacks are spread over the modes, from how their digits are spread over the classes (modes,).

    The digits of a stack are drawn independently, and three digits in each stack tell their frequencies better than
    some hundred stacks in each mode would.
    """
    digits = torch.cat([modes // classes**place % classes for place in range(3)])
    share = class_counts(digits, classes).double() / len(digits)
    return torch.einsum("a,b,c->abc", share, share, share).flatten()
