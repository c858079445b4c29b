"""A first guess of the latents from a measurement, by the prior's encoder. Knows priors and operators."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.restoration.priors import Prior

if TYPE_CHECKING:
    from deepinv.physics import Physics


@torch.no_grad()
def warm_start(prior: Prior, y: object, physics: "Physics | None", parameters: Mapping[str, Tensor]) -> Tensor | None:
    """Returns latents (B, k), or None where the prior has no encoder or the operator shows it nothing like an image.

    Arguments:
        prior: Asked for `encode(x, known)`.
        y: The measurements.
        physics: The operator; None: y are images.
        parameters: Of the operator for each image.
    """
    encode = getattr(prior, "encode", None)
    if encode is None:
        return None
    if physics is None:
        z: Tensor = encode(y)
        return z
    image = _as_image(prior, y, physics, parameters)
    if image is None:
        return None
    z = encode(*image)
    return z


def _as_image(
    prior: Prior, y: object, physics: "Physics", parameters: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor | None] | None:
    """Returns an image that shows what y knows, and which pixels of it are known (B, 1, H, W)."""
    from deepinv.physics import LinearPhysics

    if not isinstance(physics, LinearPhysics) or not isinstance(y, Tensor) or y.is_complex():
        return None
    ones = torch.ones(len(y), *prior.image_shape, device=y.device, dtype=y.dtype)
    known = physics.A(ones, **parameters)
    if isinstance(known, Tensor) and known.shape == ones.shape and bool(((known == 0) | (known == 1)).all()):
        probe = torch.rand(ones.shape, generator=torch.Generator().manual_seed(0)).to(ones)
        if torch.equal(physics.A(probe, **parameters), probe * known):
            return y, known.amin(1, keepdim=True)
    x = physics.A_dagger(y, **parameters)
    return (x.clamp(0, 1), None) if isinstance(x, Tensor) and x.shape == ones.shape else None
