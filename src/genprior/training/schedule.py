"""The learning rate over a budget, as a share of the largest. Imports nothing of ours.

`SCHEDULES`, at the end, is the place to add one.
"""

import math
from collections.abc import Callable

WARM_UP = 0.05  # share of the budget in which the learning rate rises


def annealed(used: float, warm_up: float = WARM_UP) -> float:
    """Returns the learning rate as a share of the largest, after that share of the budget: it rises linearly, then
    falls as a cosine (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5).

    Arguments:
        used: Share of the budget that is used, in [0, 1].
        warm_up: Share in which the rate rises, in (0, 1).

    Example:
        >>> [round(annealed(used), 2) for used in (0.0, 0.025, 0.05, 0.525, 1.0)]
        [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if used < warm_up:
        return max(0.01, used / warm_up)
    return 0.5 * (1 + math.cos(math.pi * (min(1.0, used) - warm_up) / (1 - warm_up)))


def constant(used: float) -> float:
    """Returns 1."""
    return 1.0


def linear(used: float) -> float:
    """Returns 1 at first and 0 at the end of the budget, linearly in between.

    Example:
        >>> [linear(used) for used in (0.0, 0.25, 1.0)]
        [1.0, 0.75, 0.0]
    """
    return 1.0 - min(1.0, used)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "linear": linear, "annealed": annealed}
