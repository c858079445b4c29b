"""Exponential moving average of a network's weights (Polyak & Juditsky 1992), with images as its clock."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """An averaged copy of a network; running statistics of batch normalisation are averaged with the weights.

    After a step of n images every value moves towards the network's by 1 - 2^(-n / h). The half-life h is
    `half_life`, but never more than a tenth of the images seen, so that the first random weights are soon forgotten
    (as in Karras et al. 2022, https://arxiv.org/abs/2206.00364, appendix F).

    Arguments:
        network: The network to follow.
        half_life: h in images, greater than 0.
    """

    def __init__(self, network: nn.Module, half_life: float) -> None:
        self.half_life = half_life
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = [
            (average, current)
            for average, current in zip(_values(self.network), _values(network), strict=True)
            if average.is_floating_point()  # the count of batches is no average
        ]
        self._averages = [average for average, _ in pairs]
        self._currents = [current for _, current in pairs]

    @torch.no_grad()
    def update(self, images: int, images_seen: int) -> None:
        """Moves the average after a step of `images`, the last of `images_seen`."""
        half_life = min(self.half_life, 0.1 * images_seen)
        torch._foreach_lerp_(self._averages, self._currents, 1 - 0.5 ** (images / half_life))


def _values(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
