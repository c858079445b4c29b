"""Curves of any length as few points: a running median and the band of single steps. Knows arrays alone."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
MOST_POINTS = 300  # a column of a page has hardly more pixels
WINDOWS = 50  # the running median looks at a fiftieth of a run


@dataclass(frozen=True)
class Thinned:
    """A curve of at most `MOST_POINTS` points; nan where nothing is known.

    Attributes:
        images: (P,), images seen at the last step of each stretch.
        median: (P,), of a window around the stretch.
        low, high: (P,), least and largest value in the stretch.
    """

    images: Numbers
    median: Numbers
    low: Numbers
    high: Numbers


def thinned(images: Numbers, values: Numbers) -> Thinned:
    """Returns a curve of few points, in which no spike is lost: the band holds every value.

    Arguments:
        images: (N,), images seen, at least one.
        values: (N,), nan where nothing is known.

    Example:
        >>> curve = thinned(np.arange(1000.0), np.full(1000, 2.0))
        >>> len(curve.images), float(curve.images[-1]), float(curve.median[0])
        (300, 999.0, 2.0)
    """
    edges = np.linspace(0, len(values), min(len(values), MOST_POINTS) + 1).round().astype(int)
    stretches = list(pairwise(edges))
    half = max(1, len(values) // WINDOWS) // 2
    return Thinned(
        images[edges[1:] - 1],
        np.array([_known(np.median, values[max(0, first - half) : last + half]) for first, last in stretches]),
        np.array([_known(np.min, values[first:last]) for first, last in stretches]),
        np.array([_known(np.max, values[first:last]) for first, last in stretches]),
    )


def _known(of: Callable[[Numbers], Any], values: Numbers) -> float:
    known = values[np.isfinite(values)]
    return float(of(known)) if len(known) else np.nan
