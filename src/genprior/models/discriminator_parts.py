"""Parts of discriminators: bounded layers, the deviation of a batch, packs of images. Imports errors and layers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError, suggestion
from genprior.models.layers import BatchNorm2d, Unnormalised

NORMS = ("batch", "spectral", "none")
EPSILON = 1e-8  # under the root of a deviation, as in the paper's code
MakeDiscriminator = Callable[[tuple[int, int, int]], nn.Module]


def bounded(layer: nn.Module, norm: str) -> nn.Module:
    """Returns a layer whose weight matrix has a largest singular value of 1 where the norm is "spectral".

    Miyato et al. 2018, https://arxiv.org/abs/1802.05957, equation 8; by one power iteration a pass.

    Raises:
        GenpriorError: Unknown norm.
    """
    if norm not in NORMS:
        raise GenpriorError(f"unknown norm '{norm}', {suggestion(norm, NORMS)}", argument="model")
    return nn.utils.parametrizations.spectral_norm(layer) if norm == "spectral" else layer


def norm_layer(channels: int, norm: str) -> nn.Module:
    """Returns what normalises activations (B, C, H, W): batch normalisation where the norm is "batch", else nothing."""
    return BatchNorm2d(channels) if norm == "batch" else Unnormalised()


class MinibatchDeviation(nn.Module):
    """(B, F, ...) -> (B, F + 1, ...): the mean standard deviation of the features over a group of images.

    A generator that makes one image only shows itself by it (Karras et al. 2018, https://arxiv.org/abs/1710.10196,
    section 3). All images of a group get the same number. With `parts`, x holds that many batches, and no group spans
    two of them.

    Arguments:
        group: Consecutive images in a group, at least 2; where that does not divide a batch, the largest number below
            it that does. In a group of one the feature is close to 0.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        count = len(x) // parts
        size = max(size for size in range(1, min(self.group, count) + 1) if count % size == 0)
        groups = x.reshape(len(x) // size, size, *x.shape[1:])
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1, keepdim=True)
        deviation = (variance + EPSILON).sqrt().mean(tuple(range(2, groups.dim())), keepdim=True)
        feature = deviation.expand(-1, size, 1, *x.shape[2:]).reshape(len(x), 1, *x.shape[2:])
        return torch.cat([x, feature], 1)


def deviation(group: int) -> tuple[nn.Module, int]:
    """Returns the layer for groups of that many images, and how many features it adds; 0: none."""
    return (MinibatchDeviation(group), 1) if group else (Unnormalised(), 0)


class Packed(nn.Module):
    """x (B, C, H, W) -> logits (B / pack,): consecutive images side by side in the channels of one.

    All images of a pack are real, or all are fakes. That samples are too much alike, which no single one of them shows,
    is then seen (PacGAN, Lin et al. 2018, https://arxiv.org/abs/1712.04086, section 2).

    Arguments:
        discriminator: (B / pack, pack * C, H, W) -> logits (B / pack,), called with `parts` as any other.
        pack: Images in one, at least 1.

    Raises:
        GenpriorError: About `pack`: images that do not fill whole packs.
    """

    def __init__(self, discriminator: nn.Module, pack: int) -> None:
        super().__init__()
        self.discriminator, self.pack = discriminator, pack

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        if len(x) % (self.pack * parts):
            raise GenpriorError(
                f"{len(x) // parts} images do not fill packs of {self.pack}; take a multiple of it", argument="pack"
            )
        logits: Tensor = self.discriminator(x.reshape(len(x) // self.pack, -1, *x.shape[2:]), parts=parts)
        return logits


def packed(make: MakeDiscriminator, image_shape: tuple[int, int, int], pack: int) -> nn.Module:
    """Returns the discriminator that `make` builds for packs of images of a shape; itself for packs of one."""
    channels, height, width = image_shape
    discriminator = make((pack * channels, height, width))
    return discriminator if pack == 1 else Packed(discriminator, pack)


def pack_of(discriminator: nn.Module) -> int:
    """Returns how many images one logit is about; 1 unless it is `Packed`, or says otherwise by a `pack` of its own."""
    pack: int = getattr(discriminator, "pack", 1)
    return pack
