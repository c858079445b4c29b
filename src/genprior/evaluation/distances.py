"""How far generated features are from real ones. Knows tensors only."""

import torch
from torch import Tensor, nn

ROWS = 1000  # of a table of pairs at a time


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


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Returns the squared kernel distance of features, without bias: 0 on average for two sets of one distribution.

    MMD^2 with k(x, y) = (x . y / F + 1)^3 (Binkowski et al. 2018, https://arxiv.org/abs/1801.01401, equation 4):
    mean k over pairs of different real features, plus that of generated ones, less twice the mean over mixed pairs.
    All pairs are used, where libraries draw subsets.

    Arguments:
        real: (N, F), N at least 2.
        generated: (M, F), M at least 2.

    Example:
        >>> kernel_distance(torch.zeros(2, 1), torch.ones(2, 1))
        7.0
    """
    kept = [torch.ones(1, len(x), dtype=torch.bool) for x in (real, generated)]
    return float(kernel_distances(real, generated, kept[0], kept[1]))


def kernel_distances(real: Tensor, generated: Tensor, kept_real: Tensor, kept_generated: Tensor) -> Tensor:
    """Returns the squared kernel distance (R,) of each pair of subsets, as arguments in `frechet_distances`."""
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
