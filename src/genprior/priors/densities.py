"""Densities of latents: how plausible z is, how to draw it, and how it is found. Knows errors and seeds.

`DENSITIES`, at the end, is the place to add one that is fitted to codes (Ghosh et al. 2020, "From Variational to
Deterministic Autoencoders", https://arxiv.org/abs/1903.12436, section 4: ex-post density estimation).
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.seeding import derived_generator, derived_seed

MOST = 8_000  # codes that a mixture is fitted to: enough for ten covariances, and quick
ROUNDS = 12


class Density(Protocol):
    """A distribution over latents z (k,)."""

    def energy(self, z: Tensor) -> Tensor:
        """Returns -log p(z) (B,) in nats, up to a constant, for z (B, k)."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k), count at least 1."""


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
        return torch.randn(count, self.size, generator=generator, dtype=torch.float32)


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
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float32)
        z = torch.empty_like(noise)
        for component, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            rows = which == component  # a factor for each row would take count * k^2 numbers
            z[rows] = mean + noise[rows] @ factor.T
        return z


def whitening(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean (k,) and lower triangular factor (k, k) with codes = mean + factor w, w of mean 0 and covariance I.

    Arguments:
        codes: (N, k), N at least 1; directions that they do not use get a small variance.
    """
    wide = codes.double()
    mean = wide.mean(0)
    centred = wide - mean
    covariance = centred.T @ centred / max(1, len(codes) - 1)
    floor = 1e-6 * torch.diagonal(covariance).mean().clamp_min(1e-12)
    factor = torch.linalg.cholesky(covariance + floor * torch.eye(len(mean), dtype=torch.float64))
    return mean.float(), factor.float()


def fit_mixture(z: Tensor, components: int, seed: int = 0) -> Mixture:
    """Returns the mixture that expectation maximisation finds for z (N, k), by scikit-learn; the same every time.

    Arguments:
        z: Of about unit scale; `MOST` of the rows are used where there are more.
        components: At least 1; no more than there are rows.
        seed: Of the choice of rows and of the first guess.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = torch.randperm(len(z), generator=derived_generator(seed, "mixture"))[:MOST]
    model = GaussianMixture(
        min(components, len(rows)),
        reg_covar=1e-2,  # of unit scale: a component of few codes stays wider than they are
        tol=1e-2,
        max_iter=ROUNDS,
        init_params="k-means++",
        random_state=derived_seed(seed, "mixture") % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few rounds more change no sample that one could see
        model.fit(z[rows].float().numpy())  # float64 takes twice the time for the same mixture
    weights, means = torch.from_numpy(model.weights_), torch.from_numpy(model.means_)
    factors = torch.linalg.cholesky(torch.from_numpy(model.covariances_))
    return Mixture(weights.float(), means.float(), factors.float())


def _mixture(components: int = 10) -> Callable[[Tensor], Density]:
    if not isinstance(components, int) or not 1 <= components <= MOST:
        raise GenpriorError(
            f"option 'components' must be an integer from 1 to {MOST}, got {components}", argument="density"
        )
    return partial(fit_mixture, components=components)


def _gaussian() -> Callable[[Tensor], Density]:
    return lambda z: StandardNormal(z.shape[1])


# Each returns what fits a density to whitened codes (N, k), of mean 0 and covariance I.
DENSITIES: dict[str, Callable[..., Callable[[Tensor], Density]]] = {
    "gaussian": _gaussian,
    "mixture": _mixture,
}
