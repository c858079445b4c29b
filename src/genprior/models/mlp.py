"""Fully connected players, for 2-D points and for small tests. Imports layers only."""

import math
from itertools import pairwise

from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.deviation import deviation
from genprior.models.layers import Linear
from genprior.models.norms import bounded


class Generator(nn.Module):
    """z (B, k) -> x (B, C, H, W); in [0, 1] for images, unbounded for points.

    Arguments:
        image_shape: (C, H, W); (2, 1, 1) for points.
        latent_size: k.
        width: Units of a hidden layer.
        depth: Number of hidden layers.
    """

    def __init__(self, image_shape: tuple[int, int, int], latent_size: int, width: int, depth: int) -> None:
        super().__init__()
        self.image_shape, self.latent_size = image_shape, latent_size
        points = image_shape == (2, 1, 1)
        self.output_range = (-math.inf, math.inf) if points else (0.0, 1.0)
        sizes = [latent_size] + depth * [width]
        self.layers = nn.Sequential(*_hidden(sizes), Linear(width, math.prod(image_shape)))
        self.squash = nn.Identity() if points else nn.Sigmoid()

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.squash(self.layers(z))
        return x.view(-1, *self.image_shape)


class Discriminator(nn.Module):
    """x (B, C, H, W) -> logits (B,).

    Samples never influence each other, so `parts` of a batch need no care, except by `MinibatchDeviation`.

    Arguments:
        image_shape: (C, H, W).
        width: Units of a hidden layer.
        depth: Number of hidden layers.
        norm: "none" or "spectral": the largest singular value of every layer's weight matrix is kept at 1.
        group: Images in a group of `MinibatchDeviation`, which stands before the last hidden layer; 0: none.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], width: int, depth: int, norm: str = "none", group: int = 0
    ) -> None:
        super().__init__()
        if norm == "batch":
            raise GenpriorError("mlp has no batch normalisation: expected norm=none or norm=spectral", argument="model")
        sizes = [math.prod(image_shape)] + (depth - 1) * [width]
        self.deviation, more = deviation(group)
        last = _hidden([sizes[-1] + more, width], norm)
        self.layers = nn.Sequential(*_hidden(sizes, norm), *last, bounded(Linear(width, 1), norm))

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        x, last_hidden = x.flatten(1), len(self.layers) - 3
        for place, layer in enumerate(self.layers):
            x = layer(self.deviation(x, parts) if place == last_hidden else x)
        return x[:, 0]


def _hidden(sizes: list[int], norm: str = "none") -> list[nn.Module]:
    """Layers from each size to the next."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [bounded(Linear(before, after), norm), nn.LeakyReLU(0.2, inplace=True)]
    return layers
