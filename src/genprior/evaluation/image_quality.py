"""How close images are to originals, and how probable a model finds them: one number an image, data range 1."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genprior.errors import GenpriorError

# Windows of 11 x 11 pixels reach 5 beyond an edge, where the image goes on mirrored: that takes 6 pixels.
SMALLEST_SIDE = 6


def _check(x: Tensor, reference: Tensor) -> None:
    if x.shape != reference.shape or x.ndim != 4 or not len(x):
        got = f"{tuple(x.shape)} and {tuple(reference.shape)}"
        raise GenpriorError(f"expected as many images (B, C, H, W) of the same shape as references, got {got}")


@torch.no_grad()
def psnr(x: Tensor, reference: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio (B,) in dB, infinite for identical images.

    -10 log10 mean (x - reference)^2, the peak being 1.

    Arguments:
        x: Restored images (B, C, H, W), in [0, 1]; they are not clipped.
        reference: Originals, the same shape.

    Raises:
        GenpriorError: Other shapes.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    _check(x, reference)
    return peak_signal_noise_ratio(x.float(), reference.float(), data_range=1.0, reduction="none", dim=(1, 2, 3))


@torch.no_grad()
def ssim(x: Tensor, reference: Tensor) -> Tensor:
    """Returns the structural similarity (B,) in [-1, 1], 1 for identical images.

    Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861, with their Gaussian window of 11 x 11 pixels and their
    constants, averaged over channels and over all pixels: near the edges, and everywhere in images smaller than the
    window, the window sees the image mirrored.

    Arguments:
        x: Restored images (B, C, H, W), in [0, 1]; they are not clipped.
        reference: Originals, the same shape.

    Raises:
        GenpriorError: Other shapes, or sides below 6 pixels, for which it is not defined.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    _check(x, reference)
    if min(x.shape[2:]) < SMALLEST_SIDE:
        got = f"{x.shape[2]} x {x.shape[3]}"
        raise GenpriorError(f"SSIM needs images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got {got}")
    similarity = structural_similarity_index_measure(x.float(), reference.float(), data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity


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
