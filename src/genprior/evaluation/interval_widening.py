"""By which factor intervals would have to be wider, and one that is guaranteed by held-out images. Pure functions."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

PER_IMAGE = ("below", "middle", "above", "x", "radius", "distance")  # of intervals
MOST = 1e6  # of a factor: an interval without width holds nothing, however wide


@dataclass(frozen=True)
class PixelIntervals:
    """Central intervals of pixels, and the truths.

    Attributes:
        below, middle, above: Lower end, median and upper end (N, D).
        x: Truths (N, D).
        nominal: Share of members, draws and truth, that lie inside where draws are right.
        radius: Of the ball around the mean that holds as many draws (N,).
        distance: Of the truth from the mean (N,).
    """

    below: Tensor
    middle: Tensor
    above: Tensor
    x: Tensor
    nominal: float
    radius: Tensor
    distance: Tensor

    @property
    def needed(self) -> Tensor:
        """The factor (N, D) by which an interval must be widened, about its median, to hold the truth."""
        off = self.x - self.middle
        width = torch.where(off > 0, self.above - self.middle, self.middle - self.below)
        return (off.abs() / width.clamp_min(1e-12)).clamp_max(MOST)

    @property
    def needed_by_balls(self) -> Tensor:
        """The factor (N,) by which a ball must grow to hold the truth."""
        return (self.distance / self.radius.clamp_min(1e-12)).clamp_max(MOST)

    def width(self, factor: float) -> float:
        """Returns the mean width of intervals that are wider by a factor; what lies outside of [0, 1] costs nothing."""
        low, high = self.middle - factor * (self.middle - self.below), self.middle + factor * (self.above - self.middle)
        return float((high.clamp(0, 1) - low.clamp(0, 1)).mean())

    def taken(self, rows: Tensor) -> "PixelIntervals":
        """Returns those of some measurements."""
        own = {name: getattr(self, name)[rows] for name in PER_IMAGE}
        return PixelIntervals(nominal=self.nominal, **own)


@dataclass(frozen=True)
class Conformal:
    """Factors from one half of the images, checked on the other.

    Attributes:
        factor: Of pixel intervals.
        ball_factor: Of radii.
        before, after: Share of the pixels inside, on the other half.
        balls_before, balls_after: Share of the truths inside, on the other half.
        cost: Mean width of the intervals after, in units of that before.
    """

    factor: float
    ball_factor: float
    before: float
    after: float
    balls_before: float
    balls_after: float
    cost: float


def intervals_of(x: Tensor, draws: Tensor, level: float) -> PixelIntervals:
    """Returns the central intervals of draws (N, S, C, H, W) of about this level, in (0, 1), and truths (N, C, H, W).

    Ends are order statistics: a right truth lies below the k-th of S draws with probability k / (S + 1).
    """
    flat, truth = draws.flatten(2), x.flatten(1)
    ordered = flat.sort(1).values
    count = flat.shape[1]
    outside = min(max(1, round((1 - level) * (count + 1) / 2)), (count + 1) // 2)
    mean = flat.mean(1)
    # A draw lies nearer to the mean of draws than the truth does, by sqrt((S - 1) / (S + 1)).
    away = (flat - mean[:, None]).norm(dim=2).sort(1).values * math.sqrt((count + 1) / max(1, count - 1))
    nominal = 1 - 2 * outside / (count + 1)
    radius = away[:, min(count, round(nominal * (count + 1))) - 1]
    ends = ordered[:, outside - 1], flat.median(1).values, ordered[:, count - outside]
    return PixelIntervals(*ends, truth, nominal, radius, (truth - mean).norm(dim=1))


def joined(parts: "list[PixelIntervals]") -> PixelIntervals:
    """Returns the intervals of several parts as one."""
    own = {name: torch.cat([getattr(part, name) for part in parts]) for name in PER_IMAGE}
    return PixelIntervals(nominal=parts[0].nominal, **own)


def widening(found: PixelIntervals) -> float:
    """Returns the factor with which intervals hold as many pixels as they promise: above 1 they are too narrow."""
    return _held_by(found.needed.flatten(), found.nominal)


def ball_widening(found: PixelIntervals) -> float:
    """Returns the factor with which balls hold as many truths as they promise: above 1 they are too small."""
    return _held_by(found.needed_by_balls, found.nominal)


def _held_by(needed: Tensor, share: float) -> float:
    """The smallest factor (of those that are needed) with which this share is held."""
    ordered = needed.sort().values
    return float(ordered[min(len(ordered), math.ceil(share * len(ordered))) - 1])


def conformal(found: PixelIntervals) -> Conformal:
    """Returns factors fitted on images of even number, and what they do and cost on the others.

    Balls: a quantile of the factors that truths needed (split conformal; Vovk et al. 2005). Pixels: the smallest factor
    of which the share outside is promised (Angelopoulos et al. 2024, "Conformal risk control",
    https://arxiv.org/abs/2208.02814, equation 4).

    Arguments:
        found: Of at least 4 images that were not learned.
    """
    number = torch.arange(len(found.x))
    fit, check = found.taken(number % 2 == 0), found.taken(number % 2 == 1)
    factor, ball_factor = _controlled(fit), _quantile(fit)
    needed, needed_by_balls = check.needed, check.needed_by_balls
    return Conformal(
        factor,
        ball_factor,
        before=float((needed <= 1).double().mean()),
        after=float((needed <= factor).double().mean()),
        balls_before=float((needed_by_balls <= 1).double().mean()),
        balls_after=float((needed_by_balls <= ball_factor).double().mean()),
        cost=check.width(factor) / max(check.width(1.0), 1e-12),
    )


def _controlled(fit: PixelIntervals) -> float:
    """The smallest factor with (sum of shares outside + 1) / (n + 1) at most what is promised; infinite: none has."""
    needed, count = fit.needed, len(fit.x)
    allowed = (1 - fit.nominal) * (count + 1) - 1  # images whose pixels may all be outside
    if allowed < 0:
        return math.inf
    ordered = needed.flatten().sort().values
    outside = math.floor(allowed * needed.shape[1])  # pixels
    return float(ordered[max(0, len(ordered) - 1 - outside)])


def _quantile(fit: PixelIntervals) -> float:
    needed = fit.needed_by_balls.sort().values
    place = math.ceil((len(needed) + 1) * fit.nominal)
    return float(needed[place - 1]) if place <= len(needed) else math.inf
