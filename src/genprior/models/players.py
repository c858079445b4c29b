"""The two players of an adversarial game, and the table of families that build them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models import dcgan, mlp


@dataclass(frozen=True)
class Players:
    """A generator z (B, k) -> x (B, C, H, W) and a discriminator x -> logits (B,).

    Attributes:
        generator: Has `latent_size`, `image_shape` (C, H, W) and `output_range`, the values that it can reach.
        discriminator: Returns logits, never probabilities. It is called with `parts=2` for real images and fakes
            in one batch: what depends on a batch, such as batch normalisation, then treats each part apart.
    """

    generator: nn.Module
    discriminator: nn.Module


def latent_size_of(generator: nn.Module) -> int:
    """Returns the length k of the generator's latents; raises `GenpriorError` where it does not tell."""
    size = getattr(generator, "latent_size", None)
    if not isinstance(size, int):
        raise GenpriorError("a generator must have an integer attribute latent_size, the length of its z")
    return size


def output_range_of(generator: nn.Module) -> tuple[float, float]:
    """Returns the values that the generator can reach, its `output_range`; everything where it does not tell."""
    low, high = getattr(generator, "output_range", (-math.inf, math.inf))
    return float(low), float(high)


def parameter_count(network: nn.Module) -> int:
    """Returns how many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def value_range(x: Tensor) -> tuple[float, float]:
    """Returns the smallest and the largest value of x."""
    low, high = torch.aminmax(x)
    return float(low), float(high)


def _dcgan(
    image_shape: tuple[int, int, int],
    latent_size: int,
    generator_width: int = 64,
    discriminator_width: int = 32,
    norm: str = "batch",
) -> Players:
    _at_least_one(generator_width=generator_width, discriminator_width=discriminator_width)
    return Players(
        dcgan.Generator(image_shape, latent_size, generator_width),
        dcgan.Discriminator(image_shape, discriminator_width, norm),
    )


def _mlp(image_shape: tuple[int, int, int], latent_size: int, width: int = 128, depth: int = 3) -> Players:
    _at_least_one(width=width, depth=depth)
    return Players(
        mlp.Generator(image_shape, latent_size, width, depth),
        mlp.Discriminator(image_shape, width, depth),
    )


def _at_least_one(**options: float) -> None:
    for name, value in options.items():
        if not isinstance(value, int) or not 1 <= value <= 4096:
            raise GenpriorError(f"option '{name}' must be an integer from 1 to 4096, got {value}", argument="model")


# Each builds the players from (C, H, W), the latent size k and options of its own.
MODELS: dict[str, Callable[..., Players]] = {
    "dcgan": _dcgan,
    "mlp": _mlp,
}
