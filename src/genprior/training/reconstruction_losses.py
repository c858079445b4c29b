"""What a made image may cost against a real one. `RECONSTRUCTION_LOSSES`, at the end, is the place to add a loss.

A loss sees made and real images x (B, C, H, W) and returns one value for each image (B,), without any reduction.
Imports nothing of ours.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

ReconstructionLoss = Callable[[Tensor, Tensor], Tensor]
COARSEST = 4  # pixels a side below which a pyramid ends
BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)  # Burt & Adelson 1983's filter with a = 3/8, not normalised


def squared_error(made: Tensor, real: Tensor) -> Tensor:
    """Returns the mean squared error over the values of each image (B,).

    Arguments:
        made, real: (B, C, H, W).

    Example:
        >>> squared_error(torch.zeros(1, 1, 2, 2), torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]]))
        tensor([1.])
    """
    return (made - real).square().flatten(1).mean(1)


def laplacian_error(made: Tensor, real: Tensor) -> Tensor:
    """Returns the Laplacian-pyramid L1 distance of each pair over the number of values in an image (B,).

    sum_j 2^(2j) |L_j(made) - L_j(real)|_1 (Ling & Okada 2006; Bojanowski et al. 2018, https://arxiv.org/abs/1707.05776,
    section 3). A level j has 2^(-2j) as many values as the image: all levels count alike, edges and brightness.

    Arguments:
        made, real: (B, C, H, W).
    """
    levels = laplacian_pyramid(made - real)  # it is linear, so that of the difference will do
    total = torch.stack([4.0**j * level.abs().flatten(1).sum(1) for j, level in enumerate(levels)]).sum(0)
    return total / made[0].numel()


def laplacian_pyramid(x: Tensor) -> list[Tensor]:
    """Returns the levels L_0, L_1 ... of images x (B, C, H, W), the finest first and the blurred rest last.

    L_j = g_j - E g_(j+1) with g_0 = x and g_(j+1) = R g_j, R blurring and halving, E enlarging again (Burt & Adelson
    1983, equations 1 to 4). Level j has sides of H / 2^j and W / 2^j, rounded up.
    """
    levels = []
    while min(x.shape[2:]) > COARSEST:
        smaller = _mapped(x, reduction)
        levels.append(x - _mapped(smaller, expansion, x.shape[2:]))
        x = smaller
    return [*levels, x]


def reduction(size: int) -> Tensor:
    """Returns R (ceil(size / 2), size): every other value of the blurred ones; at an edge the filter is cut off."""
    apart = torch.arange(size) - 2 * torch.arange((size + 1) // 2)[:, None]
    return _normalised(apart)


def expansion(size: int) -> Tensor:
    """Returns E (size, ceil(size / 2)), which puts the values two apart and blurs what lies between."""
    apart = torch.arange(size)[:, None] - 2 * torch.arange((size + 1) // 2)
    return _normalised(apart)


def _normalised(apart: Tensor) -> Tensor:
    """Filter values at these distances, each row with the sum 1, so that a flat image stays as it is."""
    taps = torch.tensor(BINOMIAL, dtype=torch.float64)
    values = torch.where(apart.abs() <= 2, taps[(apart + 2).clamp(0, 4)], 0.0)
    return values / values.sum(1, keepdim=True)


@lru_cache(maxsize=64)
def _matrix(kind: Callable[[int], Tensor], size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return kind(size).to(device, dtype)


def _mapped(x: Tensor, kind: Callable[[int], Tensor], sides: torch.Size | None = None) -> Tensor:
    """Rows and columns, each by its matrix; `sides` are the larger ones, which name the matrices."""
    height, width = sides or x.shape[2:]
    rows, columns = (_matrix(kind, side, x.dtype, x.device) for side in (height, width))
    return rows @ x @ columns.T


# Each takes made and real x (B, C, H, W), in at least float32, and returns (B,).
RECONSTRUCTION_LOSSES: dict[str, Callable[[], ReconstructionLoss]] = {
    "l2": lambda: squared_error,
    "laplacian": lambda: laplacian_error,
}
