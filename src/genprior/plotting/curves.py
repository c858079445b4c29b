"""Numbers of training over images seen: a plot as data, its axes beside those of other runs, and how it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genprior.plotting.drawing import add_legend, as_svg, draw_level, draw_line, label_decades, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = NDArray[np.float64]
MOST_STRETCHED = 4  # times that one run may be longer than another on the same axis
MOST_POINTS = 300  # a column of a page has hardly more pixels
WINDOWS = 50  # the running median looks at a fiftieth of a run
WIDTH, HEIGHT, LEGEND_ROW = 5.0, 3.45, 0.19  # inches; a page scales a drawing to its column


@dataclass(frozen=True)
class Curve:
    """Numbers over images seen.

    Attributes:
        label: In the legend; empty: it goes with the curve before it, whose colour it has.
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
    curves: tuple[Curve, ...] = ()
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
        """Where each curve ends, in words; those without a label belong to the curve before them."""
        groups: list[list[str]] = []
        for curve in self.curves:
            if curve.label or not groups:
                groups.append([curve.label])
            groups[-1].append(_last(curve.values))
        return f"At the end: {', '.join(f'{label} {_in_brackets(each)}' for label, *each in groups)}."

    @property
    def known(self) -> Numbers:
        """All values that the vertical axis can show."""
        values = np.concatenate([curve.values for curve in self.curves])
        known: Numbers = values[np.isfinite(values) & ((values > 0) | (not self.is_log))]
        return known


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


def values_outside(plot: Plot) -> tuple[int, int]:
    """Returns how many values lie outside the limits of a plot, and how many there are."""
    known = plot.known
    low, high = plot.limits or (-np.inf, np.inf)
    return int(((known < low) | (known > high)).sum()), len(known)


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


def curves_svg(plot: Plot, prefix: str) -> str:
    """Returns a plot as SVG for a page; `prefix` as for `as_svg`."""
    rows = (sum(bool(curve.label) for curve in plot.curves) + sum(bool(label) for _, _, label in plot.levels) + 1) // 2
    with new_figure(WIDTH, HEIGHT + LEGEND_ROW * rows) as figure:
        draw_plot(figure, plot)
        return as_svg(figure, prefix)


def draw_plot(figure: "Figure", plot: Plot) -> None:
    """Draws a plot as the only one of a figure."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis = figure.subplots()
    axis.set(xlabel="images seen", ylabel=plot.unit)
    for curve in plot.curves:
        _draw_curve(axis, curve, plot.is_log)
    for level in plot.levels:
        draw_level(axis, *level)
    if plot.is_log and len(plot.known):  # else the axis has nowhere to begin
        axis.set_yscale("log")
        label_decades(axis.yaxis)
    if plot.limits is not None:
        axis.set_ylim(*plot.limits)
    if plot.images is not None:
        axis.set_xlim(0, plot.images * 1.01)
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.xaxis.set_major_locator(MaxNLocator(5))
    add_legend(figure, 2, "outside upper left")


def _draw_curve(axis: "Axes", curve: Curve, is_log: bool) -> None:
    values = np.where(curve.values > 0, curve.values, np.nan) if is_log else curve.values
    points = thinned(curve.images, values)
    if curve.has_band:
        axis.fill_between(points.images, points.low, points.high, color=curve.colour, alpha=0.22, linewidth=0.6)
    label = curve.label or None
    draw_line(axis, points.images.tolist(), points.median.tolist(), curve.colour, label, is_dashed=curve.is_dashed)


def _limits(plots: Sequence[Plot]) -> tuple[float, float] | None:
    """Those of the first plot where it has some; else what holds all but the rarest values of all of them."""
    first = plots[0]
    known = np.concatenate([plot.known for plot in plots])
    if first.limits is not None or not len(known):
        return first.limits
    if first.is_log:
        low, high = np.quantile(known, (0.002, 0.998))
        return float(low) / 1.5, float(high) * 1.5
    return _without_spikes(known, [level for plot in plots for level, _, _ in plot.levels])


def _without_spikes(known: Numbers, levels: Sequence[float]) -> tuple[float, float]:
    """Limits of all but the rarest values, since one spike would flatten the rest of a curve.

    Arguments:
        known: Finite values of curves, at least one.
        levels: What must be seen too, such as values at equilibrium.

    Example:
        >>> _without_spikes(np.array([1.0, 1.0]), [2.0])
        (0.92, 2.08)
    """
    low, high = (float(value) for value in np.quantile(known, (0.01, 0.99)))
    low, high = min([low, *levels]), max([high, *levels])
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _known(of: Callable[[Numbers], Any], values: Numbers) -> float:
    known = values[np.isfinite(values)]
    return float(of(known)) if len(known) else np.nan


def _in_brackets(each: Sequence[str]) -> str:
    return each[0] if len(each) == 1 else f"({', '.join(each)})"


def _last(values: Numbers) -> str:
    """The median of the last fiftieth of a run."""
    median = _known(np.median, values[-max(1, len(values) // WINDOWS) :])
    return f"{median:.3g}" if np.isfinite(median) else "not finite"
