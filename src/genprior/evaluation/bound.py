"""How probable a latent variable model finds images: a bound that tightens with samples. Knows tensors only."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genprior.errors import GenpriorError


@torch.no_grad()
def importance_weighted_bound(
    encode: Callable[[Tensor], tuple[Tensor, Tensor]],
    log_likelihood: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Returns a lower bound (B,) in nats on log p(x) for z ~ N(0, I), one for each image.

    log 1/L sum_l p(x | z_l) p(z_l) / q(z_l | x), z_l ~ q(z | x): Burda et al. 2016, https://arxiv.org/abs/1509.00519,
    equation 8. One sample gives the evidence lower bound on average; more raise it, towards log p(x). What the nats
    mean is up to the likelihood: under a Gaussian one they are of a density of real x, in the units of x, and move by
    D log c where x is scaled by 1 / c; under a Bernoulli one on grey values they are of no distribution of images.

    Arguments:
        encode: x -> mean and log variance (B, k) of a Gaussian q(z | x) with a diagonal covariance.
        log_likelihood: z (B, k) and x -> log p(x | z) (B,) in nats.
        x: (B, ...).
        samples: L, at least 1; memory does not grow with it.
        generator: Source of all randomness.

    Raises:
        GenpriorError: Fewer samples than one.
    """
    if samples < 1:
        raise GenpriorError(f"expected at least 1, got {samples}", argument="samples")
    mean, log_variance = encode(x)
    total = mean.new_full((len(x),), -math.inf)
    for _ in range(samples):
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
        z = mean + torch.exp(0.5 * log_variance) * noise
        # log p(z) - log q(z | x); both have the constant k/2 log 2 pi.
        log_ratio = 0.5 * (noise.square() + log_variance - z.square()).sum(1)
        total = torch.logaddexp(total, log_likelihood(z, x) + log_ratio)
    return total - math.log(samples)
