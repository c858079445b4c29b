"""How far generated features are from real ones. Knows tensors only."""

import torch
from torch import Tensor, nn


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
