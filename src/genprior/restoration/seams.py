"""Known pixels back in their place, and what is filled in fitted to them at the border. Knows tensors only."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genprior.errors import GenpriorError


@torch.no_grad()
def with_known_pixels(x: Tensor, given: Tensor, known: Tensor) -> Tensor:
    """Returns an image (C, H, W) that is `given` where pixels are known, and x without a seam elsewhere.

    In the hole x gets a correction h that equals given - x at the known pixels around it, and is as smooth as can be
    inside: Laplace's equation, so that the gradients in the hole stay those of x as far as possible (Perez, Gangnet &
    Blake 2003, https://doi.org/10.1145/882262.882269). Neighbours are the four at the sides.

    Arguments:
        x: A restored image (C, H, W).
        given: The image (C, H, W) whose known pixels count; what stands elsewhere does not matter.
        known: (H, W) bool, some of it true.

    Raises:
        GenpriorError: No known pixel, or another shape.
    """
    if x.shape != given.shape or known.shape != x.shape[1:] or not bool(known.any()):
        raise GenpriorError(
            f"expected images {tuple(x.shape)} and (H, W) with known pixels, got {tuple(given.shape)} and "
            f"{tuple(known.shape)} with {int(known.sum())}",
            argument="known",
        )
    hole = ~known.numpy()
    pasted = torch.where(known, given, x)
    if not hole.any():
        return pasted
    off = (pasted - x).double().numpy()
    correction = torch.from_numpy(_smooth_correction(off, hole)).to(x)
    pasted[:, ~known] = (x[:, ~known] + correction).clamp(0, 1)
    return pasted


def _smooth_correction(off: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """h (C, pixels of the hole): the sum over neighbours q of h_p - h_q is 0; at known pixels h is `off`."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    diagonal = np.zeros(int(hole.sum()))
    target = np.zeros((len(diagonal), len(off)))
    pairs = []
    for axis in (0, 1):
        one, other = (
            np.take(number, np.arange(number.shape[axis])[part], axis) for part in (slice(-1), slice(1, None))
        )
        here, there = (
            np.take(off, np.arange(number.shape[axis])[part], axis + 1) for part in (slice(-1), slice(1, None))
        )
        for a, b, beside in ((one, other, there), (other, one, here)):
            np.add.at(diagonal, a[a >= 0], 1.0)
            inside, at_border = (a >= 0) & (b >= 0), (a >= 0) & (b < 0)
            pairs.append((a[inside], b[inside]))
            np.add.at(target, a[at_border], beside[:, at_border].T)
    rows, columns = (np.concatenate(each) for each in zip(*pairs, strict=True))
    places = np.arange(len(diagonal))
    values = np.concatenate([diagonal, np.full(len(rows), -1.0)])
    where = (np.concatenate([places, rows]), np.concatenate([places, columns]))
    solution: NDArray[np.float64] = splu(coo_array((values, where)).tocsc()).solve(target)
    return solution.T
