"""What a mixture of Gaussians says of images of which something linear was measured. Knows models and seeds.

With y = A x + s n, a component N(m, S) has the evidence N(y; A m, A S A^T + s^2) and the posterior mean
m + S A^T (A S A^T + s^2)^-1 (y - A m). Where A scales each value alone (masks), its covariance stays low rank plus
diagonal; where A is a small matrix, it is one, too. Others are solved by conjugate gradients.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.memory import refuse_beyond_memory
from genprior.models.factor_analysers import FactorAnalysers, LowRankCovariance
from genprior.priors.contracts import Posterior
from genprior.seeding import derived_generator

MOST_MEASUREMENTS, MOST_ENTRIES = 2048, 2**24  # of a matrix that is small
AT_ONCE = 512  # images that an operator is applied to
PROBES = 16
ITERATIONS, TOLERANCE = 100, 1e-5  # of conjugate gradients


class LinearMap:
    """A linear operator on flat images, and what is simple about it.

    Arguments:
        A: Images (R, C, H, W) -> measurements (R, ...), linear, differentiable; such as `physics.A` of deepinv.
        image_shape: (C, H, W).
        like: A tensor of the dtype and device to be computed in.

    Attributes:
        diagonal: Factors (D,) where each value of the image is scaled by itself, else None.
        matrix: (M, D) where it is small and not diagonal, else None.

    Raises:
        GenpriorError: About `A`: it is not linear, such as one that adds noise.
    """

    def __init__(self, A: Callable[[Tensor], Tensor], image_shape: tuple[int, int, int], like: Tensor) -> None:
        self._A, self.image_shape, self.size = A, image_shape, math.prod(image_shape)
        self.diagonal: Tensor | None = None
        self.matrix: Tensor | None = None
        probe = torch.rand(3, self.size, generator=derived_generator(0, "linear map")).to(like)
        probe[0] = 1
        probe[2] = 2 * probe[1] - probe[0]
        seen = self.forward(probe)
        if not torch.allclose(seen[2], 2 * seen[1] - seen[0], rtol=1e-3, atol=1e-3 * float(seen.abs().max())):
            raise GenpriorError(
                "a closed form needs a linear operator without noise, such as physics.A: A(2x - z) is not "
                "2 A(x) - A(z); others are for genprior.restore",
                argument="A",
            )
        self.measurements = seen.shape[1]
        if seen.shape == probe.shape and torch.allclose(seen[1], probe[1] * seen[0]):
            self.diagonal = seen[0]
        elif seen.shape[1] <= MOST_MEASUREMENTS and seen.shape[1] * self.size <= MOST_ENTRIES:
            self.matrix = self.forward(torch.eye(self.size).to(like)).T.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Returns A x (R, M) for x (R, D)."""
        if self.diagonal is not None:
            return x * self.diagonal
        if self.matrix is not None:
            return x @ self.matrix.T
        return torch.cat([self._A(part.view(-1, *self.image_shape)).flatten(1) for part in torch.split(x, AT_ONCE)])

    def adjoint(self, v: Tensor) -> Tensor:
        """Returns A^T v (R, D) for v (R, M)."""
        if self.diagonal is not None:
            return v * self.diagonal
        if self.matrix is not None:
            return v @ self.matrix
        return torch.cat([self._transposed(part) for part in torch.split(v, AT_ONCE)])

    @torch.enable_grad()
    def _transposed(self, v: Tensor) -> Tensor:
        x = v.new_zeros(len(v), *self.image_shape).requires_grad_()
        (found,) = torch.autograd.grad(self._A(x).flatten(1), x, v)
        return found.flatten(1)


class Covariance(Protocol):
    """That of a component's measurements.

    Attributes:
        log_det: Logarithm of its determinant, a scalar.
    """

    log_det: Tensor

    def solve(self, v: Tensor) -> Tensor:
        """Returns S^-1 v (B, M) for v (B, M)."""


