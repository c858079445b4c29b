"""Numbers side by side, each with its interval and with what single seeds gave: a plot as data, and how it is drawn."""

import math
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

from genprior.plotting.drawing import BLUE, GREY, as_svg, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, EDGES, LINE = 5.0, 0.75, 0.21  # inches: all of it, above and below the rows, and a line of a label
LABEL_LETTERS = 26  # in a line
GAP = 0.7  # lines between two rows


@dataclass(frozen=True)
class IntervalRow:
    """A number.

    Attributes:
        label: At its row.
        mean: Its dot.
        low, high: Ends of its interval; NaN: not known.
        each: Of every seed; empty: there is one, which is the mean.
    """

    label: str
    mean: float
    low: float
    high: float
    each: tuple[float, ...] = ()


@dataclass(frozen=True)
class IntervalPlot:
    """Numbers on one axis.

    Attributes:
        title: Above it.
        unit: Along the axis.
        rows: From above.
    """

    title: str
    unit: str
    rows: tuple[IntervalRow, ...]

    @property
    def alt(self) -> str:
        """What it shows, in words."""
        return f"{self.title}: {', '.join(map(_told, self.rows))}."


def _told(row: IntervalRow) -> str:
    is_known = math.isfinite(row.low) and math.isfinite(row.high)
    return f"{row.label} {row.mean:.3g}" + (f" [{row.low:.3g}, {row.high:.3g}]" if is_known else "")


def intervals_svg(plot: IntervalPlot, prefix: str) -> str:
    """Returns a plot as SVG for a page; `prefix` as for `as_svg`."""
    with new_figure(WIDTH, EDGES + LINE * sum(_heights(plot))) as figure:
        draw_intervals(figure, plot)
        return as_svg(figure, prefix)


def draw_intervals(figure: "Figure", plot: IntervalPlot) -> None:
    """Draws a plot as the only one of a figure: rows from above, each as high as its label."""
    axis, heights = figure.subplots(), _heights(plot)
    places = [-(sum(heights[:i]) + height / 2) for i, height in enumerate(heights)]
    for place, row in zip(places, plot.rows, strict=True):
        _draw_row(axis, place, row)
    axis.set_yticks(places, [_wrapped(row) for row in plot.rows])
    axis.set_ylim(-sum(heights), 0)
    axis.set_xlabel(plot.unit)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)


def _wrapped(row: IntervalRow) -> str:
    return fill(row.label, LABEL_LETTERS)


def _heights(plot: IntervalPlot) -> list[float]:
    """Of each row, in lines."""
    return [_wrapped(row).count("\n") + 1 + GAP for row in plot.rows]


def _draw_row(axis: "Axes", place: float, row: IntervalRow) -> None:
    if math.isfinite(row.low) and math.isfinite(row.high):
        axis.plot((row.low, row.high), (place, place), "-", color=BLUE, linewidth=2.4, solid_capstyle="butt")
    if row.each:
        axis.plot(row.each, (place,) * len(row.each), "|", color=GREY, markersize=11, markeredgewidth=1.4)
    axis.plot((row.mean,), (place,), "o", color=BLUE, markersize=6)
