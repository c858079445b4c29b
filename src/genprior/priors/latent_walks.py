"""Latents to decode: those of samples, rows from one to the next, and files of them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import SAMPLES_AT_ONCE, LatentPrior
from genprior.stored_files import read_array, read_tensors

LATENTS = "latents"  # their name in files with several tensors, such as those of `invert`
SAME_DIRECTION = 1e-4  # radians, below which a great circle is a straight line


@torch.no_grad()
def decoded(prior: LatentPrior, z: Tensor) -> Tensor:
    """Returns x (B, C, H, W) of latents (B, k); images in [0, 1], points of the plane in their own units."""
    return within_range(torch.cat([prior.decode(part) for part in torch.split(z, SAMPLES_AT_ONCE)]))


def within_range(x: Tensor) -> Tensor:
    """Returns images (B, C, H, W) cut to [0, 1]; points of the plane as they are."""
    return x.clamp(0, 1) if x.shape[2] > 1 else x


def rows_between(z: Tensor, count: int) -> Tensor:
    """Returns rows of latents ((N - 1) count, k), each from one of z (N, k) to the next on a great circle.

    Between normal latents in many dimensions a straight line passes near 0, where there are none; on the sphere the
    length stays typical (Shoemake 1985, https://doi.org/10.1145/325165.325242; White 2016,
    https://arxiv.org/abs/1609.04468).

    Arguments:
        z: N at least 2.
        count: Latents in a row, both ends among them, at least 2.

    Raises:
        GenpriorError: Fewer than two latents.
    """
    if len(z) < 2:
        raise GenpriorError(f"leads from one latent to the next and needs two, got {len(z)}", argument="interpolate")
    shares = torch.linspace(0, 1, count, dtype=z.dtype)[:, None]
    return torch.cat([_between(a, b, shares) for a, b in pairwise(z)])


def _between(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    lengths = (a.norm() * b.norm()).clamp_min(1e-12)
    angle = torch.acos((a @ b / lengths).clamp(-1, 1))
    if float(torch.sin(angle)) < SAME_DIRECTION:  # or opposite ones, which no great circle is the shortest between
        return (1 - shares) * a + shares * b
    return (torch.sin((1 - shares) * angle) * a + torch.sin(shares * angle) * b) / torch.sin(angle)


def read_latents(path: Path, size: int) -> Tensor:
    """Returns z (N, k) float32 from a file: an array .npy, or safetensors with one tensor or one named latents.

    Arguments:
        path: Of the file.
        size: k that the prior has.

    Raises:
        GenpriorError: No such file, something else in it, another k, or values that are not finite.
    """
    try:
        z = torch.as_tensor(_stored(path))
    except GenpriorError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        raise _fault(f"cannot read {path} as latents: {reason}") from error
    if z.ndim != 2 or not len(z) or z.shape[1] != size or not z.is_floating_point():
        raise _fault(f"{path}: expected floats (N, {size}), the latents of this run, got {tuple(z.shape)} of {z.dtype}")
    if not bool(torch.isfinite(z).all()):
        raise _fault(f"{path}: {int((~torch.isfinite(z)).sum())} of {z.numel()} values are not finite")
    return z.to(torch.float32)


def _stored(path: Path) -> Any:  # noqa: ANN401 - an array or a tensor
    import numpy as np

    if path.suffix.lower() == ".npy":
        return np.array(read_array(path))
    if path.suffix.lower() != ".safetensors":
        raise _fault(f"expected a file that ends in .npy or .safetensors, got {path}")
    tensors = read_tensors(path)
    if LATENTS not in tensors and len(tensors) != 1:
        found = ", ".join(sorted(tensors)) or "none"
        raise _fault(f"{path}: expected a tensor named {LATENTS}, or one alone, got {found}")
    return tensors.get(LATENTS, next(iter(tensors.values())))


def _fault(what: str) -> GenpriorError:
    return GenpriorError(what, argument="latents")