class DenseCovariance:
    """S as a small matrix, in float64.

    Arguments:
        matrix: (M, M), positive definite.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.factor = torch.linalg.cholesky(matrix)
        self.log_det = 2 * torch.diagonal(self.factor).log().sum()

    def solve(self, v: Tensor) -> Tensor:
        """Returns S^-1 v (B, M), in the dtype of v."""
        return torch.cholesky_solve(v.to(self.factor).T, self.factor).T.to(v)


class MatrixFreeCovariance:
    """S as a product alone, solved by conjugate gradients from a covariance that is near.

    Arguments:
        apply: v (B, M) -> S v (B, M).
        near: The preconditioner; the determinant, too, is taken from it, and so approximate.
    """

    def __init__(self, apply: Callable[[Tensor], Tensor], near: LowRankCovariance) -> None:
        self.apply, self.near, self.log_det = apply, near, near.log_det

    def solve(self, v: Tensor) -> Tensor:
        """Returns S^-1 v (B, M), each row for itself (Hestenes & Stiefel 1952)."""
        found, left = torch.zeros_like(v), v
        step = toward = self.near.solve(left)
        slope = (left * toward).sum(1, keepdim=True)
        for _ in range(ITERATIONS):
            if bool((left.norm(dim=1) <= TOLERANCE * v.norm(dim=1)).all()):
                break
            through = self.apply(step)
            length = slope / (step * through).sum(1, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)
            found, left = found + length * step, left - length * through
            toward = self.near.solve(left)
            after = (left * toward).sum(1, keepdim=True)
            step, slope = toward + after / slope.clamp_min(torch.finfo(v.dtype).tiny) * step, after
        return found


class MixturePosterior(Posterior):
    """The images that explain measurements, under a mixture of factor analysers and Gaussian noise.

    Arguments:
        model: The mixture.
        A: The operator.
        y: Measurements (B, M).
        sigma: Standard deviations of the noise, one or (M,), above 0.

    Raises:
        GenpriorError: About `y`: not as many numbers as A gives; about `sigma`: not above 0, or not finite.

    Attributes:
        log_evidence: log p(y) (B,) in nats.
        weights: Of the components (B, K).
        means: Of the components (K, B, C, H, W).
        mean: E[x | y] (B, C, H, W).
    """

    def __init__(self, model: FactorAnalysers, A: LinearMap, y: Tensor, sigma: Tensor) -> None:
        if y.shape[1] != A.measurements:
            raise GenpriorError(f"the operator gives {A.measurements} numbers, got {y.shape[1]}", argument="y")
        if not bool(((sigma > 0) & torch.isfinite(sigma)).all()):
            raise GenpriorError("the noise must be above 0 and finite", argument="sigma")
        self._model, self._map, self._y = model, A, y
        self._noise = sigma.to(y).square().expand(y.shape[1])
        found = [self._component(c) for c in range(model.count)]
        joint = torch.stack([evidence for evidence, _ in found], 1) + model.weights.log()
        self.log_evidence = torch.logsumexp(joint, 1)
        self.weights = torch.softmax(joint, 1)
        self.means = torch.stack([mean for _, mean in found]).view(model.count, len(y), *A.image_shape)
        self.mean = torch.einsum("bk,kbchw->bchw", self.weights, self.means)

    def draws(self, count: int, seed: int = 0, numbers: Sequence[int] | None = None) -> Tensor:
        """Returns x (B, count, C, H, W), exact draws; those of measurement i depend on (seed, numbers[i]) alone.

        A draw of a component and of its measurement is moved to the measurement that was made (Hoffman & Ribak 1991).

        Raises:
            GenpriorError: About `count`: it is below 1, or beyond the memory that is free.
        """
        if count < 1:
            raise GenpriorError(f"must be at least 1, got {count}", argument="count")
        numbers_of_a_draw = self._map.size + 2 * self._y.shape[1]
        need = len(self._y) * count * numbers_of_a_draw * self._y.element_size()
        refuse_beyond_memory(need, f"{count} draws of {len(self._y)} images", "count", "ask for fewer")
        model, shape = self._model, self._map.image_shape
        x = self._y.new_empty(len(self._y), count, math.prod(shape))
        generators = [derived_generator(seed, "posterior", i) for i in numbers or range(len(x))]
        pairs = zip(self.weights.float().cpu(), generators, strict=True)
        chosen = torch.stack([torch.multinomial(own, count, True, generator=generator) for own, generator in pairs])
        n = torch.empty(len(x), count, self._y.shape[1]).to(x)
        for i, generator in enumerate(generators):
            for s in range(count):
                x[i, s] = model.drawn(int(chosen[i, s]), generator)
                n[i, s] = torch.randn(n.shape[2], generator=generator, dtype=torch.float32).to(x)
        for c in torch.unique(chosen).tolist():
            at = torch.nonzero(chosen == c, as_tuple=True)
            off = self._y[at[0]] - self._map.forward(x[at]) - self._noise.sqrt() * n[at]
            x[at] += self._back(c, self._covariance(c).solve(off))
        return x.view(len(x), count, *shape)

    def _component(self, c: int) -> tuple[Tensor, Tensor]:
        """Log-evidence (B,) without the weight, and posterior mean (B, D), of one component."""
        mean, covariance = self._model.means[c], self._covariance(c)
        off = self._y - self._map.forward(mean[None])
        solved = covariance.solve(off)
        evidence = -0.5 * ((off * solved).sum(1) + covariance.log_det + off.shape[1] * math.log(2 * math.pi))
        return evidence.to(off), mean + self._back(c, solved)

    def _back(self, c: int, v: Tensor) -> Tensor:
        """S A^T v (B, D) of one component."""
        back, factors = self._map.adjoint(v), self._model.factors[c]
        return (back @ factors) @ factors.T + self._model.noise[c] * back

    def _covariance(self, c: int) -> Covariance:
        """That of a component's measurements, A S A^T + s^2."""
        model, A = self._model, self._map
        factors = A.forward(model.factors[c].T).T
        if A.diagonal is not None:
            return LowRankCovariance(factors, A.diagonal.square() * model.noise[c] + self._noise)
        if A.matrix is not None:
            wide, spread = factors.double(), (A.matrix * model.noise[c].sqrt()).double()
            return DenseCovariance(wide @ wide.T + spread @ spread.T + torch.diag(self._noise.double()))
        signs = 2.0 * torch.randint(2, (PROBES, A.size), generator=derived_generator(0, "probes")).to(factors) - 1
        spread = A.forward(signs * model.noise[c].sqrt()).square().mean(0)  # about the diagonal of A diag(n) A^T
        near = LowRankCovariance(factors, spread + self._noise)
        return MatrixFreeCovariance(lambda v: A.forward(self._back(c, v)) + self._noise * v, near)
