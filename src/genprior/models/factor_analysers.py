"""A mixture of factor analysers: a density of images whose covariances are low rank plus diagonal. Imports torch only.

p(x) = sum_c w_c N(x; m_c, W_c W_c^T + diag(n_c)) (Ghahramani & Hinton 1996; Richardson & Weiss 2018, "On GANs and
GMMs", https://arxiv.org/abs/1805.12462). No matrix of D x D is ever made: all goes by the identities of Woodbury.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LowRankCovariance:
    """S = F F^T + diag(n), solved in M r operations a vector (Woodbury; matrix determinant lemma).

    Arguments:
        factors: F (M, r).
        noise: n (M,), above 0.
    """

    def __init__(self, factors: Tensor, noise: Tensor) -> None:
        self.factors, self.noise = factors, noise
        self.weighted = factors / noise[:, None]
        inner = torch.eye(factors.shape[1]).to(factors) + factors.T @ self.weighted
        self.inner = torch.linalg.cholesky(inner)
        self.log_det = noise.log().sum() + 2 * torch.diagonal(self.inner).log().sum()

    def latents(self, v: Tensor) -> Tensor:
        """Returns E[f | F f + e = v] (B, r) for v (B, M), with f standard normal and e of variance n."""
        found: Tensor = torch.cholesky_solve((v @ self.weighted).T, self.inner).T
        return found

    def solve(self, v: Tensor) -> Tensor:
        """Returns S^-1 v (B, M) for v (B, M)."""
        return (v - self.latents(v) @ self.factors.T) / self.noise

    def log_prob(self, v: Tensor) -> Tensor:
        """Returns log N(v; 0, S) (B,)."""
        half = torch.linalg.solve_triangular(self.inner, (v @ self.weighted).T, upper=False)
        square = (v.square() / self.noise).sum(1) - half.square().sum(0)
        found: Tensor = -0.5 * (square + self.log_det + v.shape[1] * math.log(2 * math.pi))
        return found


class FactorAnalysers(nn.Module):
    """K factor analysers of rank r over images of D values.

    Arguments:
        weights: (K,), positive, summing to 1.
        means: (K, D).
        factors: (K, D, r).
        noise: Variances (K, D), above 0.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    noise: Tensor

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor, noise: Tensor) -> None:
        super().__init__()
        for name, value in (("weights", weights), ("means", means), ("factors", factors), ("noise", noise)):
            self.register_buffer(name, value)

    @property
    def count(self) -> int:
        """K."""
        return len(self.weights)

    @property
    def rank(self) -> int:
        """r."""
        return self.factors.shape[2]

    def covariance(self, component: int) -> LowRankCovariance:
        """Returns that of one component."""
        return LowRankCovariance(self.factors[component], self.noise[component])

    def log_joint(
        self, x: Tensor, considered: Tensor | None = None, covariances: Sequence[LowRankCovariance] | None = None
    ) -> Tensor:
        """Returns log w_c + log N(x; c) (B, K) in nats for x (B, D).

        Arguments:
            x: Images.
            considered: Which components of each image (B, K) are worth the time; the others get -inf. None: all.
            covariances: Those of all components, where they are known already.
        """
        parts = torch.full((len(x), self.count), -math.inf, dtype=x.dtype, device=x.device)
        for c in range(self.count):
            rows = slice(None) if considered is None else considered[:, c]
            v = x[rows] - self.means[c]
            if len(v):
                own = self.covariance(c) if covariances is None else covariances[c]
                parts[rows, c] = self.weights[c].log() + own.log_prob(v)
        return parts

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns log p(x) (B,) in nats for x (B, D); a density, so that it may be above 0."""
        return torch.logsumexp(self.log_joint(x), 1)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Returns x (D,), drawn on the CPU."""
        c = int(torch.multinomial(self.weights.float().cpu(), 1, generator=generator))
        return self.drawn(c, generator)

    def drawn(self, component: int, generator: torch.Generator) -> Tensor:
        """Returns x (D,) of one component."""
        f = torch.randn(self.rank, generator=generator, dtype=torch.float32).to(self.means)
        e = torch.randn(self.means.shape[1], generator=generator, dtype=torch.float32).to(self.means)
        return self.means[component] + self.factors[component] @ f + self.noise[component].sqrt() * e

    def cut(self, rank: int) -> "FactorAnalysers":
        """Returns the same with the first `rank` factors; what the others explained becomes noise."""
        kept, lost = self.factors[..., :rank], self.factors[..., rank:]
        return FactorAnalysers(self.weights, self.means, kept, self.noise + lost.square().sum(2))
