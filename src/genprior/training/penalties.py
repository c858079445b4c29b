"""Penalties on the discriminator's slope, added to its loss. Knows networks only.

`PENALTIES`, at the end, is the place to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError


@dataclass(frozen=True)
class SlopePenalty:
    """gamma / 2 * E |da/dx|^2 over real images (R1) or over fakes (R2).

    Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equations 9 and 10. Near equilibrium it makes the game
    converge where both players alone would circle.

    Attributes:
        on_real: Over real images; False: over fakes.
        gamma: Weight, above 0.
        every: Turns of the discriminator between two penalised ones, at least 1; the penalty is multiplied by it
            (Karras et al. 2020, https://arxiv.org/abs/1912.04958, section 3.1).
    """

    on_real: bool
    gamma: float
    every: int

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1e6:
            raise GenpriorError(f"expected gamma above 0 and at most 1e6, got {self.gamma}", argument="penalty")
        if not isinstance(self.every, int) or not 1 <= self.every <= 10_000:
            raise GenpriorError(f"expected every from 1 to 10000, got {self.every}", argument="penalty")

    def is_due(self, turn: int) -> bool:
        """Whether the discriminator's turn, counted from 0, is a penalised one."""
        return turn % self.every == 0

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Returns the penalty of each image (B,), at least float32, for images real and fake (B, C, H, W)."""
        x = (real if self.on_real else fake).detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        wide = slope.to(torch.promote_types(slope.dtype, torch.float32))
        return 0.5 * self.gamma * self.every * wide.square().flatten(1).sum(1)


def r1(gamma: float = 1.0, every: int = 1) -> SlopePenalty:
    """The penalty over real images."""
    return SlopePenalty(True, gamma, every)


def r2(gamma: float = 1.0, every: int = 1) -> SlopePenalty:
    """The penalty over fakes."""
    return SlopePenalty(False, gamma, every)


PENALTIES: dict[str, Callable[..., SlopePenalty]] = {"r1": r1, "r2": r2}
