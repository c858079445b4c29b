"""Which directions of z change the image, on average: what a first step should be scaled by. Knows tensors only."""

from collections.abc import Callable

import torch
from torch import Tensor

from genprior.seeding import derived_generator

ROWS_AT_ONCE = 256
FLOOR = 0.01  # share of the largest curvature below which directions are taken to be equal


def inverse_curvature(decode: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Returns the inverse of E[J^T J] (k, k), J the Jacobian of `decode`, scaled to trace k.

    Directions of z in which the image changes much are steep in every search, whatever its image: with this as its
    first guess of the inverse Hessian, a quasi-Newton method need not find that out again for each one. The mean is
    estimated by products J^T v with v standard normal, for E[J^T v v^T J] = E[J^T J].

    Arguments:
        decode: z (B, k) -> x (B, ...), differentiable.
        z: Typical latents (N, k); ten times as many as there are dimensions will do.
    """
    generator = derived_generator(0, "preconditioner")
    slopes = torch.cat([_random_slope(decode, part, generator) for part in torch.split(z, ROWS_AT_ONCE)])
    values, vectors = torch.linalg.eigh((slopes.T @ slopes / len(z)).double())
    inverse = 1 / (values + FLOOR * values[-1])
    inverse *= len(inverse) / inverse.sum()
    guess: Tensor = (vectors * inverse @ vectors.T).to(z)
    return guess


@torch.enable_grad()
def _random_slope(decode: Callable[[Tensor], Tensor], z: Tensor, generator: torch.Generator) -> Tensor:
    """J^T v (B, k)."""
    z = z.detach().requires_grad_()
    x = decode(z)
    v = torch.randn(x.shape, generator=generator).to(x)
    slope: Tensor = torch.autograd.grad(x, z, v)[0]
    return slope
