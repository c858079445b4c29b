"""Glow: an invertible network from images to latents (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039).

Activation normalisation, invertible 1x1 convolution and squeezing are those of `normflows`, and so is the mathematics:
the tests hold the network to a plain `normflows` flow with the same weights. What differs is how it is computed.
Activations are rows (B, H, W, C) in float32; a step's normalisation and convolution are one product; the matrices of
all steps of a level are made at once; coupling networks may run in bf16, log-determinants never do; and a frozen
network inverts its matrices once. Imports errors only, and `normflows` where a level is made.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError

BOUND = 2.0  # a coupling scales by exp(-2) to exp(2), so that neither direction divides by next to nothing


class Encoded(NamedTuple):
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

    def encode(self, x: Tensor, dtype: torch.dtype, given: Tensor | None = None) -> Encoded:
        """Returns z (B, H, W, C) of x.

        Arguments:
            x: (B, H, W, C).
            dtype: In which the convolutions run.
            given: (B, F, H, W) of that type, what else they see.
        """
        x1, x2 = x[..., : self.kept], x[..., self.kept :]
        shift, log_scale = self._shift_and_log_scale(x1, dtype, given)
        z = torch.cat([x1, (x2 - shift) * torch.exp(-log_scale)], -1)
        return Encoded(z, -log_scale.flatten(1).sum(1))

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
        from normflows.flows import ActNorm, Invertible1x1Conv

        self.norms = nn.ModuleList(ActNorm((channels, 1, 1)) for _ in range(steps))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.lu is deprecated")  # normflows 1.7.3 calls it once at each start
            self.mixers = nn.ModuleList(Invertible1x1Conv(channels, use_lu=True) for _ in range(steps))
        self.couplings = nn.ModuleList(Coupling(channels, width) for _ in range(steps))
        self._inverses: Tensor | None = None

    def encode(self, x: Tensor, dtype: torch.dtype) -> Encoded:
        """Returns z (B, H, W, C) of x; couplings run in `dtype`."""
        matrices, shifts, log_dets = self._affine()
        log_det = log_dets.sum() * (x.shape[1] * x.shape[2])
        for matrix, shift, coupling in zip(matrices, shifts, listed(self.couplings), strict=True):
            # z = M (x - t), rows times M^T
            x, own = coupling.encode(F.linear(x - shift, matrix), dtype)
            log_det = log_det + own
        return Encoded(x, log_det)

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
            channels = (1, -1, 1, 1)
            norm.t.copy_(x.mean((0, 1, 2)).view(channels))
            norm.s.copy_((x.std((0, 1, 2)) + 1e-6).log().view(channels))
            norm.data_dep_init_done.fill_(1.0)  # no second time by `normflows` itself
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
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
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

    def encode(self, v: Tensor) -> Encoded:
        """Returns z (B, D) of v (B, C, H, W), those numbers first that are done first."""
        rows, done = v.permute(0, 2, 3, 1), []
        log_det = v.new_zeros(len(v))
        for i, level in enumerate(listed(self.levels)):
            rows, own = level.encode(squeezed(rows), self.dtype or v.dtype)
            log_det = log_det + own
            if i < len(self.levels) - 1:
                rows, finished = rows.chunk(2, -1)
                done.append(finished.flatten(1))
        return Encoded(torch.cat([*done, rows.flatten(1)], 1), log_det)

    def decode(self, z: Tensor) -> Tensor:
        """Returns v (B, C, H, W) of z (B, D)."""
        parts = list(torch.split(z, self._sizes(), 1))
        rows = parts.pop().view(len(z), *self._shape(len(self.levels) - 1, is_last=True))
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
