"""Which images lie among which: precision, recall, density and coverage, image by image. Knows tensors only."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.errors import GenpriorError

K = 5  # neighbours; that of prdc, for which two sets of one distribution cover each other to 97 %
ROWS = 1000  # of a table of distances at a time
SLACK = 1e-6  # of the longest feature: distances are known no better, and equal ones count as inside


@dataclass(frozen=True)
class Neighbours:
    """What each image contributes; the scores are means.

    Attributes:
        precise: (M,), 1 where a generated image lies in the ball of any real one, else 0.
        recalled: (N,), 1 where a real image lies in the ball of any generated one, else 0.
        density: (M,), in how many real balls a generated image lies, divided by k.
        covered: (N,), 1 where a real image's ball holds any generated one, else 0.
    """

    precise: Tensor
    recalled: Tensor
    density: Tensor
    covered: Tensor


def neighbours(real: Tensor, generated: Tensor, k: int = K) -> Neighbours:
    """Returns which features lie in which balls; a ball reaches to the k-th neighbour in its own set, border included.

    Precision and recall: Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, equation 2. Density and coverage:
    Naeem et al. 2020, https://arxiv.org/abs/2002.09797, equations 5 and 6.

    Arguments:
        real: (N, F), N above k.
        generated: (M, F), M above k.
        k: At least 1.

    Raises:
        GenpriorError: Not more features than k.
    """
    if min(len(real), len(generated)) <= k:
        raise GenpriorError(f"more than {k} images of each kind are needed, got {len(real)} and {len(generated)}")
    x, y = real.double(), generated.double()
    slack = SLACK * float(torch.cat([x.norm(dim=1), y.norm(dim=1)]).max())
    x_radius, y_radius = radii(x, k) + slack, radii(y, k) + slack
    inside, recalled, covered = y.new_zeros(len(y)), [], []
    for rows, radius in zip(torch.split(x, ROWS), torch.split(x_radius, ROWS), strict=True):
        distance = torch.cdist(rows, y)
        in_real = distance <= radius[:, None]
        inside += in_real.sum(0)
        covered.append(in_real.any(1))
        recalled.append((distance <= y_radius).any(1))
    return Neighbours((inside > 0).double(), torch.cat(recalled).double(), inside / k, torch.cat(covered).double())


def radii(x: Tensor, k: int) -> Tensor:
    """Returns the distance (N,) of each feature to the k-th nearest of the others; N above k."""
    parts = [torch.cdist(rows, x).topk(k + 1, largest=False).values[:, -1] for rows in torch.split(x, ROWS)]
    return torch.cat(parts)


def expected_coverage(real: int, generated: int, k: int = K) -> float:
    """Returns the coverage of two sets of one distribution, on average (Naeem et al. 2020, equation 11).

    Example:
        >>> round(expected_coverage(10_000, 10_000), 4)
        0.9688
    """
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (real - i) / (real + generated - i)
    return 1 - missed
