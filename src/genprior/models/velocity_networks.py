"""Networks that say which way an image moves at a time: a U-Net for images of any size, a perceptron for points.

Both see a noisy image and a time, and nothing beyond their reach: normalisation is over the channels of one place and
there is no attention, so a translated image is answered by a translated one, and a network learned at one size may be
used at another. `VELOCITIES`, at the end, is the place to add a network. Imports errors and layers only.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.image_tiles import in_tiles
from genprior.models.layers import Linear

PATCH = 2  # pixels of a side: matrix units like many channels at few places
FREQUENCIES = 16
WAVES = (0.25, 4.0)  # lowest and highest frequency, in radians a unit of the log ratio of noise to image
MOST_TIMES = 4  # as many channels as at the largest resolution
WIENER_SIDES = (3, 5, 7, 9)
LEAST = 1e-3  # of noise and of image, below which the ratio no longer grows


def ratio_waves(t: Tensor) -> Tensor:
    """Returns sines and cosines (B, 32) of log((1 - t) / t), the logarithm of the noise's share over the image's.

    Arguments:
        t: Times (B,) in [0, 1].
    """
    ratio = torch.log((1 - t + LEAST) / (t + LEAST))
    low, high = WAVES
    steps = torch.arange(FREQUENCIES, dtype=t.dtype, device=t.device) / (FREQUENCIES - 1)
    phases = ratio[:, None] * (low * (high / low) ** steps)
    return torch.cat([phases.sin(), phases.cos()], 1)


class PlainConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with odd kernels, in the dtype of its input; the side of the image stays.

    With this many channels torch's own weight gradient is faster in bf16 than the product over patches that suits the
    strided layers of the other families.

    Arguments:
        inputs, outputs: Channels.
        kernel: Pixels of a side.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype), padding=self.kernel_size[0] // 2)


class TimeEmbedding(nn.Module):
    """t (B,) -> (B, width).

    Arguments:
        width: Numbers that stand for a time.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Linear(2 * FREQUENCIES, width), Linear(width, width)

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        hidden = F.silu(self.first(ratio_waves(t).to(dtype)))
        embedded: Tensor = F.silu(self.second(hidden))
        return embedded


def over_channels(x: Tensor) -> Tensor:
    """Returns x (B, C, H, W) with mean 0 and variance 1 over the channels of each place."""
    rows: Tensor = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],))
    return rows.permute(0, 3, 1, 2)


