"""What is to be thought of a restored image, in plain words. Knows tensors only."""

import torch
from torch import Tensor

GOOD = "good fit"
RANGE = "prior cannot represent it"
STUCK = "starts disagree"
OVERFITTED = "noise over-fitted"
VERDICTS = {
    GOOD: "the residual is no larger than the noise and what such a prior usually leaves",
    RANGE: "every start ended at about the same large residual: the image lies outside the prior's range",
    STUCK: "starts ended at different large residuals, or there was one only: more of them may help",
    OVERFITTED: "the residual is smaller than the noise: give more weight to the energy",
}
RANGE_TOLERANCE = 0.1  # root mean square of a residual, in units of y, that a good prior may leave on clean images
DISAGREEMENT = 1.25  # ratio of residuals from which two starts did not end in the same place


def is_poor(error: Tensor, noise_level: float | None) -> Tensor:
    """Returns whether residuals (B,), root mean square, are larger than noise and a good prior explain."""
    allowed = (noise_level or 0.0) ** 2 + RANGE_TOLERANCE**2
    # Where the noise is not known, a residual alone cannot tell noise from what the prior lacks.
    return ~(error.square() <= allowed) if noise_level is not None else ~torch.isfinite(error)


def verdicts(
    error: Tensor, ratio: Tensor, counts: Tensor, latent_size: int, noise_level: float | None
) -> tuple[str, ...]:
    """Returns one of `VERDICTS` for each image.

    Arguments:
        error: Root mean square (B,) of the residual.
        ratio: Larger over smaller (B,) of the residuals that two independent tries ended with; NaN after one try.
        counts: Number of measurements (B,).
        latent_size: k; k parameters explain up to k measurements of mere noise.
        noise_level: Standard deviation of the noise, or None where it is not known.
    """
    poor = is_poor(error, noise_level)
    disagree = poor & ~(ratio <= DISAGREEMENT)
    fitted = torch.zeros_like(poor)
    if noise_level:
        free = (counts - latent_size).clamp_min(0)
        # Chi-square with `free` degrees of freedom, three standard deviations below its mean.
        least = (free - 3 * (2 * free).sqrt()).clamp_min(0)
        fitted = error.square() * counts < noise_level**2 * least
    return tuple(
        STUCK if d else RANGE if p else OVERFITTED if f else GOOD
        for d, p, f in zip(disagree.tolist(), poor.tolist(), fitted.tolist(), strict=True)
    )
