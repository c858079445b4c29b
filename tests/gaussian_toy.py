"""Gaussian images whose posterior is known: x ~ N(0.5, s^2 I), y = x + n, and draws that may be wrong on purpose."""

import torch
from torch import Tensor

from genprior.calibration.rank_statistics import Ranked, ranked

SHAPE = (1, 4, 4)
SPREAD, SIGMA = 0.2, 0.1


def toy(
    count: int = 100, draws: int = 32, seed: int = 0, factor: float = 1.0, offset: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Truths (N, 1, 4, 4), measurements, and draws (N, S, 1, 4, 4).

    Deviations of draws are `factor` times right, and means are off by `offset` deviations.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, *SHAPE, generator=generator)

    x = 0.5 + SPREAD * normal(count)
    y = x + SIGMA * normal(count)
    gain = SPREAD**2 / (SPREAD**2 + SIGMA**2)
    deviation = gain**0.5 * SIGMA
    mean = 0.5 + gain * (y - 0.5) + offset * deviation
    return x, y, mean[:, None] + factor * deviation * normal(count, draws)


def ranked_toy(count: int = 100, seed: int = 0, draws: int = 32, **wrong: float) -> Ranked:
    """Truths of the toy, ranked among their draws."""
    x, y, found = toy(count, draws, seed, **wrong)
    reference = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed + 1))
    return ranked(x, found, reference, misfits(x, y, found), seed=seed)


def misfits(x: Tensor, y: Tensor, draws: Tensor) -> Tensor:
    """|y - x|^2 of truths and draws (N, S + 1)."""
    return (torch.cat([x[:, None], draws], 1) - y[:, None]).flatten(2).square().sum(2)
