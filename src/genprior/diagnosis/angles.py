"""What discriminators tell a generator to do, and how far their directions are apart. Knows networks and losses."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.training.losses import AdversarialLoss


@dataclass(frozen=True)
class Gradients:
    """What a discriminator tells the generator to do.

    Attributes:
        weights: Gradient of the mean loss with respect to all weights of the generator, float64 (P,).
        images: With respect to its images, float64 (N, C * H * W).
    """

    weights: Tensor
    images: Tensor


@dataclass(frozen=True)
class Agreement:
    """Cosines between the gradients of two discriminators: 1: the same direction, 0: orthogonal; nan: one is 0.

    Attributes:
        weights: Of the gradients with respect to the generator's weights.
        images: Of those with respect to an image, mean over images.
    """

    weights: float
    images: float


def gradients(
    generator: nn.Module, discriminator: nn.Module, loss: AdversarialLoss, z: Tensor, real: Tensor
) -> Gradients:
    """Returns the gradients of the generator's mean loss that a discriminator gives, without changing it.

    Arguments:
        generator: In the mode in which it is.
        discriminator: x -> logits.
        loss: Of the generator.
        z: Latents (N, k).
        real: Images (N, C, H, W), for the discriminator's batch and for losses that look at them.
    """
    frozen = copy.deepcopy(discriminator).train().requires_grad_(False)
    x = generator(z)
    real_logits, fake_logits = frozen(torch.cat([real, x])).chunk(2)
    value = loss.generator(real_logits.detach(), fake_logits).mean()
    *found, images = torch.autograd.grad(value, [*generator.parameters(), x])
    return Gradients(torch.cat([each.double().flatten() for each in found]), images.double().flatten(1))


def agreement_of(one: Gradients, other: Gradients) -> Agreement:
    """Returns the cosines between the gradients of two discriminators on the same latents."""
    return Agreement(
        float(_cosines(one.weights[None], other.weights[None])), float(_cosines(one.images, other.images).nanmean())
    )


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    """Cosines (N,) between rows (N, P); nan where a row is 0. Rows are brought to length 1 first: none is too small."""
    return (_directions(one) * _directions(other)).sum(1)


def _directions(rows: Tensor) -> Tensor:
    largest = rows.abs().amax(1, keepdim=True)
    scaled: Tensor = rows / largest
    length: Tensor = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / length
