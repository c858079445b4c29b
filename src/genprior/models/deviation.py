"""How much the images of a batch differ, as one more feature. Imports nothing of ours."""

import torch
from torch import Tensor, nn

EPSILON = 1e-8  # under the root, as in the paper's code


class MinibatchDeviation(nn.Module):
    """(B, F, ...) -> (B, F + 1, ...): the mean standard deviation of the features over a group of images.

    A generator that makes one image only shows itself by it (Karras et al. 2018, https://arxiv.org/abs/1710.10196,
    section 3). All images of a group get the same number. With `parts`, x holds that many batches, and no group spans
    two of them.

    Arguments:
        group: Consecutive images in a group, at least 2; where that does not divide a batch, the largest number below
            it that does. Of a group of one nothing is told: the feature is then close to 0.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        count = len(x) // parts
        size = max(size for size in range(1, min(self.group, count) + 1) if count % size == 0)
        groups = x.reshape(len(x) // size, size, *x.shape[1:])
        variance = groups.var(1, unbiased=False, keepdim=True)
        deviation = (variance + EPSILON).sqrt().mean(tuple(range(2, groups.dim())), keepdim=True)
        feature = deviation.expand(-1, size, 1, *x.shape[2:]).reshape(len(x), 1, *x.shape[2:])
        return torch.cat([x, feature], 1)


class NoDeviation(nn.Module):
    """Stands where `MinibatchDeviation` would, and changes nothing."""

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return x


def deviation(group: int) -> tuple[nn.Module, int]:
    """Returns the layer for groups of that many images, and how many features it adds; 0: none."""
    return (MinibatchDeviation(group), 1) if group else (NoDeviation(), 0)
