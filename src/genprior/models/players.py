"""The two players of an adversarial game, and the table of families that build them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models import dcgan, mlp, pyramid
from genprior.models.discriminator_parts import MakeDiscriminator, packed
from genprior.models.few_steps import FewStepGenerator, blank_field, check_images
from genprior.models.velocity_networks import VelocityUNet

MakeGenerator = Callable[[tuple[int, int, int], int], nn.Module]


@dataclass(frozen=True)
class Players:
    """A generator z (B, k) -> x (B, C, H, W) and a discriminator x -> logits (B,), fewer where it is `Packed`.

    Attributes:
        generator: Has `latent_size`, `image_shape` (C, H, W) and `output_range`, the values that it can reach.
        discriminator: Returns logits, never probabilities. It is called with `parts=2` for real images and fakes
            in one batch: what depends on a batch, such as batch normalisation, then treats each part apart.
    """

    generator: nn.Module
    discriminator: nn.Module


@dataclass(frozen=True)
class PlayerSizes:
    """What both players are built for.

    Attributes:
        image_shape: (C, H, W).
        latent_size: k, at least 1.
        pack: Images that the discriminator sees at once, at least 1.
    """

    image_shape: tuple[int, int, int]
    latent_size: int
    pack: int = 1

    def players(self, generator: MakeGenerator, discriminator: MakeDiscriminator) -> Players:
        """Returns the players that two functions build."""
        made = generator(self.image_shape, self.latent_size)
        return Players(made, packed(discriminator, self.image_shape, self.pack))


def exist(build: Callable[[], Players]) -> bool:
    """Whether players can be built; they are built without numbers, which takes no memory."""
    with torch.device("meta"):
        try:
            build()
        except GenpriorError:
            return False
    return True


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
    sizes: PlayerSizes,
    generator_width: int = 64,
    discriminator_width: int = 32,
    norm: str = "batch",
    deviation: int = 0,
) -> Players:
    _checked(1, generator_width=generator_width, discriminator_width=discriminator_width)
    _check_group(deviation)
    return sizes.players(
        lambda shape, size: dcgan.DCGANGenerator(shape, size, generator_width),
        lambda shape: dcgan.dcgan_discriminator(shape, discriminator_width, norm, deviation),
    )


def _mlp(
    sizes: PlayerSizes,
    width: int = 128,
    depth: int = 3,
    norm: str = "none",
    deviation: int = 0,
    waves: int = 0,
    frequency: float = 1.0,
) -> Players:
    _checked(1, width=width, depth=depth)
    _check_group(deviation)
    _checked(0, waves=waves)
    if not 0 < frequency <= 1e6:
        raise GenpriorError(f"option 'frequency' must be above 0 and at most 1e6, got {frequency}", argument="model")
    return sizes.players(
        lambda shape, size: mlp.MLPGenerator(shape, size, width, depth),
        lambda shape: mlp.MLPDiscriminator(shape, width, depth, norm, deviation, waves, frequency),
    )


def _metz(
    sizes: PlayerSizes,
    generator_width: int = 8,
    discriminator_width: int = 2,
    norm: str = "batch",
    deviation: int = 0,
) -> Players:
    _checked(1, generator_width=generator_width, discriminator_width=discriminator_width)
    _check_group(deviation)
    return sizes.players(
        lambda shape, size: dcgan.UnrolledGANGenerator(shape, size, generator_width),
        lambda shape: dcgan.unrolled_gan_discriminator(shape, discriminator_width, norm, deviation),
    )


def _pyramid(
    sizes: PlayerSizes,
    generator_width: int = 16,
    discriminator_width: int = 32,
    norm: str = "none",
    deviation: int = 0,
    enlarging: str = "nearest",
) -> Players:
    _checked(1, generator_width=generator_width, discriminator_width=discriminator_width)
    _check_group(deviation)
    return sizes.players(
        lambda shape, size: pyramid.PyramidGenerator(shape, size, generator_width, enlarging),
        lambda shape: pyramid.pyramid_discriminator(shape, discriminator_width, norm, deviation),
    )


@dataclass(frozen=True)
class FewStepPlayers(Players):
    """A distilled network of flow matching, and the discriminator of a pyramid.

    Arguments:
        sizes: What they are built for.
        evaluations: Of the network, 1 to 16.
        width, levels, blocks, wiener: Of the network, see `VelocityUNet`.
        discriminator_width, norm, deviation: Of the discriminator.
    """

    generator: nn.Module = field(init=False)
    discriminator: nn.Module = field(init=False)
    sizes: PlayerSizes
    evaluations: int = 4
    width: int = 64
    levels: int = 2
    blocks: int = 2
    wiener: int = 0
    discriminator_width: int = 32
    norm: str = "none"
    deviation: int = 0

    def __post_init__(self) -> None:
        _checked(1, discriminator_width=self.discriminator_width)
        _check_group(self.deviation)
        check_images(self.sizes.image_shape)
        made = self.sizes.players(self._generator, self._discriminator)
        object.__setattr__(self, "generator", made.generator)
        object.__setattr__(self, "discriminator", made.discriminator)

    def _generator(self, shape: tuple[int, int, int], _: int) -> nn.Module:
        network = VelocityUNet(shape, self.width, self.levels, self.blocks, self.wiener)
        return FewStepGenerator(blank_field(network), shape, self.evaluations)

    def _discriminator(self, shape: tuple[int, int, int]) -> nn.Module:
        return pyramid.pyramid_discriminator(shape, self.discriminator_width, self.norm, self.deviation)


def _check_group(deviation: int) -> None:
    _checked(0, deviation=deviation)
    if deviation == 1:
        raise GenpriorError(
            "option 'deviation' must be 2 or more, or 0 for none: one image does not differ", argument="model"
        )


def _checked(least: int, **options: float) -> None:
    for name, value in options.items():
        if not isinstance(value, int) or not least <= value <= 4096:
            raise GenpriorError(
                f"option '{name}' must be an integer from {least} to 4096, got {value}", argument="model"
            )


# Each builds the players from their sizes and options of its own.
MODELS: dict[str, Callable[..., Players]] = {
    "dcgan": _dcgan,
    "mlp": _mlp,
    "metz": _metz,
    "pyramid": _pyramid,
    "few-steps": FewStepPlayers,
}
