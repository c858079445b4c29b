"""Networks for images of 16 to 128 pixels a side in grey or colour, square or oblong, at a small cost a step.

The generator makes an image of each size and adds them up, coarse to fine (the skips of Karras et al. 2020,
https://arxiv.org/abs/1912.04958, section 4.1): large flat areas are decided once, at a size where few values agree
easily. It enlarges without strides, so that all pixels are made alike and no checkerboard shows (Odena et al. 2016,
https://distill.pub/2016/deconv-checkerboard). Imports errors, layers and parts of discriminators.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.dcgan import StridedDiscriminator
from genprior.models.layers import BatchNorm2d, Linear

SMALLEST_SIDE, LARGEST_SIDE = 16, 128
COARSEST = 4  # pixels of the shorter side, about, where the generator begins and the discriminator ends
SLOPE = 0.2
MOST_CHANNELS = 512


class StillConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size, in the dtype of its input: torch's own, the faster one there."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, self.weight.to(x.dtype), bias, 1, self.padding)


class DoublingConv2d(nn.Conv2d):
    """x (B, C, H, W) -> (B, F, 2H, 2W): each pixel becomes four, then a convolution of kernel 3 smooths.

    Computed as one transposed convolution of kernel 4, whose taps are sums of those of the 3x3 kernel: the same numbers
    at less than half of the products, and without the enlarged image.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        weight = doubled(self.weight).to(x.dtype).contiguous(memory_format=torch.channels_last)
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)


class SmoothDoublingConv2d(nn.Conv2d):
    """x (B, C, H, W) -> (B, F, 2H, 2W): a convolution of kernel 3, whose output is enlarged by bilinear interpolation.

    It is smooth before it has learned anything. `DoublingConv2d` says more with as many weights, but learns to smooth
    only after many thousand images; until then a weave shows in areas of one colour.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        y = F.conv2d(x, self.weight.to(x.dtype), bias, padding=1)
        return F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)


def doubled(weight: Tensor) -> Tensor:
    """Returns the transposed convolution's weight (C, F, 4, 4) of a convolution's (F, C, 3, 3) after doubling."""
    spread = F.pad(weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))  # (C, F, 5, 5)
    columns = spread[..., 1:] + spread[..., :-1]
    return columns[..., 1:, :] + columns[..., :-1, :]


ENLARGING = {"nearest": DoublingConv2d, "bilinear": SmoothDoublingConv2d}


class PyramidGenerator(nn.Module):
    """z (B, k) -> x (B, C, H, W) in [0, 1].

    Arguments:
        image_shape: (C, H, W), H and W from 16 to 128.
        latent_size: k, at least 1.
        width: Channels of the last hidden images; each size before has twice as many, 512 at most.
        enlarging: Name in `ENLARGING`.

    Raises:
        GenpriorError: Another size, or an unknown name.

    Example:
        >>> PyramidGenerator((3, 48, 32), 100).sizes
        [(6, 4), (12, 8), (24, 16), (48, 32)]
    """

    output_range = (0.0, 1.0)

    def __init__(
        self, image_shape: tuple[int, int, int], latent_size: int, width: int = 16, enlarging: str = "nearest"
    ) -> None:
        super().__init__()
        channels, height, width_ = _checked_sides(image_shape)
        if enlarging not in ENLARGING:
            raise GenpriorError(
                f"option 'enlarging' must be {' or '.join(ENLARGING)}, got {enlarging}", argument="model"
            )
        self.image_shape, self.latent_size = image_shape, latent_size
        self.sizes = pyramid_sizes(height, width_)
        last = len(self.sizes) - 1
        widths = [min(MOST_CHANNELS, width << (last - place)) for place in range(last + 1)]
        self.first = Linear(latent_size, widths[0] * math.prod(self.sizes[0]))
        self.start = nn.Sequential(BatchNorm2d(widths[0]), nn.LeakyReLU(SLOPE, inplace=True))
        self.stages = nn.ModuleList(
            nn.Sequential(
                ENLARGING[enlarging](before, after, bias=False),
                BatchNorm2d(after),
                nn.LeakyReLU(SLOPE, inplace=True),
            )
            for before, after in pairwise(widths)
        )
        self.images = nn.ModuleList(
            StillConv2d(after, channels, 3 if place == last else 1) for place, after in enumerate(widths) if place > 0
        )

    def forward(self, z: Tensor) -> Tensor:
        height, width = self.sizes[0]
        x = self.first(z).view(z.shape[0], -1, height, width).contiguous(memory_format=torch.channels_last)
        x = self.start(x)
        total = x.new_zeros(x.shape[0], self.image_shape[0], height, width)
        for stage, image, (height, width) in zip(self.stages, self.images, self.sizes[1:], strict=True):
            x = stage(x)[:, :, :height, :width]
            total = image(x) + _enlarged(total, height, width)
        return torch.sigmoid(total)


def pyramid_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Returns heights and widths, coarse to fine, each half of the next, rounded up; the first has a side of 4 to 8."""
    halvings = int(math.log2(min(height, width) / COARSEST))
    return [(-(-height // 2**step), -(-width // 2**step)) for step in range(halvings, -1, -1)]


def _enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """Images (B, C, h, w) of twice the size, without the last row or column where that is one too many."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, :height, :width]


def pyramid_discriminator(
    image_shape: tuple[int, int, int], width: int = 32, norm: str = "none", group: int = 4
) -> StridedDiscriminator:
    """Returns a discriminator of kernel 4 that halves the image until a side is below 8; slope 0.2.

    Its weights begin as those of He et al. 2015, https://arxiv.org/abs/1502.01852, equation 14, which keep the size of
    activations from layer to layer. torch's own shrink them: without normalisation such a discriminator sees hardly
    any difference between images, and learns nothing for thousands of them.

    Arguments:
        image_shape: (C, H, W), H and W from 16 to 128; C may be that of several images at once.
        width: Channels of the first layer; each layer after it has twice as many, 512 at most.
        norm, group: As for `StridedDiscriminator`.
    """
    channels, height, width_ = _checked_sides(image_shape)
    widths = [channels]
    while min(height, width_) >= 2 * COARSEST:
        widths.append(min(MOST_CHANNELS, width << (len(widths) - 1)))
        height, width_ = height // 2, width_ // 2
    network = StridedDiscriminator(widths, widths[-1] * height * width_, 4, SLOPE, norm, group)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None
            nn.init.kaiming_normal_(module.weight, SLOPE)
            nn.init.zeros_(module.bias)
    return network


def _checked_sides(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = image_shape
    if not SMALLEST_SIDE <= min(height, width) <= max(height, width) <= LARGEST_SIDE:
        raise GenpriorError(
            f"expected images of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side, got {height}x{width}; resize "
            "with --size, or take mlp for points",
            argument="model",
        )
    return channels, height, width
