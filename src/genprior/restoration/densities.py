"""Densities of latents: how plausible z is, and how to draw it. Knows tensors only."""

from typing import Protocol

import torch
from torch import Tensor


class Density(Protocol):
    """A distribution over latents z (k,)."""

    def energy(self, z: Tensor) -> Tensor:
        """Returns -log p(z) (B,) in nats, up to a constant, for z (B, k)."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k)."""


class StandardNormal:
    """z ~ N(0, I).

    Arguments:
        size: k.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def energy(self, z: Tensor) -> Tensor:
        """Returns |z|^2 / 2 (B,)."""
        return 0.5 * z.square().sum(1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k)."""
        return torch.randn(count, self.size, generator=generator)


class Mixture:
    """A mixture of Gaussians with full covariances.

    Arguments:
        weights: (C,), positive, summing to 1.
        means: (C, k).
        factors: (C, k, k), lower triangular Cholesky factors of the covariances.
    """

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        self.weights, self.means, self.factors = weights, means, factors
        size = means.shape[1]
        eye = torch.eye(size, dtype=factors.dtype).expand_as(factors)
        self.whiteners = torch.linalg.solve_triangular(factors, eye, upper=False)
        log_det = torch.diagonal(factors, dim1=1, dim2=2).log().sum(1)
        # Constants of a standard normal are left out, so that a mixture of one N(0, I) has its energy.
        self.offsets = weights.log() - log_det

    def energy(self, z: Tensor) -> Tensor:
        """Returns -log sum_c w_c N(z; m_c, S_c) - k/2 log 2 pi (B,)."""
        off = torch.einsum("ckl,bcl->bck", self.whiteners.to(z), z[:, None] - self.means.to(z))
        return -torch.logsumexp(self.offsets.to(z) - 0.5 * off.square().sum(2), 1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k)."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        return self.means[which] + torch.einsum("bkl,bl->bk", self.factors[which], noise)


def whitening(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean (k,) and lower triangular factor (k, k) with codes = mean + factor w, w of mean 0 and covariance I.

    Arguments:
        codes: (N, k), N greater than k.
    """
    mean = codes.double().mean(0)
    centred = codes.double() - mean
    covariance = centred.T @ centred / (len(codes) - 1)
    floor = 1e-6 * float(torch.diagonal(covariance).mean().clamp_min(1e-12))  # directions that no code uses
    factor = torch.linalg.cholesky(covariance + floor * torch.eye(len(mean), dtype=torch.float64))
    return mean.float(), factor.float()


def fit_mixture(z: Tensor, components: int, seed: int = 0) -> Mixture:
    """Returns the mixture that expectation maximisation finds for z (N, k), by scikit-learn.

    Arguments:
        z: At most `MOST` rows are used, the first ones.
        components: At least 1.
        seed: Of the first guess.
    """
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        components, reg_covar=1e-3, tol=1e-2, max_iter=50, init_params="k-means++", random_state=seed
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where 50 rounds were not enough, which is no harm
        model.fit(z[:MOST].numpy())
    covariances = torch.from_numpy(model.covariances_)
    means, weights = torch.from_numpy(model.means_), torch.from_numpy(model.weights_)
    return Mixture(weights.float(), means.float(), torch.linalg.cholesky(covariances).float())


MOST = 10_000
