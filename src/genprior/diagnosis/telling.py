"""How well a discriminator tells images that it knows, images that it does not know, and fakes. Knows networks."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Told:
    """What a discriminator says of one kind of images.

    Attributes:
        logits: How many.
        accuracy: Share of logits on the right side, in [0, 1].
        mean_logit: Their mean.
        standard_error: Of the mean logit; nan for a single one.
    """

    logits: int
    accuracy: float
    mean_logit: float
    standard_error: float

    @property
    def accuracy_error(self) -> float:
        """Standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.logits)


@torch.no_grad()
def told(discriminator: nn.Module, batches: Iterable[Tensor], are_real: bool) -> Told:
    """Returns what a discriminator says of images, in the mode in which it is; it is not changed.

    Arguments:
        discriminator: x -> logits; an image with one above 0 is taken for real.
        batches: x (B, C, H, W), at least one.
        are_real: Which side is the right one.
    """
    frozen = copy.deepcopy(discriminator)  # batch normalisation keeps running statistics
    logits = torch.cat([frozen(x).double() for x in batches])
    right = (logits > 0) == are_real
    spread = float(logits.std()) if len(logits) > 1 else math.nan
    return Told(len(logits), float(right.double().mean()), float(logits.mean()), spread / math.sqrt(len(logits)))
