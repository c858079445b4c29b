"""The weight of the prior's energy beside the data term, found from the noise. Knows tensors only.

A data term divided by the scale of its noise is -log p(y | z) in nats, the prior's energy is -log p(z): weighted by
that scale the two add up to the posterior. The scale is known, or it is what the residual shows.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from genprior.restoration.fidelity import Fidelity

Weigh = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(who, misfit, weight) of R searches -> new weight (R,)."""

SMALLEST = 1e-6  # for residuals of a thousandth of the range: no noise to speak of
FASTEST = 4.0  # factor by which a weight may change between two looks
QUADRATURE = 64  # points
UNKNOWN = 0.3  # standard deviation that is assumed before the residual shows one


def weight_from_noise(fidelity: Fidelity, counts: Tensor, noise_level: float | None) -> tuple[float, Weigh]:
    """Returns the weight to begin with, and how it follows a search.

    With s the scale of the noise and e the one that the residual shows:

    - e < s: noise is being fitted. The weight grows by sqrt(s / e) until the misfit is that of the noise: the
      discrepancy principle (Morozov 1966).
    - e > s, or s is not known: what the prior cannot represent acts as noise too. The weight is e, under which the
      residual is most likely.

    Arguments:
        fidelity: The data term.
        counts: Number of measurements of each image (B,).
        noise_level: Standard deviation of the noise, at least 0, or None where it is not known.
    """
    known = noise_scale(fidelity, noise_level or 0.0)

    def weigh(who: Tensor, misfit: Tensor, weight: Tensor) -> Tensor:
        shown = fidelity.scale(misfit / counts[who]).clamp_min(SMALLEST)
        wanted = torch.maximum(shown, weight * (known / shown).sqrt()) if known > 0 else shown
        return torch.minimum(torch.maximum(wanted, weight / FASTEST), weight * FASTEST)

    return max(SMALLEST, known or noise_scale(fidelity, UNKNOWN)), weigh


def noise_scale(fidelity: Fidelity, noise_level: float) -> float:
    """Returns the scale of a data term whose residuals are Gaussian of this standard deviation, by quadrature."""
    points, shares = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    truth = torch.full((1, QUADRATURE), 0.5, dtype=torch.float64)
    terms = fidelity(truth, truth + noise_level * torch.from_numpy(points))
    mean = (terms * torch.from_numpy(shares / shares.sum())).sum()
    return float(fidelity.scale(mean))
