"""What is left of measurements once A x of the truth is taken off: does it look like the noise? Pure functions.

Where the truth x is known, r = (y - A x) / sigma needs no prior and no sampler. With the right operator and noise level
it is standard normal: of size 1, white, and without a trace of the image. A wrong level changes its size alone. A wrong
operator leaves something of the image in it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.seeding import derived_generator

REPLICATES = 4000
BLANK = 1e-6  # a measurement that the operator sends to 0 holds no noise, and nothing else


@dataclass(frozen=True)
class Residuals:
    """What residuals look like.

    Attributes:
        size: Root mean square of r over measured values; 1 with the right noise level.
        size_p: How probable a size so far from 1 is with it.
        image_p: How probable so much dependence on the images is without any.
        neighbours: Correlation of r of neighbours; None where measurements are no pictures.
        neighbours_p: How probable one so far from 0 is in white noise; 1 where there are no neighbours.
        filled: Share of the values that the operator sends to 0 at which y is not 0; 0 with the right operator.
    """

    size: float
    size_p: float
    image_p: float
    neighbours: float | None
    neighbours_p: float
    filled: float


def residuals(y: Tensor, clean: Tensor, x: Tensor, sigma: float, seed: int, masks: Tensor | None = None) -> Residuals:
    """Returns what is left of measurements of known images.

    Arguments:
        y: Measurements (N, ...), N at least 2.
        clean: A x of the truths, the same shape.
        x: Truths (N, C, H, W).
        sigma: Standard deviation of the noise, above 0.
        seed: Of the signs by which dependence is judged.
        masks: 1 where there is a measurement, 0 where the operator gives 0 and no noise; (1 or N, ...). None: all 1.
    """
    known = torch.ones_like(y) if masks is None else masks.to(y).expand_as(y)
    blank = known < 0.5
    filled = float((y[blank].abs() > BLANK).double().mean()) if bool(blank.any()) else 0.0
    r = ((y - clean) / sigma * known).double()
    count = int(known.sum())
    total = float(r.square().sum())
    correlation, neighbours_p = _neighbours(r, known.double()) if y.ndim == 4 else (None, 1.0)
    image_p = _dependence(r.flatten(1), clean.flatten(1).double(), x.flatten(1).double(), seed)
    return Residuals(math.sqrt(total / count), _size_p(total, count), image_p, correlation, neighbours_p, filled)


def _size_p(total: float, count: int) -> float:
    """Two-sided: the sum of squares of `count` standard normal values is chi-square."""
    from scipy.stats import chi2

    return min(1.0, 2 * float(min(chi2.cdf(total, count), chi2.sf(total, count))))


def _neighbours(r: Tensor, known: Tensor) -> tuple[float, float]:
    """Correlation of r (N, C, H, W) of neighbours, and its two-sided p: of white noise it is N(0, 1 / pairs)."""
    pairs = [(r[..., 1:, :] * r[..., :-1, :], known[..., 1:, :] * known[..., :-1, :])]
    pairs.append((r[..., 1:] * r[..., :-1], known[..., 1:] * known[..., :-1]))
    count = sum(float(both.sum()) for _, both in pairs)
    power = float(r.square().sum() / known.sum())
    if count == 0 or power == 0:
        return 0.0, 1.0
    found = sum(float(product.sum()) for product, _ in pairs) / count / power
    return found, math.erfc(abs(found) * math.sqrt(count / 2))


def _dependence(r: Tensor, clean: Tensor, x: Tensor, seed: int) -> float:
    """The p of three traces of the image in r (N, M) together: of A x in it, of images alike, of all images.

    Noise is as likely as its negative, whatever its size and shape: the same with random signs of whole measurements is
    what chance gives. Of the three the one that stands out most counts.
    """
    along = (r * clean).sum(1) / clean.norm(dim=1).clamp_min(1e-12)
    off = x - x.mean(0)
    alike = r @ r.T
    alike.fill_diagonal_(0)
    kernel = off @ off.T / off.square().sum().clamp_min(1e-12)
    signs = 2.0 * torch.randint(2, (REPLICATES + 1, len(r)), generator=derived_generator(seed, "signs")).double() - 1
    signs[0] = 1
    signs = signs.to(r)
    traces = [(signs @ along).abs()]
    traces += [(signs @ (alike * each) * signs).sum(1) for each in (kernel, torch.ones_like(kernel))]
    z = torch.stack([(each - each.mean()) / each.std().clamp_min(1e-12) for each in traces]).amax(0)
    return float((z >= z[0]).double().mean())
