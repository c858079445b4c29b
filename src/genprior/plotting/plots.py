"""A plot as data: curves, levels and words, before anything is drawn. Knows arrays alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genprior.plotting.run_figures import without_spikes

Numbers = NDArray[np.float64]
MOST_STRETCHED = 4  # times that one run may be longer than another on the same axis
GREEN, PURPLE, TEAL = "#4d9221", "#8e63b5", "#1b9e9e"  # beside the colours of figures


@dataclass(frozen=True)
class Curve:
    """Numbers over images seen.

    Attributes:
        label: In the legend.
        colour: Of the palette.
        images: (N,), images seen.
        values: (N,), nan where a value was not finite or was not recorded.
        has_band: Whether the spread of single steps is shown behind the running median.
        is_dashed: Whether it is something that did not happen, such as another loss.
    """

    label: str
    colour: str
    images: Numbers
    values: Numbers
    has_band: bool = True
    is_dashed: bool = False


@dataclass(frozen=True)
class Plot:
    """Curves on a pair of axes.

    Attributes:
        title: Above it; plots of the same title stand side by side.
        unit: Along the vertical axis.
        reading: What it means for a reader.
        curves: In the order of the legend.
        levels: Horizontal lines, (value, colour, label).
        group: Plots of the same title and group share their vertical limits.
        is_log: Whether the vertical axis is logarithmic.
        limits: Of the vertical axis; None: fitted to the curves.
        images: End of the horizontal axis; None: fitted to the curves.
    """

    title: str
    unit: str
    reading: str
    curves: tuple[Curve, ...]
    levels: tuple[tuple[float, str, str], ...] = ()
    group: str = ""
    is_log: bool = False
    limits: tuple[float, float] | None = None
    images: float | None = None

    @property
    def alt(self) -> str:
        """What it shows, in words, with where each curve ends."""
        return f"{self.title}: curves over images seen. {self.ends}"

    @property
    def ends(self) -> str:
        """Where each curve ends, in words."""
        return f"At the end: {', '.join(f'{curve.label} {_last(curve.values)}' for curve in self.curves)}."


def on_common_axes(plots: Sequence[Plot]) -> list[Plot]:
    """Returns the same plots with equal axes: of values for those of the same group, of images seen for all.

    Where one run is many times as long as another, each keeps its own images seen: the short one would not be visible.

    Arguments:
        plots: Of the same title, one a run.
    """
    lengths = [max(float(curve.images[-1]) for curve in plot.curves) for plot in plots]
    is_common = max(lengths) <= MOST_STRETCHED * min(lengths)
    groups = {plot.group: _limits([other for other in plots if other.group == plot.group]) for plot in plots}
    return [
        replace(plot, images=max(lengths) if is_common else length, limits=groups[plot.group])
        for plot, length in zip(plots, lengths, strict=True)
    ]


def spikes_outside(plot: Plot) -> tuple[int, int]:
    """Returns how many values lie outside the limits of a plot, and how many there are."""
    known = np.concatenate([_shown(curve.values, plot.is_log) for curve in plot.curves])
    known = known[np.isfinite(known)]
    if plot.limits is None:
        return 0, len(known)
    return int(((known < plot.limits[0]) | (known > plot.limits[1])).sum()), len(known)


def _limits(plots: Sequence[Plot]) -> tuple[float, float] | None:
    """That of the first plot where it says so; else what holds all but the rarest values of all of them."""
    first = plots[0]
    if first.limits is not None:
        return first.limits
    values = np.concatenate([_shown(curve.values, first.is_log) for plot in plots for curve in plot.curves])
    levels = [level for plot in plots for level, _, _ in plot.levels]
    known = values[np.isfinite(values)]
    if first.is_log:
        return _decades(known)
    found = without_spikes(known.tolist(), levels)
    return found and found[:2]


def _decades(known: Numbers) -> tuple[float, float] | None:
    if not len(known):
        return None
    low, high = np.quantile(known, (0.002, 0.998))
    return float(low) / 1.5, float(high) * 1.5


def _shown(values: Numbers, is_log: bool) -> Numbers:
    """The values, without those that a logarithmic axis cannot show."""
    return np.where(values > 0, values, np.nan) if is_log else values


def _last(values: Numbers) -> str:
    """The median of the last fiftieth of a run."""
    known = values[-max(1, len(values) // 50) :]
    known = known[np.isfinite(known)]
    return f"{np.median(known):.3g}" if len(known) else "not finite"
