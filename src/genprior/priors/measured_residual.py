"""What a linear measurement sees of images beside a prior's range, and draws of it. Knows residuals and linear maps."""

import torch
from torch import Tensor

from genprior.models.range_residual import RangeResidual
from genprior.priors.gaussian_posterior import LinearMap


class MeasuredResidual:
    """The residual seen by a linear operator with Gaussian noise, one image's.

    Its covariance S is diagonal but for some directions where the operator scales each value by itself, and dense else.

    Arguments:
        residual: Of images.
        A: The operator, one that `has_room` takes.
        sigma: Standard deviation of the noise, above 0.
        with_grain: Whether images get what each pixel has by itself; without it they only have what pixels share.
    """

    def __init__(self, residual: RangeResidual, A: LinearMap, sigma: float, with_grain: bool = True) -> None:
        self.residual, self.A, self.sigma = residual, A, sigma
        self._added, self._hidden = residual, RangeResidual(residual.factors[:, :0], torch.zeros_like(residual.noise))
        if not with_grain:
            self._added, self._hidden = residual.directions, residual.grain
        wide = A.forward(residual.factors.T).T.double()
        if A.diagonal is not None:
            self._whiten: _Whitening = _LowRank(wide, (A.diagonal.square() * residual.noise).double() + sigma**2)
        else:
            assert A.matrix is not None
            spread = (A.matrix * residual.noise.sqrt()).double()
            self._whiten = _Dense(wide @ wide.T + spread @ spread.T + sigma**2 * torch.eye(len(wide)).to(wide))

    @staticmethod
    def has_room(A: LinearMap) -> bool:
        """Returns whether S fits: of an operator that mixes values, at most 2,048 numbers are measured."""
        return A.diagonal is not None or A.matrix is not None

    def whitened(self, v: Tensor) -> Tensor:
        """Returns W v (B, M) with W^T W = S^-1, which has covariance 1 where v is residual and noise."""
        return self._whiten.times(v)

    @property
    def parameters(self) -> float:
        """How many numbers of a measurement the residual explains: M - sigma^2 tr S^-1."""
        return len(self.A.forward(self.residual.noise[None])[0]) - self.sigma**2 * self._whiten.inverse_trace

    def expected(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns x + E[d | x, y] (S, C, H, W), of images x = G(z) and a measurement y (M,)."""
        return x + self._explained(y - self.A.forward(x.flatten(1))).view(x.shape)

    def added(self, x: Tensor, y: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
        """Returns x + d (S, C, H, W), d drawn given x and a measurement (Hoffman & Ribak 1991).

        Arguments:
            x: G(z) (S, C, H, W).
            y: The measurement (M,).
            scale: Of the covariance of residual and noise with each draw (S,); 1 for what was learned.
            generator: All that is random comes from it.
        """
        root = scale.sqrt()[:, None]
        d, hidden = (root * part.drawn(len(x), generator).to(x) for part in (self._added, self._hidden))
        n = root * self.sigma * torch.randn(len(x), len(y), generator=generator).to(x)
        off = y - self.A.forward(x.flatten(1) + d + hidden) - n
        return x + (d + self._explained(off)).view(x.shape)

    def _explained(self, off: Tensor) -> Tensor:
        """E[d | A d + n = off] (S, D), D A^T S^-1 off, of what images get."""
        return self._added.applied(self.A.adjoint(self._whiten.transposed_times(self.whitened(off))))


class _Dense:
    """W = L^-1 for S = L L^T."""

    def __init__(self, covariance: Tensor) -> None:
        unit = torch.eye(len(covariance)).to(covariance)
        self.inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), unit, upper=False)
        self.inverse_trace = float(self.inverse.square().sum())

    def times(self, v: Tensor) -> Tensor:
        found: Tensor = v @ self.inverse.to(v).T
        return found

    def transposed_times(self, v: Tensor) -> Tensor:
        found: Tensor = v @ self.inverse.to(v)
        return found


class _LowRank:
    """W = (I + B B^T)^(-1/2) N^(-1/2) for S = N + F F^T with N diagonal and B = N^(-1/2) F = U diag(s) V^T.

    The root is I + U diag((1 + s^2)^(-1/2) - 1) U^T, so nothing of size M x M is made.
    """

    def __init__(self, factors: Tensor, noise: Tensor) -> None:
        root = noise.sqrt()
        u, s, _ = torch.linalg.svd(factors / root[:, None], full_matrices=False)
        self.root, self.u = root, u
        self.shrink = (1 + s.square()).rsqrt() - 1
        along = s.square() / (1 + s.square())  # (I + B B^T)^-1 is I - U diag(this) U^T
        self.inverse_trace = float((1 / noise).sum() - (u.square() / noise[:, None] * along).sum())

    def times(self, v: Tensor) -> Tensor:
        return self._shrunk(v / self.root.to(v))

    def transposed_times(self, v: Tensor) -> Tensor:
        return self._shrunk(v) / self.root.to(v)

    def _shrunk(self, v: Tensor) -> Tensor:
        u = self.u.to(v)
        found: Tensor = v + (v @ u * self.shrink.to(v)) @ u.T
        return found


_Whitening = _Dense | _LowRank
