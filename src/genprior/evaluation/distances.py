"""Where generated features lie: how far from real ones, in which neighbourhoods, and on which training images.

Memorisation: the distance to the nearest training image alone is no sign, as typical samples live where training images
are dense, and blurred ones near all of them. It is therefore measured in units of how far that training image is from
its own nearest neighbour (the authenticity of Alaa et al. 2022, https://arxiv.org/abs/2102.08921, section 4.3), and the
scale is set by real images that no training has seen, as in Meehan et al. 2020, https://arxiv.org/abs/2004.05675.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.images import to_float

ROWS = 1000  # of a table of pairs at a time
K = 5  # neighbours; that of prdc, for which two sets of one distribution cover each other to 97 %
SLACK = 1e-6  # of the longest feature: distances are known no better, and equal ones count as inside
TAIL = 0.01
SPARE = 8  # candidates beyond those wanted, as a table of products rounds


class _Given(nn.Module):
    """Features in, features out."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """Returns the Fréchet distance of two Gaussians fitted to features; lower is better, 0 for equal ones.

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)) with means m and covariances C (Heusel et al. 2017,
    https://arxiv.org/abs/1706.08500, equation 6). It falls with the number of samples: compare at equal numbers, and
    beside the distance of real images to other real images.

    Arguments:
        real: (N, F), N at least 2.
        generated: (M, F), M at least 2.

    Example:
        >>> x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(x, x + torch.tensor([3.0, 4.0, 0.0])), 3)
        25.0
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return float(metric.compute())


def frechet_distances(real: Tensor, generated: Tensor, kept_real: Tensor, kept_generated: Tensor) -> Tensor:
    """Returns the Fréchet distance (R,) of each pair of subsets.

    Arguments:
        real: (N, F).
        generated: (M, F).
        kept_real: bool (R, N), at least 2 of them in each row.
        kept_generated: bool (R, M), at least 2 of them in each row.
    """
    pairs = zip(kept_real, kept_generated, strict=True)
    return torch.tensor([frechet_distance(real[first], generated[second]) for first, second in pairs])


def kernel_distances(real: Tensor, generated: Tensor, kept_real: Tensor, kept_generated: Tensor) -> Tensor:
    """Returns the squared kernel distance (R,) of each pair of subsets, without bias: it may be below 0.

    MMD^2 with k(x, y) = (x . y / F + 1)^3 (Binkowski et al. 2018, https://arxiv.org/abs/1801.01401, equation 4):
    mean k over pairs of different real features, plus that of generated ones, less twice the mean over mixed pairs.
    All pairs are used, where libraries draw subsets. Arguments are those of `frechet_distances`.

    Example:
        >>> both = torch.ones(1, 2, dtype=torch.bool)
        >>> kernel_distances(torch.zeros(2, 1), torch.ones(2, 1), both, both).item()
        7.0
    """
    x, y = real.double(), generated.double()
    a, b = kept_real.double().T, kept_generated.double().T  # (N, R), (M, R)
    return _mean_of_others(x, a) + _mean_of_others(y, b) - 2 * _kernel_sums(x, y, a, b) / (a.sum(0) * b.sum(0))


def _mean_of_others(x: Tensor, kept: Tensor) -> Tensor:
    """Mean of the kernel over pairs of different features, for each subset (R,)."""
    same = (x.square().sum(1) / x.shape[1] + 1) ** 3  # (N,), each feature with itself
    total = -(same @ kept)
    for first in range(0, len(x), ROWS):
        rows, later = slice(first, first + ROWS), slice(first + ROWS, None)
        total += _kernel_sums(x[rows], x[rows], kept[rows], kept[rows])
        total += 2 * _kernel_sums(x[rows], x[later], kept[rows], kept[later])  # K is symmetric
    count = kept.sum(0)
    return total / (count * (count - 1))


def _kernel_sums(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a_r^T K b_r for each r (R,), a block of rows of K at a time: memory grows with one side only."""
    total = x.new_zeros(a.shape[1])
    for rows, kept in zip(torch.split(x, ROWS), torch.split(a, ROWS), strict=True):
        inner = rows @ y.T / x.shape[1] + 1
        total += (kept * (inner * inner * inner @ b)).sum(0)
    return total


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


def closeness(x: Tensor, training: Tensor) -> Tensor:
    """Returns d / (d + s) in [0, 1] (B,): 0 for a copy, 1/2 for what is as near as training images are to each other.

    d is the distance to the nearest training feature, s the distance of that one to the nearest of the others.

    Arguments:
        x: (B, F).
        training: (N, F), N at least 2.
    """
    index = _nearest(x, training)
    d = (x - training[index]).norm(dim=1)
    found, place = torch.unique(index, return_inverse=True)
    other = _nearest(training[found], training, without=found)
    s = (training[found] - training[other]).norm(dim=1)[place]
    return torch.nan_to_num(d / (d + s), nan=0.0)  # a copy of what is there twice


def copied_share(held_out: Tensor, judged: Tensor) -> Tensor:
    """Returns the share (...) of samples that are closer to a training image than 99 % of held-out images are.

    0.01 where samples are to the training images as new real images are; 1 where all are copies.

    Arguments:
        held_out: `closeness` of real images that were not trained on (..., N); some hundreds set the scale well.
        judged: `closeness` of samples (..., M).
    """
    return (judged <= torch.quantile(held_out, TAIL, dim=-1, keepdim=True)).double().mean(-1)


def nearest_others(x: Tensor, others: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the distances (B, n) to the nearest of others, nearest first, and their indices (B, n).

    A table of products finds candidates quickly, and their distances are measured anew: a copy has distance 0.

    Arguments:
        x: (B, F).
        others: (N, F), N at least 1; of 8 bits they count as levels / 255. They are read a block of rows at a time.
        count: n, at least 1; N where there are fewer.
    """
    wanted = min(count + SPARE, len(others))
    distances, indices = x.new_empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.int64)
    scale = 1 if others.is_floating_point() else 255
    for first in range(0, len(others), ROWS):
        block = others[first : first + ROWS].to(x.dtype)
        apart = block.square().sum(1) - 2 * scale * (x @ block.T)  # |x - b|^2 without |x|^2, in squares of levels
        distances = torch.cat([distances, apart], 1)
        indices = torch.cat([indices, torch.arange(first, first + len(block)).expand(len(x), -1)], 1)
        distances, places = distances.topk(min(wanted, distances.shape[1]), largest=False)
        indices = indices.gather(1, places)
    exact = torch.stack(
        [(to_float(others[own]).to(x) - each).norm(dim=1) for each, own in zip(x, indices, strict=True)]
    )
    sorted_distances, places = exact.sort(dim=1, stable=True)
    return sorted_distances[:, :count], indices.gather(1, places)[:, :count]


def _nearest(x: Tensor, others: Tensor, without: Tensor | None = None) -> Tensor:
    """Index (B,) of the nearest of `others`, for each x without the one at its index in `without`."""
    found = []
    for first in range(0, len(x), ROWS):
        distance = torch.cdist(x[first : first + ROWS], others)
        if without is not None:
            distance.scatter_(1, without[first : first + ROWS, None], torch.inf)
        found.append(distance.argmin(1))
    return torch.cat(found)
