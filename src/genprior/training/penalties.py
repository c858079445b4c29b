"""Penalties on the discriminator's slope, added to its loss. Knows networks only.

`PENALTIES`, at the end, is the place to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.discriminator_parts import pack_of

Where = Callable[[Tensor, Tensor, Tensor], Tensor]


def at_real(real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Returns the real images (B, C, H, W)."""
    return real


def at_fake(real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Returns the fakes (B, C, H, W)."""
    return fake


def between(real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Returns points on the lines from fakes to real images, mix * real + (1 - mix) * fake, for mix (B,) in [0, 1]."""
    share = mix.to(real.dtype).view(-1, 1, 1, 1)
    return share * real + (1 - share) * fake


def uniform_mix(discriminator: nn.Module, count: int, generator: torch.Generator) -> Tensor:
    """Returns uniform numbers (B,) for `between`, the same for images that the discriminator sees at once."""
    pack = pack_of(discriminator)
    return torch.rand(count // pack, generator=generator).repeat_interleave(pack)


@dataclass(frozen=True)
class SlopePenalty:
    """weight * E (|da/dx| - target)^2 over points x, its weight constant or falling.

    Attributes:
        points: Of real images, fakes (B, C, H, W) and uniform numbers (B,), where the slope is taken.
        weight: Above 0, at most 1e6.
        target: The slope that costs nothing.
        every: Turns of the discriminator between two penalised ones, 1 to 10,000; the penalty is multiplied by it
            (Karras et al. 2020, https://arxiv.org/abs/1912.04958, section 3.1).
        fade: What is left of the weight at the end of training, above 0 and at most 1. A strong penalty makes fakes
            find all modes, a weak one lets them become sharp (Huang et al. 2024, https://arxiv.org/abs/2501.05441,
            anneal theirs to a tenth).
    """

    points: Where
    weight: float
    target: float = 0.0
    every: int = 1
    fade: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.fade <= 1:
            raise GenpriorError(f"expected fade above 0 and at most 1, got {self.fade}", argument="penalty")
        if not isinstance(self.every, int) or not 1 <= self.every <= 10_000:
            raise GenpriorError(f"expected every from 1 to 10000, got {self.every}", argument="penalty")

    def is_due(self, turn: int) -> bool:
        """Whether the discriminator's turn, counted from 0, is a penalised one."""
        return turn % self.every == 0

    def share(self, used: float) -> float:
        """Returns what is left of the weight once that share of training, in [0, 1], is over: fade^used."""
        return float(self.fade**used)

    def after(self, used: float) -> "SlopePenalty":
        """Returns it with the weight that it has once that share of training, in [0, 1], is over, for good."""
        return replace(self, weight=self.weight * self.share(used), fade=1.0)

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """Returns the penalty of each logit (L,), at least float32.

        A discriminator that sees several images at once (`Packed`) has one slope for all of them.

        Arguments:
            discriminator: x (B, C, H, W) -> logits (L,).
            real, fake: (B, C, H, W).
            mix: Uniform numbers (B,), see `uniform_mix`.
        """
        x = self.points(real, fake, mix).detach().requires_grad_(True)
        logits = discriminator(x)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        squares = _wide(slope).square().reshape(len(logits), -1).sum(1)
        excess = squares if self.target == 0 else (_root(squares) - self.target).square()
        return self.weight * self.every * excess


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _root(squares: Tensor) -> Tensor:
    """The derivative of a root at 0 is infinite, and a gradient of 0 times it not a number."""
    return (squares + torch.finfo(squares.dtype).tiny).sqrt()


def r1(gamma: float = 1.0, every: int = 1, fade: float = 1.0) -> SlopePenalty:
    """gamma / 2 * E |da/dx|^2 over real images.

    Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equation 9. Near equilibrium it makes the game converge
    where both players alone would circle.
    """
    return SlopePenalty(at_real, 0.5 * _in_range(gamma=gamma), every=every, fade=fade)


def r2(gamma: float = 1.0, every: int = 1, fade: float = 1.0) -> SlopePenalty:
    """gamma / 2 * E |da/dx|^2 over fakes. Mescheder et al. 2018, equation 10."""
    return SlopePenalty(at_fake, 0.5 * _in_range(gamma=gamma), every=every, fade=fade)


def wgan_gp(weight: float = 10.0, every: int = 1, fade: float = 1.0) -> SlopePenalty:
    """weight * E (|da/dx| - 1)^2 between real images and fakes: a slope of 1 is the best critic's of Wasserstein.

    Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3.
    """
    return SlopePenalty(between, _in_range(weight=weight), target=1.0, every=every, fade=fade)


def _in_range(**option: float) -> float:
    ((name, value),) = option.items()
    if not 0 < value <= 1e6:
        raise GenpriorError(f"expected {name} above 0 and at most 1e6, got {value}", argument="penalty")
    return value


PENALTIES: dict[str, Callable[..., SlopePenalty]] = {"r1": r1, "r2": r2, "wgan-gp": wgan_gp}
