"""Glow: an invertible network from images to latents (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039).

The tests hold the network to a plain `normflows` flow with the same weights. What differs is how it is computed.
Activations are rows (B, H, W, C) in float32; a step's normalisation and convolution are one product; the matrices of
all steps of a level are made at once; coupling networks may run in bf16, log-determinants never do; and a frozen
network inverts its matrices once. Imports errors and layers of flows only.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.flow_layers import (
    ActivationNorm,
    ChannelMixer,
    Coupling,
    Transformed,
    listed,
    squeezed,
    unsqueezed,
)


def stacked(modules: nn.ModuleList, name: str) -> Tensor:
    """Returns tensors of the same name and shape (...) in K modules as one (K, ...)."""
    return torch.stack([getattr(module, name) for module in modules])


class Level(nn.Module):
    """Steps of one resolution: normalisation, 1x1 convolution, coupling, again and again.

    Arguments:
        channels: C, at least 2.
        steps: K, at least 1.
        width: Of the couplings.
    """

    def __init__(self, channels: int, steps: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ActivationNorm(channels) for _ in range(steps))
        self.mixers = nn.ModuleList(ChannelMixer(channels) for _ in range(steps))
        self.couplings = nn.ModuleList(Coupling(channels, width) for _ in range(steps))
        self._inverses: Tensor | None = None

    def encode(self, x: Tensor, dtype: torch.dtype) -> Transformed:
        """Returns z (B, H, W, C) of x; couplings run in `dtype`."""
        matrices, shifts, log_dets = self._affine()
        log_det = log_dets.sum() * (x.shape[1] * x.shape[2])
        for matrix, shift, coupling in zip(matrices, shifts, listed(self.couplings), strict=True):
            # z = M (x - t), rows times M^T
            x, own = coupling.encode(F.linear(x - shift, matrix), dtype)
            log_det = log_det + own
        return Transformed(x, log_det)

    def decode(self, z: Tensor, dtype: torch.dtype) -> Tensor:
        """Returns x of z (B, H, W, C)."""
        _, shifts, _ = self._affine()
        inverses = self._inverse_matrices()
        for inverse, shift, coupling in reversed(list(zip(inverses, shifts, listed(self.couplings), strict=True))):
            z = F.linear(coupling.decode(z, dtype), inverse) + shift
        return z

    @torch.no_grad()
    def initialise(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Gives every normalisation the mean and deviation of what comes to it from x; returns z (section 3.1)."""
        for step, (norm, coupling) in enumerate(zip(listed(self.norms), listed(self.couplings), strict=True)):
            norm.initialise(x)
            matrices, shifts, _ = self._affine()
            x = coupling.encode(F.linear(x - shifts[step], matrices[step]), dtype).z
        return x

    def freeze(self) -> None:
        """Inverts the matrices once for all calls of `decode`, until weights are trained, loaded or moved."""
        self._inverses = None
        self._inverses = self._inverse_matrices().detach()

    def train(self, mode: bool = True) -> "Level":
        """Forgets the inverse matrices: weights may change from now on."""
        self._inverses = None
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Level":
        self._inverses = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch gives this one no types
        return self

    def _load_from_state_dict(self, *args: Any) -> None:  # noqa: ANN401 - torch's own signature
        self._inverses = None
        super()._load_from_state_dict(*args)

    def _affine(self) -> tuple[Tensor, Tensor, Tensor]:
        """Matrices M (K, C, C), shifts t (K, C) and log |det M| (K,) of all steps."""
        log_scales, shifts = stacked(self.norms, "s").flatten(1), stacked(self.norms, "t").flatten(1)
        lower, upper, log_diagonal = self._triangles()
        # M = P L U diag(exp(-s)), equation 10 and the normalisation before it
        matrices = stacked(self.mixers, "P") @ lower @ upper * torch.exp(-log_scales)[:, None]
        return matrices, shifts, log_diagonal.sum(1) - log_scales.sum(1)

    def _triangles(self) -> tuple[Tensor, Tensor, Tensor]:
        """L and U (K, C, C), and the logarithms of U's diagonal (K, C)."""
        lower = stacked(self.mixers, "L").tril(-1) + stacked(self.mixers, "eye")
        log_diagonal = stacked(self.mixers, "log_S")
        diagonal = stacked(self.mixers, "sign_S") * log_diagonal.exp()
        upper = stacked(self.mixers, "U").triu(1) + torch.diag_embed(diagonal)
        return lower, upper, log_diagonal

    def _inverse_matrices(self) -> Tensor:
        """M^-1 (K, C, C), by substitution in float64; those of `freeze` where there are any."""
        if self._inverses is not None:
            return self._inverses
        lower, upper, _ = (each.double() for each in self._triangles())
        permutations = stacked(self.mixers, "P").double()
        log_scales = stacked(self.norms, "s").flatten(1)
        inner = torch.linalg.solve_triangular(lower, permutations.mT, upper=False, unitriangular=True)
        inner = torch.linalg.solve_triangular(upper, inner, upper=True)
        inverses: Tensor = (log_scales.double().exp()[:, :, None] * inner).to(log_scales.dtype)
        return inverses


