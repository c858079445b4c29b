"""How far the distribution function of even ranks strays by chance: simultaneous bands. Pure functions."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from genprior.seeding import derived_generator

SIMULATED = 2000
POINTS = 50  # most, at which the function is looked at
LEVEL = 0.95  # of functions of even ranks that stay in the bands everywhere


def places(members: int) -> Tensor:
    """Returns numbers of places (K,), from 1 to members - 1, below which ranks are counted."""
    count = min(members - 1, POINTS)
    return torch.linspace(1, members - 1, count).round().long()  # no two are the same: steps are at least 1


def ecdf(ranks: Tensor, members: int) -> Tensor:
    """Returns the share of ranks (N,) or (N, F) below each of `places` (K,) or (K, F)."""
    return torch.stack([(ranks < place).double().mean(0) for place in places(members)])


@cache
def band(count: int, members: int, level: float = LEVEL) -> tuple[Sequence[float], Sequence[float]]:
    """Returns the lowest and the highest share below each of `places` that even ranks have, all at once.

    The band is made of binomial intervals of one level gamma each, gamma such that it holds everywhere at once
    (Säilynoja, Bürkner & Vehtari 2022, "Graphical test for discrete uniformity", https://arxiv.org/abs/2103.10522,
    section 2.2).

    Arguments:
        count: N, ranks that are looked at.
        members: Among which they are ranks.
        level: Of N even ranks, how often all of the function lies in the band.
    """
    from scipy.stats import binom

    at = places(members)
    generator = derived_generator(0, "even ranks")
    ranks = torch.randint(members, (count, SIMULATED), generator=generator)
    below = (ecdf(ranks, members) * count).round().long().numpy()
    t = (at / members).double().numpy()
    # Equations 9 to 11: the smallest two-sided tail of a simulated function anywhere.
    tails = binom.cdf(below, count, t[:, None]), binom.sf(below - 1, count, t[:, None])
    smallest = torch.tensor(2 * tails[0]).minimum(torch.tensor(2 * tails[1])).amin(0)
    # Tails of whole numbers are few: the one at the quantile stays inside.
    gamma = float(torch.quantile(smallest, 1 - level, interpolation="lower")) * (1 - 1e-9)
    low, high = binom.ppf(gamma / 2, count, t) / count, binom.isf(gamma / 2, count, t) / count
    return tuple(low.tolist()), tuple(high.tolist())
