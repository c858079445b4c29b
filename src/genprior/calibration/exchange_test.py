"""Whether truths can be told from draws: exact tests, many at once, of which one false-alarm rate is known.

If draws are right, any member of a measurement might have been its truth. So each statistic is held against the same
statistic of members taken at random in the place of the truths. That is exact for any statistic, any dependence of
pixels and any number of images, and all tests together keep one rate: of each replicate only the statistic that stands
out most is looked at (Westfall & Young 1993, "Resampling-Based Multiple Testing").
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.calibration.rank_statistics import Ranked
from genprior.seeding import derived_generator

REPLICATES = 2000
AT_ONCE = 250


@dataclass(frozen=True)
class Exchanged:
    """What the tests say.

    Attributes:
        z: By test, how many deviations of the replicates the truths stand above them.
        p: By test, share of the replicates that stand out as much, in (0, 1].
        together: The same of the test that stands out most.
    """

    z: dict[str, float]
    p: dict[str, float]
    together: float


def exchanged(found: Ranked, seed: int, replicates: int = REPLICATES) -> Exchanged:
    """Returns whether the truths stand out among their draws.

    Arguments:
        found: Members of N measurements, at least 2, ranked.
        seed: Of the members that take the place of truths.
        replicates: How often they do; no p is smaller than 1 / (replicates + 1).
    """
    generator = derived_generator(seed, "exchange")
    chosen = torch.randint(found.members, (replicates + 1, found.count), generator=generator)
    chosen[0] = 0  # the truths themselves
    parts = [statistics_of(found, part) for part in torch.split(chosen, AT_ONCE)]
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    z = {name: (each - each.mean()) / each.std().clamp_min(1e-12) for name, each in values.items()}
    largest = torch.stack(list(z.values())).amax(0)
    return Exchanged({name: float(each[0]) for name, each in z.items()}, _shares(z), _share(largest))


def _shares(z: dict[str, Tensor]) -> dict[str, float]:
    return {name: _share(each) for name, each in z.items()}


def _share(values: Tensor) -> float:
    """The share of values (R,) that are at least the first."""
    return float((values >= values[0]).double().mean())


def statistics_of(found: Ranked, chosen: Tensor) -> dict[str, Tensor]:
    """Returns, by test, how far the chosen members are from being ordinary (R,); 0 at best.

    Arguments:
        found: Members of N measurements, ranked.
        chosen: Which member stands for the truth in each replicate (R, N).
    """
    row = torch.arange(found.count)
    values = {}
    for name, ranks in found.ranks.items():
        u = (ranks.cpu()[row, chosen] + 0.5) / found.members  # (R, N, F), each even in (0, 1)
        values[f"{name}: evenly spread"] = _farthest(u, found.members).amax(1)
        values[f"{name}: not too far out"] = ((2 * u - 1).square().mean((1, 2)) - _even(found.members)).abs()
    inside = found.inside.cpu()[row, chosen].mean(1) - torch.tensor(found.nominal)
    values["pixels in intervals"] = inside.abs().amax(1)
    return values


def _even(members: int) -> float:
    """E (2 u - 1)^2 of places in the middle of `members` equal parts of (0, 1)."""
    return (1 - 1 / members**2) / 3


def _farthest(u: Tensor, members: int) -> Tensor:
    """Largest |F_N(t) - t| / sqrt(t (1 - t)) (R, F) of u (R, N, F), over t between the places of members."""
    t = torch.linspace(0, 1, min(members, 20) + 1)[1:-1]
    share = torch.stack([(u < each).float().mean(1) for each in t])
    expected = torch.stack([((torch.arange(members) + 0.5) / members < each).float().mean() for each in t])
    scale = (expected * (1 - expected)).sqrt().clamp_min(1e-6)
    return ((share - expected[:, None, None]).abs() / scale[:, None, None]).amax(0)