class ModulatedBlock(nn.Module):
    """(B, C, H, W) -> the same: a residual block of two convolutions, scaled and shifted by the time in between.

    Arguments:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = PlainConv2d(channels, channels, 3), PlainConv2d(channels, channels, 3)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        scale, shift = modulation[:, :, None, None].chunk(2, 1)
        hidden = F.silu(torch.addcmul(shift, self.first(over_channels(x)), 1 + scale))
        change: Tensor = self.second(hidden)
        return x + change


class VelocityUNet(nn.Module):
    """x (B, C, H, W), or (B, 2C, H, W) with a Wiener filter, t (B,) -> (B, C, H, W), for images of any size.

    Sides that cannot be halved often enough are filled up with copies of the edge, and cut off again. Large images go
    through it in tiles.

    Arguments:
        image_shape: (C, H, W).
        width: Channels where the image is largest.
        levels: Resolutions; each halves the sides and doubles the channels, up to four times `width`.
        blocks: Residual blocks of each level, on the way down and on the way up.
        wiener: Pixels of a side of the patches of a Wiener filter that the field has beside the network, whose estimate
            of the noise is seen as well: x has 2C channels. An odd number from 3 to 9, or 0 for none.

    Raises:
        GenpriorError: An option out of range.

    Attributes:
        stride: Pixels of a side of the coarsest cell.
        reach: Pixels beyond its own cell from which a pixel may know something.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], width: int = 64, levels: int = 2, blocks: int = 2, wiener: int = 0
    ) -> None:
        super().__init__()
        _check_whole(width=width, levels=levels, blocks=blocks)
        _check_side(wiener, image_shape)
        self.wiener = wiener
        self.channels, self.stride = image_shape[0], PATCH * 2 ** (levels - 1)
        self.reach = _reach(levels, blocks)
        widths = [width * min(2**level, MOST_TIMES) for level in range(levels)]
        pixels = self.channels * PATCH**2
        seen = 2 * pixels if wiener else pixels
        self.first, self.last = PlainConv2d(seen, width, 3), PlainConv2d(width, pixels, 3)
        nn.init.zeros_(self.last.weight)
        self.down = nn.ModuleList(_blocks(each, blocks) for each in widths)
        self.up = nn.ModuleList(_blocks(each, blocks) for each in widths[:-1])
        self.smaller = nn.ModuleList(PlainConv2d(4 * fine, coarse, 1) for fine, coarse in pairwise(widths))
        self.larger = nn.ModuleList(PlainConv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.joined = nn.ModuleList(PlainConv2d(2 * fine, fine, 1) for fine in widths[:-1])
        self.sizes = [2 * each for each in [*widths, *reversed(widths[:-1])] for _ in range(blocks)]
        self.time, self.modulation = TimeEmbedding(2 * width), Linear(2 * width, sum(self.sizes))
        nn.init.zeros_(self.modulation.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        height, width = x.shape[2:]
        fill = 0, -width % self.stride, 0, -height % self.stride
        x = F.pad(x, fill, mode="replicate") if any(fill) else x
        return in_tiles(self._whole, x, t, self.reach, self.stride)[:, :, :height, :width]

    def _whole(self, x: Tensor, t: Tensor) -> Tensor:
        told = iter(self.modulation(self.time(t, x.dtype)).split(self.sizes, 1))
        hidden = self.first(F.pixel_unshuffle(x, PATCH).contiguous(memory_format=torch.channels_last))
        skips = []
        for level, blocks in enumerate(self.down):
            hidden = _through(blocks, hidden, told)
            if level < len(self.smaller):
                skips.append(hidden)
                hidden = self.smaller[level](_halved(hidden))
        for level in reversed(range(len(self.up))):
            hidden = self.joined[level](torch.cat([_doubled(self.larger[level](hidden)), skips.pop()], 1))
            hidden = _through(self.up[level], hidden, told)
        return F.pixel_shuffle(self.last(F.silu(over_channels(hidden))), PATCH)


def _reach(levels: int, blocks: int) -> int:
    """Pixels that a U-Net sees beyond a cell of its coarsest level.

    From the output back to the input: each convolution sees one cell farther, of which a block has two, and whatever is
    seen of a coarser cell is all of it.
    """
    cells = [PATCH << level for level in range(levels)]
    reach = PATCH
    for cell in cells:
        reach = -(-reach // cell) * cell + 2 * blocks * cell  # up again, or the coarsest
    return reach + 2 * blocks * sum(cells[:-1]) + PATCH


def _blocks(channels: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(ModulatedBlock(channels) for _ in range(count))


def _through(blocks: nn.Module, x: Tensor, told: Iterator[Tensor]) -> Tensor:
    assert isinstance(blocks, nn.ModuleList)
    for block in blocks:
        x = block(x, next(told))
    return x


def _halved(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4C, H/2, W/2) in channels-last memory, the four neighbours side by side."""
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    return rows.permute(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, 4 * channels).permute(0, 3, 1, 2)


def _doubled(x: Tensor) -> Tensor:
    """(B, 4C, H, W) -> (B, C, 2H, 2W) in channels-last memory; undoes `_halved`."""
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, channels // 4)
    return rows.permute(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


class VelocityMLP(nn.Module):
    """x (B, C, H, W), t (B,) -> (B, C, H, W), fully connected: for points and for small tests.

    Arguments:
        image_shape: (C, H, W); (2, 1, 1) for points.
        width: Units of a hidden layer.
        depth: Number of hidden layers.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int = 128, depth: int = 3) -> None:
        super().__init__()
        _check_whole(width=width, depth=depth)
        size = math.prod(image_shape)
        self.first = Linear(size + 2 * FREQUENCIES, width)
        self.hidden = nn.ModuleList(Linear(width, width) for _ in range(depth - 1))
        self.last = Linear(width, size)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        hidden = F.silu(self.first(torch.cat([x.flatten(1), ratio_waves(t).to(x.dtype)], 1)))
        for layer in self.hidden:
            hidden = hidden + F.silu(layer(hidden))
        out: Tensor = self.last(hidden)
        return out.view_as(x)


def _check_whole(**options: float) -> None:
    for name, value in options.items():
        most = 8 if name in ("levels", "blocks") else 4096
        if not isinstance(value, int) or not 1 <= value <= most:
            raise GenpriorError(f"option '{name}' must be an integer from 1 to {most}, got {value}", argument="model")


def _check_side(wiener: float, image_shape: tuple[int, int, int]) -> None:
    if not isinstance(wiener, int) or (wiener != 0 and wiener not in WIENER_SIDES):
        raise GenpriorError(f"option 'wiener' must be 0, 3, 5, 7 or 9, got {wiener}", argument="model")
    if wiener > min(image_shape[1:]):
        size = f"{image_shape[1]}x{image_shape[2]}"
        raise GenpriorError(f"option 'wiener' is {wiener}, and images have {size} pixels", argument="model")


# Each builds a network from (C, H, W) and options of its own.
VELOCITIES: dict[str, Callable[..., nn.Module]] = {
    "unet": VelocityUNet,
    "mlp": VelocityMLP,
}
