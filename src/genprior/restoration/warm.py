"""A first guess of the latents from a measurement, by the prior's encoder. Knows priors and operators."""

from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.priors.generator_prior import Prior, dtype_of

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics, Physics


@torch.no_grad()
def warm_start(prior: Prior, y: object, physics: "Physics | None", parameters: Mapping[str, Tensor]) -> Tensor | None:
    """Returns latents (B, k), or None where the prior has no encoder or the operator shows it nothing like an image.

    An exact encoder is asked for whole images only: it would carry the damage into the latents, where it is unlikely in
    many directions at once.

    Arguments:
        prior: Asked for `encode(x)`, or for `encode(x, known)` where pixels are missing and it takes that.
        y: The measurements.
        physics: The operator; None: y are images.
        parameters: Of the operator for each image.
    """
    encode = getattr(prior, "encode", None)
    if encode is None or (physics is not None and getattr(prior, "is_exact", False)):
        return None
    if physics is None:
        z: Tensor = encode(y)
        return z
    shown = _as_image(prior, y, physics, parameters)
    if shown is None:
        return None
    x, known = shown
    holes = known is not None and bool((known == 0).any())
    z = encode(x, known) if holes and "known" in signature(encode).parameters else encode(x)
    return z


def _as_image(
    prior: Prior, y: object, physics: "Physics", parameters: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor | None] | None:
    """Returns an image that shows what y knows, and which pixels of it are known (B, 1, H, W)."""
    from deepinv.physics import LinearPhysics

    if not isinstance(physics, LinearPhysics) or not isinstance(y, Tensor) or y.is_complex():
        return None
    y = y.to(dtype_of(prior))
    ones = torch.ones(len(y), *prior.image_shape, device=y.device, dtype=y.dtype)
    known = physics.A(ones, **parameters)
    if isinstance(known, Tensor) and known.shape == ones.shape and bool(((known == 0) | (known == 1)).all()):
        probe = torch.rand(ones.shape, generator=torch.Generator().manual_seed(0)).to(ones)
        if torch.equal(physics.A(probe, **parameters), probe * known):
            return y, known.amin(1, keepdim=True)
    x = _pseudo_inverse(y, physics, parameters) if isinstance(known, Tensor) and known.shape == y.shape else None
    return None if x is None or x.shape != ones.shape else (x.clamp(0, 1), None)


def _pseudo_inverse(y: Tensor, physics: "LinearPhysics", parameters: Mapping[str, Tensor]) -> Tensor | None:
    """The least-squares image of each measurement, or None where the operator does not know how to find it."""
    try:
        # One by one: the solver behind it goes on until the last image of a batch has converged.
        own = [{name: value[i : i + 1] for name, value in parameters.items()} for i in range(len(y))]
        return torch.cat([physics.A_dagger(y[i : i + 1], **each) for i, each in enumerate(own)])
    except (ValueError, NotImplementedError):  # what deepinv raises for an operator without an adjoint
        return None
