"""Deep convolutional generator and discriminator (Radford, Metz & Chintala 2016, https://arxiv.org/abs/1511.06434).

At 28x28 with one channel and the default widths these are the study's two networks: 600,513 and 166,177
parameters. The same rule builds every square size from 8 to 128 pixels. Imports errors and layers only.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.deviation import deviation
from genprior.models.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Linear
from genprior.models.norms import bounded, norm_layer

SMALLEST, LARGEST = 8, 128


class Generator(nn.Module):
    """z (B, k) -> x (B, C, H, W) in [0, 1].

    Transposed convolutions of kernel 3 and stride 2 lead from 1x1 over 3x3, 7x7, 15x15 ... to the image: each maps n to
    2n + 1, and the last one trims the rest, or has kernel 4 where one row is missing (32 and 64 pixels). Hidden layers
    have batch normalisation and ReLU.

    Arguments:
        image_shape: (C, H, W) with H = W, 8 to 128.
        latent_size: k, at least 1.
        width: Channels of the last hidden layer; each layer before it has twice as many.

    Example:
        >>> sum(p.numel() for p in Generator((1, 28, 28)).parameters())
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


class Discriminator(nn.Module):
    """x (B, C, H, W) in [0, 1] -> logits (B,); with `parts`, x holds that many batches that are normalised apart.

    Convolutions of kernel 4 and stride 2 halve the image down to at most 4x4, with a normalisation and
    LeakyReLU(0.2); one linear layer reads the logit.

    Arguments:
        image_shape: (C, H, W) with H = W, 8 to 128.
        width: Channels of the first layer; each layer after it has twice as many.
        norm: "batch"; "spectral": instead of normalising activations, the largest singular value of every layer's
            weight matrix is kept at 1 (Miyato et al. 2018, https://arxiv.org/abs/1802.05957); or "none".
        group: Images in a group of `MinibatchDeviation`, which stands before the last convolution; 0: none.

    Example:
        >>> sum(p.numel() for p in Discriminator((1, 28, 28)).parameters())
        166177
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int = 32, norm: str = "batch", group: int = 0) -> None:
        super().__init__()
        before, side, _ = _checked(image_shape)
        self.deviation, more = deviation(group)
        after = width
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        while side > 4:
            is_last = side // 2 <= 4
            self.convolutions.append(bounded(Conv2d(before + more * is_last, after, 4, stride=2, padding=1), norm))
            self.norms.append(norm_layer(after, norm))
            before, after, side = after, 2 * after, side // 2
        self.head = bounded(Linear(before * side * side, 1), norm)

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        last = self.convolutions[-1]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            seen = self.deviation(x, parts) if convolution is last else x
            x = F.leaky_relu_(norm(convolution(seen), parts), 0.2)
        # Read in (h, w, F) order, the order of the memory: gradients then stay channels-last and fast.
        logits: Tensor = self.head(x.permute(0, 2, 3, 1).flatten(1))
        return logits[:, 0]


def _checked(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = image_shape
    if height != width or not SMALLEST <= height <= LARGEST:
        raise GenpriorError(
            f"dcgan builds square images of {SMALLEST} to {LARGEST} pixels, got {height}x{width}; "
            "choose a size with --size",
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