class Glow(nn.Module):
    """v (B, C, H, W), any real numbers, <-> z (B, D) with D = C H W.

    Every level halves both sides of the image, makes four channels of each, and does its steps; then half of the
    channels are done and the rest go on to the next level (Dinh et al. 2017, section 3.6).

    Arguments:
        image_shape: (C, H, W), H and W multiples of 2^levels.
        levels: At least 1.
        steps: In each level, at least 1.
        width: Channels of the couplings' hidden layers in the first level; twice as many in each level after it.

    Attributes:
        dtype: In which the couplings' convolutions run.
    """

    def __init__(self, image_shape: tuple[int, int, int], levels: int = 2, steps: int = 8, width: int = 64) -> None:
        super().__init__()
        channels, height, breadth = _checked(image_shape, levels)
        self.image_shape, self.latent_size = image_shape, channels * height * breadth
        self.dtype: torch.dtype | None = None
        self.levels = nn.ModuleList()
        for level in range(levels):
            self.levels.append(Level(4 * channels, steps, width << level))
            channels *= 2

    def encode(self, v: Tensor) -> Transformed:
        """Returns z (B, D) of v (B, C, H, W), those numbers first that are done first."""
        rows, done = v.permute(0, 2, 3, 1), []
        log_det = v.new_zeros(v.shape[0])
        for i, level in enumerate(listed(self.levels)):
            rows, own = level.encode(squeezed(rows), self.dtype or v.dtype)
            log_det = log_det + own
            if i < len(self.levels) - 1:
                rows, finished = rows.chunk(2, -1)
                done.append(finished.flatten(1))
        return Transformed(torch.cat([*done, rows.flatten(1)], 1), log_det)

    def decode(self, z: Tensor) -> Tensor:
        """Returns v (B, C, H, W) of z (B, D)."""
        parts = list(torch.split(z, self._sizes(), 1))
        rows = parts.pop().view(z.shape[0], *self._shape(len(self.levels) - 1, is_last=True))
        for i, level in reversed(list(enumerate(listed(self.levels)))):
            rows = unsqueezed(level.decode(rows, self.dtype or z.dtype))
            if i > 0:
                rows = torch.cat([rows, parts.pop().view(rows.shape)], -1)
        return rows.permute(0, 3, 1, 2)

    def freeze(self) -> None:
        """Inverts the matrices of all levels once; see `Level.freeze`."""
        for level in listed(self.levels):
            level.freeze()

    def initialise(self, v: Tensor) -> None:
        """Gives every normalisation the mean and deviation of what comes to it from v (B, C, H, W), B at least 2."""
        rows = v.permute(0, 2, 3, 1)
        for i, level in enumerate(listed(self.levels)):
            rows = level.initialise(squeezed(rows), self.dtype or v.dtype)
            if i < len(self.levels) - 1:
                rows = rows.chunk(2, -1)[0]

    def _shape(self, level: int, is_last: bool) -> tuple[int, int, int]:
        """(H, W, C) of what is done after a level."""
        channels, height, breadth = self.image_shape
        kept = channels * 2 ** (level + 1) * (2 if is_last else 1)
        return height >> (level + 1), breadth >> (level + 1), kept

    def _sizes(self) -> list[int]:
        """How many numbers of z each level leaves."""
        last = len(self.levels) - 1
        return [math.prod(self._shape(level, level == last)) for level in range(last + 1)]


def _checked(image_shape: tuple[int, int, int], levels: int) -> tuple[int, int, int]:
    channels, height, width = image_shape
    multiple = 2**levels
    if height % multiple or width % multiple:
        raise GenpriorError(
            f"{levels} levels need sides that are multiples of {multiple}, got {height}x{width}; choose another "
            "--levels or --size",
            argument="levels",
        )
    return channels, height, width
