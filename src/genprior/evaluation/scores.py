"""The scores of a set of images beside real ones. Knows tensors only.

`SCORES`, at the end, is the place to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor

from genprior.evaluation.bootstrap import Estimate, half_sampled, resampled
from genprior.evaluation.distances import frechet_distances, kernel_distances
from genprior.evaluation.features import Classifier
from genprior.evaluation.memorisation import copied_share
from genprior.evaluation.neighbours import K, Neighbours, neighbours

# Mean squared error of a value in [0, 1] stored in 8 bits: smaller errors say nothing of an image.
ROUNDING = 1 / (12 * 255**2)


@dataclass(frozen=True)
class Evidence:
    """What scores are computed from: a set of images that is judged, and real images for reference.

    Attributes:
        reference: Features of held-out images (N, F).
        judged: Features of what is judged (M, F).
        reference_closeness: `closeness` of held-out images to the training images (N,).
        judged_closeness: The same of what is judged (M,).
        reference_errors: Errors of inverting training images (I,).
        judged_errors: Errors of inverting held-out images (I,).
    """

    reference: Tensor
    judged: Tensor
    reference_closeness: Tensor
    judged_closeness: Tensor
    reference_errors: Tensor
    judged_errors: Tensor

    @cached_property
    def neighbours(self) -> Neighbours:
        """Which features lie among which."""
        return neighbours(self.reference, self.judged)


@dataclass(frozen=True)
class Score:
    """A score.

    Attributes:
        title: For people.
        estimate: Evidence and the source of all randomness -> the score.
        better: In which direction; "near floor": like real images, neither above nor below.
        minimum: The least number of images of either kind with which it is defined.
        unit: Of the value.
        of_inversions: Whether these are images that are inverted, which takes long and is done to fewer.
    """

    title: str
    estimate: Callable[[Evidence, torch.Generator], Estimate]
    better: Literal["lower", "higher", "near floor"]
    minimum: int
    unit: str
    of_inversions: bool = False


def _frechet(evidence: Evidence, generator: torch.Generator) -> Estimate:
    statistic = partial(frechet_distances, evidence.reference, evidence.judged)
    return half_sampled(statistic, (len(evidence.reference), len(evidence.judged)), generator, least=0.0)


def _kernel(evidence: Evidence, generator: torch.Generator) -> Estimate:
    statistic = partial(kernel_distances, evidence.reference, evidence.judged)
    return half_sampled(statistic, (len(evidence.reference), len(evidence.judged)), generator)


def _mean(values: Callable[[Evidence], Tensor], evidence: Evidence, generator: torch.Generator) -> Estimate:
    return resampled(torch.mean, values(evidence), generator=generator)


def _copied(evidence: Evidence, generator: torch.Generator) -> Estimate:
    return resampled(copied_share, evidence.reference_closeness, evidence.judged_closeness, generator=generator)


def _ratio(evidence: Evidence, generator: torch.Generator) -> Estimate:
    def ratio(reference: Tensor, judged: Tensor) -> Tensor:
        return (judged.mean() + ROUNDING) / (reference.mean() + ROUNDING)

    return resampled(ratio, evidence.reference_errors, evidence.judged_errors, generator=generator)


SCORES: dict[str, Score] = {
    "frechet": Score("Fréchet distance", _frechet, "lower", Classifier.num_features + 1, "features squared"),
    "kernel": Score("kernel distance", _kernel, "lower", 4, "kernel"),
    "precision": Score("precision", partial(_mean, lambda e: e.neighbours.precise), "higher", K + 1, "share"),
    "recall": Score("recall", partial(_mean, lambda e: e.neighbours.recalled), "higher", K + 1, "share"),
    "density": Score("density", partial(_mean, lambda e: e.neighbours.density), "near floor", K + 1, "relative to k"),
    "coverage": Score("coverage", partial(_mean, lambda e: e.neighbours.covered), "higher", K + 1, "share"),
    "memorisation": Score("near copies of training images", _copied, "near floor", 100, "share"),
    "inversion": Score(
        "error of inverting held-out images",
        partial(_mean, lambda e: e.judged_errors),
        "lower",
        2,
        "squared error per value",
        of_inversions=True,
    ),
    "inversion_ratio": Score(
        "that error by the one of training images", _ratio, "near floor", 2, "ratio", of_inversions=True
    ),
}
