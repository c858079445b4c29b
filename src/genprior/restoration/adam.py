"""Adam (Kingma & Ba 2015) for many independent searches at once: the study's method, kept as the reference."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass
class Adam:
    """The state of R searches in k dimensions.

    Attributes:
        z, value, slope: The points where the searches stand (R, k), (R,), (R, k).
        guess: Unused: Adam has a scale of its own for each dimension.
        learning_rate: Above 0.
        failed: Searches (R,) that cannot go on: never.
    """

    z: Tensor
    value: Tensor
    slope: Tensor
    guess: Tensor | None = None
    learning_rate: float = 0.01
    count: int = 0
    mean: Tensor = field(init=False)
    square: Tensor = field(init=False)
    failed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.mean, self.square = torch.zeros_like(self.z), torch.zeros_like(self.z)
        self.failed = torch.zeros_like(self.value, dtype=torch.bool)

    def trial(self) -> Tensor:
        """Returns the points (R, k) to be evaluated next."""
        self.count += 1
        self.mean = BETA1 * self.mean + (1 - BETA1) * self.slope
        self.square = BETA2 * self.square + (1 - BETA2) * self.slope.square()
        mean = self.mean / (1 - BETA1**self.count)
        square = self.square / (1 - BETA2**self.count)
        return self.z - self.learning_rate * mean / (square.sqrt() + EPSILON)

    def advance(self, z: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """Takes in the evaluation of the trial points; all of them are accepted (R,)."""
        self.z, self.value, self.slope = z, value, slope
        return ~self.failed

    def revalue(self, value: Tensor, slope: Tensor) -> None:
        """Replaces value and slope where the searches stand: the objective's weights have changed."""
        self.value, self.slope = value, slope

    def keep(self, rows: Tensor) -> None:
        """Goes on with these searches alone."""
        for name in ("z", "value", "slope", "mean", "square", "failed"):
            setattr(self, name, getattr(self, name)[rows])
