"""Layers of flows: couplings, normalisation, invertible 1x1 convolutions, squeezing. Imports nothing of ours.

Activations are rows (B, H, W, C). Coupling: Dinh et al. 2017, https://arxiv.org/abs/1605.08803; the others: Kingma &
Dhariwal 2018, https://arxiv.org/abs/1807.03039. Names of weights, their first values and the order of squeezed channels
are those of `normflows`, to whose flow the tests hold ours.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BOUND = 2.0  # a coupling scales by exp(-2) to exp(2), so that neither direction divides by next to nothing


class Transformed(NamedTuple):
    """What a layer makes of x on the way to latents.

    Attributes:
        z: The result.
        log_det: log |det dz/dx| (B,) in nats; one number where it is the same for every x.
    """

    z: Tensor
    log_det: Tensor


class Coupling(nn.Module):
    """Half of the channels decide how the others are shifted and scaled (Dinh et al. 2017, equations 7 and 8).

    z1 = x1, z2 = (x2 - t) exp(-s), with s = 2 tanh(r / 2) and t, r from three convolutions over x1 (kernels 3, 1, 3).

    Arguments:
        channels: C, at least 2.
        width: Channels of the hidden layers.
        given: Channels of what else the convolutions see.
    """

    def __init__(self, channels: int, width: int, given: int = 0) -> None:
        super().__init__()
        self.kept, moved = (channels + 1) // 2, channels // 2
        self.first = nn.Conv2d(self.kept + given, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 1)
        self.last = nn.Conv2d(width, 2 * moved, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def encode(self, x: Tensor, dtype: torch.dtype, given: Tensor | None = None) -> Transformed:
        """Returns z (B, H, W, C) of x.

        Arguments:
            x: (B, H, W, C).
            dtype: In which the convolutions run.
            given: (B, F, H, W) of that type, what else they see.
        """
        x1, x2 = x[..., : self.kept], x[..., self.kept :]
        shift, log_scale = self._shift_and_log_scale(x1, dtype, given)
        z = torch.cat([x1, (x2 - shift) * torch.exp(-log_scale)], -1)
        return Transformed(z, -log_scale.flatten(1).sum(1))

    def decode(self, z: Tensor, dtype: torch.dtype) -> Tensor:
        """Returns x of z (B, H, W, C)."""
        z1, z2 = z[..., : self.kept], z[..., self.kept :]
        shift, log_scale = self._shift_and_log_scale(z1, dtype)
        return torch.cat([z1, z2 * torch.exp(log_scale) + shift], -1)

    def _shift_and_log_scale(
        self, x1: Tensor, dtype: torch.dtype, given: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        seen = x1.permute(0, 3, 1, 2).to(dtype, memory_format=torch.channels_last)
        hidden = convolved(self.first, seen if given is None else torch.cat([seen, given], 1))
        hidden = F.relu_(convolved(self.second, F.relu_(hidden)))
        shift, raw = convolved(self.last, hidden).permute(0, 2, 3, 1).to(x1.dtype).chunk(2, -1)
        return shift, BOUND * torch.tanh(raw / BOUND)


def convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Returns the convolution of x (B, C, H, W) in the dtype of x."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.conv2d(x, layer.weight.to(x.dtype), bias, padding=layer.padding)


def listed(modules: nn.ModuleList) -> list[Any]:
    """Returns modules as what they are: a list of torch's forgets their types."""
    return list(modules)


class ActivationNorm(nn.Module):
    """Weights of z = (x - t) exp(-s), with a shift and a scale for each channel (section 3.1).

    Arguments:
        channels: C.
    """

    data_dep_init_done: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.s, self.t = (nn.Parameter(torch.zeros(1, channels, 1, 1)) for _ in range(2))
        self.register_buffer("data_dep_init_done", torch.tensor(0.0))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Takes the shift and the scale from the mean and the deviation of x (B, H, W, C)."""
        self.t.copy_(x.mean((0, 1, 2)).view(self.t.shape))
        self.s.copy_((x.std((0, 1, 2)) + 1e-6).log().view(self.s.shape))
        self.data_dep_init_done.fill_(1.0)


class ChannelMixer(nn.Module):
    """Weights of a 1x1 convolution P L U, at first a random rotation; the permutation P is not learned (equation 10).

    Arguments:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        permutation, lower, upper = torch.lu_unpack(*torch.linalg.lu_factor(rotation))
        self.register_buffer("P", permutation)
        self.L = nn.Parameter(lower)
        self.register_buffer("sign_S", upper.diag().sign())
        self.log_S = nn.Parameter(upper.diag().abs().log())
        self.U = nn.Parameter(upper.triu(1))
        self.register_buffer("eye", torch.eye(channels))


def squeezed(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H / 2, W / 2, 4 C), in the order of `normflows`.

    Example:
        >>> squeezed(torch.arange(4).view(1, 2, 2, 1)).flatten().tolist()
        [0, 1, 2, 3]
    """
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(batch, height // 2, width // 2, 4 * channels)


def unsqueezed(x: Tensor) -> Tensor:
    """(B, H, W, 4 C) -> (B, 2 H, 2 W, C), the inverse of `squeezed`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, channels // 4, 2, 2).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, 2 * height, 2 * width, channels // 4)
