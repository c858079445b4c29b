"""Fully connected players, for 2-D points and for small tests. Imports layers only."""

import math

from torch import Tensor, nn

from genprior.models.layers import Linear


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
        self.layers = _perceptron(latent_size, width, depth, math.prod(image_shape))
        self.squash = nn.Identity() if points else nn.Sigmoid()

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.squash(self.layers(z))
        return x.view(-1, *self.image_shape)


class Discriminator(nn.Module):
    """x (B, C, H, W) -> logits (B,); arguments as for the generator.

    Samples never influence each other, so `parts` of a batch need no care.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int, depth: int) -> None:
        super().__init__()
        self.layers = _perceptron(math.prod(image_shape), width, depth, 1)

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        logits: Tensor = self.layers(x.flatten(1))
        return logits[:, 0]


def _perceptron(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = inputs
    for _ in range(depth):
        layers += [Linear(before, width), nn.LeakyReLU(0.2, inplace=True)]
        before = width
    return nn.Sequential(*layers, Linear(before, outputs))
