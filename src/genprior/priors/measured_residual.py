"""What a linear measurement sees of images beside a prior's range, and draws of it. Knows residuals and linear maps."""

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.range_residual import RangeResidual
from genprior.priors.gaussian_posterior import LinearMap


class MeasuredResidual:
    """The residual seen by a linear operator with Gaussian noise, one image's.

    Arguments:
        residual: Of images.
        A: The operator.
        sigma: Standard deviation of the noise, above 0.

    Raises:
        GenpriorError: The operator has more measurements than a dense matrix of them has room for.
    """

    def __init__(self, residual: RangeResidual, A: LinearMap, sigma: float) -> None:
        self.residual, self.A, self.sigma = residual, A, sigma
        if A.diagonal is None and A.matrix is None:
            raise GenpriorError("beside a residual at most 2,048 numbers are measured of an image", argument="draws")
        wide = A.forward(residual.factors.T).T.double()
        if A.diagonal is not None:
            covariance = wide @ wide.T + torch.diag((A.diagonal.square() * residual.noise).double())
        else:
            assert A.matrix is not None
            spread = (A.matrix * residual.noise.sqrt()).double()
            covariance = wide @ wide.T + spread @ spread.T
        unit = torch.eye(len(covariance)).to(covariance)
        factor = torch.linalg.cholesky(covariance + sigma**2 * unit)
        self.whiten = torch.linalg.solve_triangular(factor, unit, upper=False).to(residual.noise)  # W^T W = S^-1

    def whitened(self, v: Tensor) -> Tensor:
        """Returns W v (B, M), which has covariance 1 where v is residual and noise."""
        white: Tensor = v @ self.whiten.T
        return white

    def added(self, x: Tensor, y: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
        """Returns x + d (S, C, H, W), d drawn given x and a measurement (Hoffman & Ribak 1991).

        Arguments:
            x: G(z) (S, C, H, W).
            y: The measurement (M,).
            scale: Of the covariance of residual and noise with each draw (S,); 1 for what was learned.
            generator: All that is random comes from it.
        """
        root = scale.sqrt()[:, None]
        d = root * self.residual.drawn(len(x), generator).to(x)
        n = root * self.sigma * torch.randn(len(x), len(y), generator=generator).to(x)
        off = y - self.A.forward(x.flatten(1) + d) - n
        return x + (d + self.residual.applied(self.A.adjoint(self.whitened(off) @ self.whiten))).view(x.shape)
