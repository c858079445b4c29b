"""Plots as inline SVG: text in the page's own font, colours from the page's style sheet, so that both modes look right.

Sizes are points of a drawing `WIDTH` wide, which a page scales to its column: at 400 pixels a letter keeps its size.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from genprior.plotting.plots import GREEN, PURPLE, TEAL, Curve, Plot
from genprior.plotting.run_figures import BLUE, GREY, ORANGE
from genprior.plotting.thinning import thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 360, 250  # points
FONT = 10.5
INK, LINES = "#1b1b1b", "#c9c9c9"
PALETTE = {
    **{BLUE: "blue", ORANGE: "orange", GREY: "grey", GREEN: "green", PURPLE: "purple", TEAL: "teal"},
    LINES: "lines",
}
STYLE: dict[Any, Any] = {  # matplotlib lists the names that a key may have
    "svg.fonttype": "none",
    "svg.hashsalt": "genprior",
    "text.parse_math": False,  # a class may be called $x$
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that sizes are the same everywhere
    "font.size": FONT,
    "axes.unicode_minus": True,
    **dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), FONT),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), GREY),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINES,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw_curves(plot: Plot, prefix: str) -> str:
    """Returns a plot as SVG.

    Arguments:
        plot: What is drawn.
        prefix: Of all names inside, which must not be those of another drawing on the page.
    """
    with _drawing(HEIGHT + 14 * _legend_rows(plot)) as figure:
        axis = figure.subplots()
        for curve in plot.curves:
            _draw_curve(axis, curve, plot.is_log)
        for value, colour, label in plot.levels:
            axis.axhline(value, color=colour, linestyle=":", linewidth=1.4, label=label or None)
        _fit(axis, plot)
        _finish(axis, plot)
        return _svg(figure, prefix)


def draw_counts(
    names: Sequence[str], counts: Sequence[float], expected: Sequence[float], most: float, prefix: str
) -> str:
    """Returns bars of counts with a mark at the count that real data would give, as SVG.

    Arguments:
        names, counts, expected: Of each class.
        most: Upper end of the axis.
        prefix: As for `draw_curves`.
    """
    with _drawing(max(HEIGHT, 70 + 16 * len(names))) as figure:
        axis = figure.subplots()
        places = np.arange(len(names))
        axis.barh(places, counts, color=BLUE, height=0.7, label="samples")
        axis.plot(
            expected, places, "|", color=ORANGE, markersize=14, markeredgewidth=2.5, label="expected of real data"
        )
        axis.set(yticks=places, yticklabels=names, xlim=(0, most or 1), xlabel="number of samples", ylabel="class")
        axis.invert_yaxis()
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        figure.legend(loc="outside upper center", ncols=2)
        return _svg(figure, prefix)


def draw_points(points: Mapping[str, Tensor], prefix: str) -> str:
    """Returns a panel of points of the plane for each title, as SVG.

    Arguments:
        points: (N, 2, 1, 1) by title.
        prefix: As for `draw_curves`.
    """
    known = np.concatenate([x.numpy().reshape(-1, 2) for x in points.values()])
    known = known[np.isfinite(known).all(axis=1)]
    bound = 1.1 * max(1e-6, float(np.abs(known).max(initial=0)))
    columns = min(2, len(points))
    rows = -(-len(points) // columns)
    with _drawing(rows * (WIDTH / columns) + 20) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for axis, (title, x) in zip(axes, points.items(), strict=False):
            axis.plot(x[:, 0, 0, 0], x[:, 1, 0, 0], ".", color=ORANGE, markersize=2.5)
            axis.set(xlim=(-bound, bound), ylim=(-bound, bound), aspect="equal")
            axis.set_title(title, fontsize=FONT)
            axis.grid()
        for axis in list(figure.axes)[len(points) :]:
            axis.set_axis_off()
        return _svg(figure, prefix)


@contextmanager
def _drawing(height: float) -> Iterator["Figure"]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        yield Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")


def _draw_curve(axis: "Axes", curve: Curve, is_log: bool) -> None:
    values = np.where(curve.values > 0, curve.values, np.nan) if is_log else curve.values
    points = thinned(curve.images, values)
    if curve.has_band:
        axis.fill_between(points.images, points.low, points.high, color=curve.colour, alpha=0.22, linewidth=0.6)
    style = "--" if curve.is_dashed else "-"
    marker = "o" if len(points.images) == 1 else None  # a line through one point would show nothing
    axis.plot(points.images, points.median, style, color=curve.colour, linewidth=1.6, label=curve.label, marker=marker)


def _fit(axis: "Axes", plot: Plot) -> None:
    if plot.is_log and any(np.nanmax(curve.values, initial=0) > 0 for curve in plot.curves):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(_power_of_ten)
        axis.yaxis.set_minor_formatter(lambda *_: "")
    if plot.limits is not None:
        axis.set_ylim(*plot.limits)
    if plot.images is not None:
        axis.set_xlim(0, plot.images * 1.01)


def _finish(axis: "Axes", plot: Plot) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis.set(xlabel="images seen", ylabel=plot.unit)
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.grid()
    axis.figure.legend(loc="outside upper left", ncols=2, handlelength=1.6, columnspacing=1.2)


def _legend_rows(plot: Plot) -> int:
    return (len(plot.curves) + sum(bool(label) for _, _, label in plot.levels) + 1) // 2


def _power_of_ten(value: float, _: object = None) -> str:
    """The label of a decade.

    Example:
        >>> _power_of_ten(1e-5), _power_of_ten(0.1), _power_of_ten(100)
        ('10⁻⁵', '0.1', '100')
    """
    exponent = round(np.log10(value))
    return f"{value:g}" if -2 <= exponent <= 3 else "10" + str(exponent).translate(SUPERSCRIPTS)


def _svg(figure: "Figure", prefix: str) -> str:
    text = StringIO()
    no_date: Mapping[str, None] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=no_date)
    return _for_the_page(text.getvalue(), prefix)


def _for_the_page(svg: str, prefix: str) -> str:
    """Matplotlib's file as a part of a page: no header, own names, the page's font and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<svg[^>]*(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true" focusable="false">', svg, count=1)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)  # older releases write both in one
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' d="[^"]*"', _rounded, svg)
    for colour, name in PALETTE.items():
        svg = svg.replace(f": {colour}", f": var(--{name})")
    return svg.replace(f": {INK}", ": currentColor").strip()


def _rounded(match: re.Match[str]) -> str:
    """A path to a hundredth of a point, which halves the file."""
    return re.sub(r"(\.\d{2})\d+", r"\1", match[0])
