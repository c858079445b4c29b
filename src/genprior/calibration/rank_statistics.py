"""Where a truth stands among draws of its posterior: ranks of features, and pixels inside of intervals. Pure functions.

If draws are right, the truth is one more draw: nothing tells it from the others (Talts et al. 2018, "Validating
Bayesian inference algorithms with simulation-based calibration", https://arxiv.org/abs/1804.06788). So the truth and
its S draws are S + 1 *members*, and each is ranked among all of them. The truth is member 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.seeding import derived_generator

PROJECTIONS = 16  # random directions
LEVELS = (0.5, 0.8, 0.9, 0.95)  # of intervals, nearly: S draws know multiples of 1 / (S + 1); equal ones stand once


@dataclass(frozen=True)
class Ranked:
    """Members of N measurements, ranked.

    Attributes:
        ranks: By name of a group of features, (N, S + 1, F): places from 0 to S, the truth's first.
        inside: Share of the pixels of each member that lie in the central interval of all members, at each of
            `nominal`, (N, S + 1, L).
        nominal: Share of the members that lie in the interval of a pixel, (L,).
    """

    ranks: dict[str, Tensor]
    inside: Tensor
    nominal: tuple[float, ...]

    @property
    def members(self) -> int:
        """S + 1."""
        return self.inside.shape[1]

    @property
    def count(self) -> int:
        """N."""
        return self.inside.shape[0]

    @classmethod
    def joined(cls, parts: "Sequence[Ranked]") -> "Ranked":
        """Returns measurements of several parts as one."""
        ranks = {name: torch.cat([part.ranks[name] for part in parts]) for name in parts[0].ranks}
        return cls(ranks, torch.cat([part.inside for part in parts]), parts[0].nominal)


def ranked(x: Tensor, draws: Tensor, reference: Tensor, misfit: Tensor, seed: int, first: int = 0) -> Ranked:
    """Returns where truths stand among draws; measurement i's depend on (seed, first + i) and itself alone.

    Arguments:
        x: Truths (N, C, H, W).
        draws: (N, S, C, H, W).
        reference: Points (N, C, H, W) that know nothing of the truths, from which distances are measured.
        misfit: |y - A x|^2 of the truth and of each draw (N, S + 1). It alone knows y: draws of the prior, which ignore
            y, pass all other tests (Modrák et al. 2023, https://arxiv.org/abs/2211.02383).
        seed: Of directions, and of the order of members that are equal.
        first: Number of the first measurement.
    """
    members = torch.cat([x[:, None], draws.to(x)], 1)
    order = _orders(len(x), members.shape[1], seed, first).to(x.device)
    features = _features(members, reference.to(x), seed) | {"measurements": misfit.to(x)[:, :, None]}
    ranks = {name: ranks_of(values, order) for name, values in features.items()}
    counts = sorted({_held(level, members.shape[1]) for level in LEVELS})
    each = [_inside(one[None], own[None], counts)[0] for one, own in zip(members.flatten(2), order, strict=True)]
    return Ranked(ranks, torch.stack(each), tuple(count / members.shape[1] for count in counts))


def ranks_of(values: Tensor, order: Tensor) -> Tensor:
    """Returns the place (N, M, F), from 0 to M - 1, of each member's value among all; of equal ones by a given order.

    Arguments:
        values: (N, M, F).
        order: A random order of the members of each measurement (N, M), a permutation.
    """
    at = order[:, :, None].expand_as(values)
    places = torch.argsort(torch.argsort(values.gather(1, at), dim=1, stable=True), dim=1)
    return torch.empty_like(places).scatter_(1, at, places)


def _orders(count: int, members: int, seed: int, first: int) -> Tensor:
    generators = [derived_generator(seed, "order of members", first + i) for i in range(count)]
    return torch.stack([torch.randperm(members, generator=generator) for generator in generators])


def _features(members: Tensor, reference: Tensor, seed: int) -> dict[str, Tensor]:
    """Numbers (N, M, F) of members (N, M, C, H, W), by the name of their group."""
    flat = members.flatten(2)
    # Draws differ much in some pixels and little in others: each pixel counts by its own deviation.
    centre, spread = flat.mean(1, keepdim=True), flat.std(1, keepdim=True)
    scaled = (flat - centre) / spread.clamp_min(torch.finfo(flat.dtype).eps)
    directions = torch.randn(flat.shape[2], PROJECTIONS, generator=derived_generator(seed, "directions")).to(flat)
    return {
        "projections": torch.cat([flat @ directions[:, ::2], scaled @ directions[:, 1::2]], 2),
        "pictures": _picture_numbers(members),
        # Balls around the mean: their radius is a quantile of |draw - mean|. The mean is that of all members, which
        # would otherwise lie nearer to draws than to the truth.
        "balls": torch.stack([(flat - centre).norm(dim=2), scaled.norm(dim=2)], 2),
        # Tests of accuracy with random points, TARP (Lemos et al. 2023, https://arxiv.org/abs/2302.03026, section 3).
        "random points": (flat - reference.flatten(1)[:, None]).norm(dim=2, keepdim=True),
    }


def _picture_numbers(members: Tensor) -> Tensor:
    """Mean, deviation and roughness (N, M, 3) of the pixels of members (N, M, C, H, W)."""
    flat = members.flatten(2)
    steps = [members.diff(dim=dim).square().flatten(2).sum(2) for dim in (3, 4)]
    return torch.stack([flat.mean(2), flat.std(2, correction=0), steps[0] + steps[1]], 2)


def _held(level: float, members: int) -> int:
    """How many of the members lie in a central interval of about this level: as many are left on either side."""
    outside = max(1, round((1 - level) * members / 2))
    return max(1, members - 2 * outside)


def _inside(values: Tensor, order: Tensor, counts: Sequence[int]) -> Tensor:
    """Share (N, M, L) of the pixels (N, M, D) that lie in the central interval of `counts` members."""
    members = values.shape[1]
    places = ranks_of(values, order)
    away = (2 * places - (members - 1)).abs()  # from the middle, in half places
    return torch.stack([(away <= count - 1).float().mean(2) for count in counts], 2)
