"""Fully connected players, for 2-D points and for small tests. Imports layers only."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.discriminator_parts import bounded, deviation
from genprior.models.layers import Linear


class MLPGenerator(nn.Module):
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
        sizes = [latent_size] + depth * [width] + [math.prod(image_shape)]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [Linear(before, after), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])
        self.squash = nn.Identity() if points else nn.Sigmoid()

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.squash(self.layers(z))
        return x.view(-1, *self.image_shape)


class MLPDiscriminator(nn.Module):
    """x (B, C, H, W) -> logits (B,).

    Samples never influence each other, so `parts` of a batch need no care, except by `MinibatchDeviation`.

    Arguments:
        image_shape: (C, H, W).
        width: Units of a hidden layer.
        depth: Number of hidden layers.
        norm: "none" or "spectral": the largest singular value of every layer's weight matrix is kept at 1.
        group: Images in a group of `MinibatchDeviation`, which stands before the last hidden layer; 0: none.
        waves: Fourier features beside the values themselves; 0: none. Without them a network of this kind learns what
            is small beside the whole, such as the width of a mode, very late (Tancik et al. 2020,
            https://arxiv.org/abs/2006.10739, section 4).
        frequency: Standard deviation of their frequencies, in cycles a unit of the data, above 0.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        width: int,
        depth: int,
        norm: str = "none",
        group: int = 0,
        waves: int = 0,
        frequency: float = 1.0,
    ) -> None:
        super().__init__()
        if norm == "batch":
            raise GenpriorError("mlp has no batch normalisation: expected norm=none or norm=spectral", argument="model")
        values = math.prod(image_shape)
        self.waves = Waves(values, waves, frequency) if waves else nn.Identity()
        self.deviation, more = deviation(group)
        sizes = [values + 2 * waves] + depth * [width] + [1]
        self.seen_at = max(0, depth - 1)  # the last hidden layer
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(sizes)):
            layers += [bounded(Linear(before + more * (place == self.seen_at), after), norm)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        x = self.waves(x.flatten(1))
        for place, layer in enumerate(self.layers):
            x = layer(self.deviation(x, parts) if place == 2 * self.seen_at else x)
        return x[:, 0]


class Waves(nn.Module):
    """(B, n) -> (B, n + 2 * count): the values, and sine and cosine of random directions through them.

    Arguments:
        values: n.
        count: Directions, drawn once and not learned.
        frequency: Standard deviation of each of their components, in cycles a unit.
    """

    directions: Tensor

    def __init__(self, values: int, count: int, frequency: float) -> None:
        super().__init__()
        self.register_buffer("directions", 2 * math.pi * frequency * torch.randn(values, count))

    def forward(self, x: Tensor) -> Tensor:
        phases = x @ self.directions.to(x.dtype)
        return torch.cat([x, phases.sin(), phases.cos()], 1)
