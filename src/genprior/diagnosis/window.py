"""A stretch of a run's record, as signs look at it. Imports nothing of ours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = dict[str, Any]


@dataclass(frozen=True)
class Game:
    """What must be known of a run to read its record.

    Attributes:
        discriminator_at_equilibrium: The discriminator's loss once fakes equal the data.
    """

    discriminator_at_equilibrium: float


@dataclass(frozen=True)
class Window:
    """Consecutive rows of a GAN's record, the newest last.

    Attributes:
        game: Of the run.
        rows: At least one.
    """

    game: Game
    rows: Sequence[Row]

    def column(self, name: str) -> np.ndarray:
        """Returns the numbers of that name that there are, in order."""
        values = [row.get(name) for row in self.rows]
        return np.array([value for value in values if value is not None], dtype=float)

    def median(self, name: str) -> float:
        """Returns the median of a number, not-a-number where no row has it: comparisons with it are then false."""
        values = self.column(name)
        return float(np.median(values)) if len(values) else math.nan

    def thirds(self, name: str) -> tuple[float, float]:
        """Returns the medians of the first and of the last third of a number."""
        values = self.column(name)
        part = max(1, len(values) // 3)
        return (float(np.median(values[:part])), float(np.median(values[-part:]))) if len(values) else (math.nan,) * 2

    def blocks(self, name: str, size: int) -> np.ndarray:
        """Returns the means of consecutive blocks of `size` values; the newest is complete."""
        values = self.column(name)
        whole = len(values) // size * size
        means: np.ndarray = values[len(values) - whole :].reshape(-1, size).mean(1)
        return means
