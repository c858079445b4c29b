"""Deep convolutional generator and discriminator (Radford, Metz & Chintala 2016, https://arxiv.org/abs/1511.06434).

At 28x28 with one channel and the default widths these are the study's two networks: 600,513 and 166,177
parameters. The same rule builds every square size from 8 to 128 pixels.

The small networks with which mode collapse is studied on stacked MNIST are those of Metz et al. 2016, Unrolled GANs,
https://arxiv.org/abs/1611.02163, appendix: the discriminator is made too small on purpose. Two things differ: the
generator ends in a sigmoid, for images in [0, 1], and its first normalisation counts per channel, not per unit.
Imports errors and layers only.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.discriminator_parts import bounded, deviation, norm_layer
from genprior.models.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear

SMALLEST, LARGEST = 8, 128
SIDE, FIRST = 28, 64  # of the networks for stacked MNIST: pixels, and channels of the first layer


class DCGANGenerator(nn.Module):
    """z (B, k) -> x (B, C, H, W) in [0, 1].

    Transposed convolutions of kernel 3 and stride 2 lead from 1x1 over 3x3, 7x7, 15x15 ... to the image: each maps n to
    2n + 1, and the last one trims the rest, or has kernel 4 where one row is missing (32 and 64 pixels). Hidden layers
    have batch normalisation and ReLU.

    Arguments:
        image_shape: (C, H, W) with H = W, 8 to 128.
        latent_size: k, at least 1.
        width: Channels of the last hidden layer; each layer before it has twice as many.

    Example:
        >>> sum(p.numel() for p in DCGANGenerator((1, 28, 28)).parameters())
        600513
    """

    output_range = (0.0, 1.0)

    def __init__(self, image_shape: tuple[int, int, int], latent_size: int = 100, width: int = 64) -> None:
        super().__init__()
        channels, size, _ = _checked(image_shape)
        self.image_shape, self.latent_size = image_shape, latent_size
        hidden = _generator_stages(size)
        layers: list[nn.Module] = []
        before, side = latent_size, 1
        for stage in range(hidden):
            after = width << (hidden - 1 - stage)
            layers += [ConvTranspose2d(before, after, 3, stride=2, bias=False)]
            layers += [BatchNorm2d(after), nn.ReLU(inplace=True)]
            before, side = after, 2 * side + 1
        layers += [_last_layer(before, channels, side, size)]
        self.layers = nn.Sequential(*layers, nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.layers(z[:, :, None, None])
        return x


class StridedDiscriminator(nn.Module):
    """x (B, C, H, W) in [0, 1] -> logits (B,); with `parts`, x holds that many batches that are normalised apart.

    Convolutions of stride 2 with a normalisation and LeakyReLU, then one linear layer that reads the logit.

    Arguments:
        widths: Channels of the image and of each layer.
        features: Numbers that the linear layer reads.
        kernel: Of the convolutions.
        slope: Of LeakyReLU.
        norm: "batch"; "spectral": instead of normalising activations, the largest singular value of every layer's
            weight matrix is kept at 1 (Miyato et al. 2018, https://arxiv.org/abs/1802.05957); or "none".
        group: Images in a group of `MinibatchDeviation`, which stands before the last convolution; 0: none.
    """

    def __init__(self, widths: list[int], features: int, kernel: int, slope: float, norm: str, group: int) -> None:
        super().__init__()
        self.slope = slope
        self.deviation, more = deviation(group)
        inputs = [*widths[:-2], widths[-2] + more]
        self.convolutions = nn.ModuleList(
            bounded(Conv2d(before, after, kernel, stride=2, padding=1), norm)
            for before, after in zip(inputs, widths[1:], strict=True)
        )
        self.norms = nn.ModuleList(norm_layer(after, norm) for after in widths[1:])
        self.head = bounded(Linear(features, 1), norm)

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        last = self.convolutions[-1]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            seen = self.deviation(x, parts) if convolution is last else x
            x = F.leaky_relu_(norm(convolution(seen), parts), self.slope)
        # Read in (h, w, F) order, the order of the memory: gradients then stay channels-last and fast.
        logits: Tensor = self.head(x.permute(0, 2, 3, 1).flatten(1))
        return logits[:, 0]


def dcgan_discriminator(
    image_shape: tuple[int, int, int], width: int = 32, norm: str = "batch", group: int = 0
) -> StridedDiscriminator:
    """Returns a discriminator of kernel 4 that halves the image down to at most 4x4; slope 0.2.

    Arguments:
        image_shape: (C, H, W) with H = W, 8 to 128.
        width: Channels of the first layer; each layer after it has twice as many.
        norm, group: As for `StridedDiscriminator`.

    Example:
        >>> sum(p.numel() for p in dcgan_discriminator((1, 28, 28)).parameters())
        166177
    """
    channels, side, _ = _checked(image_shape)
    widths = [channels]
    while side > 4:
        widths.append(width << (len(widths) - 1))
        side //= 2
    return StridedDiscriminator(widths, widths[-1] * side * side, 4, 0.2, norm, group)


class UnrolledGANGenerator(nn.Module):
    """z (B, k) -> x (B, C, 28, 28) in [0, 1]: 64 x 4 x 4, then 7, 14 and 28 pixels, then one more convolution.

    Arguments:
        image_shape: (C, 28, 28).
        latent_size: k, at least 1.
        width: Channels of the last hidden layer; each of the two before it has twice as many.
    """

    output_range = (0.0, 1.0)

    def __init__(self, image_shape: tuple[int, int, int], latent_size: int = 256, width: int = 8) -> None:
        super().__init__()
        self.image_shape, self.latent_size = _checked_small(image_shape), latent_size
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


def unrolled_gan_discriminator(
    image_shape: tuple[int, int, int], width: int = 2, norm: str = "batch", group: int = 0
) -> StridedDiscriminator:
    """Returns a discriminator of kernel 3 that leads to 14, 7 and 4 pixels; slope 0.3.

    Arguments:
        image_shape: (C, 28, 28).
        width: Channels of the first layer, each layer after it has twice as many; 2: a quarter of the generator's.
        norm, group: As for `StridedDiscriminator`.
    """
    channels, _, _ = _checked_small(image_shape)
    return StridedDiscriminator([channels, width, 2 * width, 4 * width], 4 * width * 16, 3, 0.3, norm, group)


def _checked(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = image_shape
    if height != width or not SMALLEST <= height <= LARGEST:
        raise GenpriorError(
            f"dcgan builds square images of {SMALLEST} to {LARGEST} pixels, got {height}x{width}; "
            "choose a size with --size, or --model pyramid for oblong images",
            argument="size",
        )
    return channels, height, width


def _last_layer(before: int, channels: int, side: int, size: int) -> ConvTranspose2d:
    """Enlarges `side` to `size`, at most 2 * side + 2."""
    if size == 2 * side + 2:  # kernel 3 would fill this edge with padding, the same in every image
        return ConvTranspose2d(before, channels, 4, stride=2)
    trim = (2 * side + 2 - size) // 2  # cut from each edge; where that is one too many, output padding gives it back
    rest = size - (2 * side + 1 - 2 * trim)
    return ConvTranspose2d(before, channels, 3, stride=2, padding=trim, output_padding=rest)


def _generator_stages(size: int) -> int:
    """Number of hidden layers: the fewest whose last one can still be enlarged to `size`."""
    stages, side = 1, 3
    while 2 * side + 2 < size:
        stages, side = stages + 1, 2 * side + 1
    return stages


def _checked_small(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = image_shape
    if (height, width) != (SIDE, SIDE):
        raise GenpriorError(
            f"metz builds images of {SIDE}x{SIDE}, got {height}x{width}; take --size {SIDE}, dcgan, or mlp for points",
            argument="model",
        )
    return channels, height, width
