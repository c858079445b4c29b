"""The way back from images to latents: a network that is fast to train and to run. Imports errors and layers only."""

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.layers import BatchNorm2d, Conv2d, Linear

SMALLEST, LARGEST = 8, 128  # sides of the square images that are read by convolutions


class Encoder(nn.Module):
    """x (B, C, H, W) and which of its pixels are known -> z (B, k).

    Square images of 8 to 128 pixels pass through convolutions of kernel 4 and stride 2 that halve them down to at most
    4x4, with batch normalisation and LeakyReLU(0.2), and a linear head; any other shape, such as that of 2-D
    points, through a perceptron. Which pixels are known is one more channel.

    Arguments:
        image_shape: (C, H, W).
        latent_size: k, at least 1.
        width: Channels of the first layer, each layer after it has twice as many; a perceptron has `4 * width` units.

    Example:
        >>> Encoder((1, 28, 28), latent_size=100).encode(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 100])
    """

    def __init__(self, image_shape: tuple[int, int, int], latent_size: int, width: int = 32) -> None:
        super().__init__()
        channels, height, breadth = image_shape
        self.image_shape, self.latent_size, self.width = image_shape, latent_size, width
        if height == breadth and SMALLEST <= height <= LARGEST:
            layers, features = halving(channels + 1, height, width)
            self.layers = nn.Sequential(*layers, Linear(features, latent_size))
        else:
            self.layers = _perceptron((channels + 1) * height * breadth, latent_size, 4 * width)

    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Returns z (B, k), in the dtype of x.

        Arguments:
            x: (B, C, H, W), about [0, 1] for images. What stands in unknown pixels has no influence, finite or not.
            known: (B, 1, H, W) or (1, 1, H, W), 0 where a pixel is unknown; None: all are known.

        Raises:
            GenpriorError: x or known has another shape.
        """
        if known is None:
            known = x.new_ones(1, 1, *self.image_shape[1:])
        check_shape("x", x, self.image_shape, (x.shape[0],))
        check_shape("known", known, (1, *self.image_shape[1:]), (x.shape[0], 1))
        z: Tensor = self(x, known)
        return z

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        seen = known != 0
        shown = torch.cat([x.where(seen, 0), seen.to(x.dtype).expand(x.shape[0], -1, -1, -1)], 1)
        z: Tensor = self.layers(shown.contiguous(memory_format=torch.channels_last))
        return z


def check_shape(name: str, x: Tensor, expected: tuple[int, int, int], counts: tuple[int, ...]) -> None:
    """Raises `GenpriorError` about `name` where x is not of as many images (C, H, W) as one of the counts."""
    if tuple(x.shape[1:]) != expected or x.shape[0] not in counts:
        rows = " or ".join(map(str, sorted(counts)))
        raise GenpriorError(f"expected {rows} times {expected}, got the shape {tuple(x.shape)}", argument=name)


class Rows(nn.Module):
    """(B, C, H, W) -> (B, H * W * C), in the order of channels-last memory, so that gradients stay in it and fast."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def halving(before: int, side: int, width: int) -> tuple[list[nn.Module], int]:
    """Returns layers that halve images down to at most 4x4 and flatten them, and how many features they end in.

    Arguments:
        before: Channels of the images.
        side: Of the square images, in pixels.
        width: Channels of the first layer; each layer after it has twice as many.
    """
    layers: list[nn.Module] = []
    after = width
    while side > 4:
        layers += [Conv2d(before, after, 4, stride=2, padding=1, bias=False), BatchNorm2d(after)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        before, after, side = after, 2 * after, side // 2
    return [*layers, Rows()], before * side * side


def _perceptron(inputs: int, latent_size: int, units: int) -> nn.Sequential:
    layers: list[nn.Module] = [Rows()]
    for before in (inputs, units):
        layers += [Linear(before, units), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, Linear(units, latent_size))
