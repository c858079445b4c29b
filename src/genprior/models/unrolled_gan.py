"""The small networks with which mode collapse is studied on stacked MNIST. Imports errors and layers only.

Metz et al. 2016, Unrolled GANs, https://arxiv.org/abs/1611.02163, appendix: the discriminator is made too small on
purpose. Two things differ: the generator ends in a sigmoid, for images in [0, 1], and its first normalisation counts
per channel, not per unit.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.deviation import deviation
from genprior.models.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear
from genprior.models.norms import bounded, norm_layer

SIDE, FIRST, SLOPE = 28, 64, 0.3


class Generator(nn.Module):
    """z (B, k) -> x (B, C, 28, 28) in [0, 1]: 64 x 4 x 4, then 7, 14 and 28 pixels, then one more convolution.

    Arguments:
        image_shape: (C, 28, 28).
        latent_size: k, at least 1.
        width: Channels of the last hidden layer; each of the two before it has twice as many.
    """

    output_range = (0.0, 1.0)

    def __init__(self, image_shape: tuple[int, int, int], latent_size: int = 256, width: int = 8) -> None:
        super().__init__()
        self.image_shape, self.latent_size = _checked(image_shape), latent_size
        self.first = Linear(latent_size, FIRST * 16)
        widths = [FIRST, 4 * width, 2 * width, width]
        layers: list[nn.Module] = [BatchNorm2d(FIRST), nn.ReLU(inplace=True)]
        for stage, (before, after) in enumerate(pairwise(widths)):
            output_padding = min(stage, 1)  # 4 -> 7 -> 14 -> 28
            layers += [ConvTranspose2d(before, after, 3, 2, 1, output_padding, bias=False)]
            layers += [BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, Conv2d(width, image_shape[0], 3, padding=1), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.layers(self.first(z).view(-1, FIRST, 4, 4))
        return x


class Discriminator(nn.Module):
    """x (B, C, 28, 28) in [0, 1] -> logits (B,): 14, 7 and 4 pixels, then one linear layer.

    Arguments:
        image_shape: (C, 28, 28).
        width: Channels of the first layer, each layer after it has twice as many; 2: a quarter of the generator's.
        norm: "batch", "spectral" or "none".
        group: Images in a group of `MinibatchDeviation`, which stands before the last convolution; 0: none.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int = 2, norm: str = "batch", group: int = 0) -> None:
        super().__init__()
        channels, _, _ = _checked(image_shape)
        self.deviation, more = deviation(group)
        widths = [channels, width, 2 * width, 4 * width]
        inputs = [widths[0], widths[1], widths[2] + more]
        self.convolutions = nn.ModuleList(
            bounded(Conv2d(before, after, 3, 2, 1), norm) for before, after in zip(inputs, widths[1:], strict=True)
        )
        self.norms = nn.ModuleList(norm_layer(after, norm) for after in widths[1:])
        self.head = bounded(Linear(widths[-1] * 16, 1), norm)

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        last = self.convolutions[-1]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            seen = self.deviation(x, parts) if convolution is last else x
            x = F.leaky_relu_(norm(convolution(seen), parts), SLOPE)
        logits: Tensor = self.head(x.permute(0, 2, 3, 1).flatten(1))
        return logits[:, 0]


def _checked(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = image_shape
    if (height, width) != (SIDE, SIDE):
        raise GenpriorError(
            f"metz builds images of {SIDE}x{SIDE}, got {height}x{width}; take --size {SIDE}, dcgan, or mlp for points",
            argument="model",
        )
    return channels, height, width
