"""How every figure looks and where it goes: one palette, one style, and each mark drawn by one function.

A figure becomes a PNG file (`save`) or part of a page (`as_svg`). Inside the page, text has the page's font and colours
are names of its style sheet, so that a figure looks right in light and in dark.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from genprior.writing import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

PALETTE = {  # on light ground and on dark ground; files use the first, a page uses both
    "blue": ("#2166ac", "#6db3f2"),
    "orange": ("#c9503c", "#f28b78"),
    "grey": ("#777777", "#9aa3ad"),
    "green": ("#3f7d18", "#8fc95f"),
    "purple": ("#7d4fa8", "#c09be6"),
    "teal": ("#12807f", "#4fc9c6"),
    "brown": ("#8a5a2b", "#d0a273"),
    "lines": ("#d0d4da", "#3a414a"),
}
BLUE, ORANGE, GREY, GREEN, PURPLE, TEAL, BROWN, LINES = (light for light, _ in PALETTE.values())
SHADES = ("#9ecae1", "#4292c6", "#08306b")  # of blue, for an order: small to large
INK = "#1b1f24"
GREYS = "gray", 0.0, 1.0  # a scale of colours: its map, least and most
FONT = 10.5  # points
DPI = 140
STYLE: dict[Any, Any] = {  # matplotlib lists the names that a key may have
    "svg.fonttype": "none",
    "svg.hashsalt": "genprior",
    "text.parse_math": False,  # a class may be called $x$
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that sizes are the same everywhere
    "font.size": FONT,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), FONT),
    **dict.fromkeys(("legend.fontsize", "figure.titlesize"), FONT),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), GREY),
    **dict.fromkeys(("figure.constrained_layout.h_pad", "figure.constrained_layout.w_pad"), 0.05),  # inches
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINES,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "image.cmap": "gray",
}
Place = Literal["outside lower center", "outside upper center", "outside upper left"]
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextmanager
def new_figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] | None = "constrained"
) -> "Iterator[Figure]":
    """Yields an empty figure of this size in inches; all of it is drawn and saved inside, in the one style.

    The layout is "compressed" for panels of a fixed shape, and None where each panel has its place.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # no pyplot: it holds every figure in a global list

    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout=layout)


def panels(figure: "Figure", count: int, columns: int, *, share_y: bool = False) -> "list[Axes]":
    """Returns that many axes, row by row; places that stay free in the last row are empty."""
    columns = min(columns, count)
    axes = list(figure.subplots(-(-count // columns), columns, squeeze=False, sharey=share_y).flat)
    for axis in axes[count:]:
        axis.set_axis_off()
    return axes[:count]


def draw_line(
    axis: "Axes",
    x: Sequence[float],
    y: Sequence[float | None],
    colour: str,
    label: str | None = None,
    *,
    has_marks: bool = False,
    is_dashed: bool = False,
) -> None:
    """Draws a curve with gaps where a value is None or NaN; a single point is a dot."""
    values = np.array([np.nan if value is None else value for value in y], dtype=float)
    marker = "." if has_marks else "o" if len(values) == 1 else None  # a line through one point would show nothing
    axis.plot(x, values, "--" if is_dashed else "-", color=colour, label=label, marker=marker)


def draw_level(axis: "Axes", value: float, colour: str, label: str | None = None) -> None:
    """Draws a value to compare with: a dotted line across the axes."""
    axis.axhline(value, color=colour, linestyle=":", linewidth=1.4, label=label or None)


def draw_points(axis: "Axes", x: Tensor, colour: str) -> None:
    """Draws x (N, 2, 1, 1) or (N, 2), points of the plane."""
    first, second = x.flatten(1).T.numpy()
    axis.plot(first, second, ".", color=colour, markersize=4, markeredgewidth=0, alpha=0.55)


def draw_image(
    axis: "Axes", x: Tensor, scale: tuple[str, float, float] = GREYS, *, is_sharp: bool = True
) -> "AxesImage":
    """Draws x (C, H, W) in [0, 1], or (1, H, W) on a scale of colours (map, least, most), without ticks.

    Each pixel is a sharp square; where an image has more of them than there is room for, they should be averaged.
    """
    colours, least, most = scale
    pixels = x[0].numpy() if len(x) == 1 else x.permute(1, 2, 0).numpy()
    axis.set(xticks=[], yticks=[])
    way = "nearest" if is_sharp else "antialiased"
    return axis.imshow(pixels, cmap=colours, vmin=least, vmax=most, interpolation=way)


def frame(axis: "Axes") -> None:
    """Draws a thin frame all around the axes, and no ticks."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(visible=True, color=GREY, linewidth=0.5)


def count_steps(axis: "Axes", last: int, label: str = "") -> None:
    """Makes the horizontal axis one of steps, from 0 to `last`, that shows the first of them best."""
    axis.set_xscale("symlog", linthresh=1)  # step 0 is shown
    axis.set_xlim(-0.2, 1.3 * max(1, last))
    axis.set_xlabel(label)
    label_decades(axis.xaxis)


def label_decades(axis: "Axis") -> None:
    """Labels an axis that has a logarithmic scale."""
    axis.set_major_formatter(_decade)
    axis.set_minor_formatter(lambda *_: "")


def add_legend(figure: "Figure", columns: int, place: Place = "outside lower center") -> None:
    """Adds one legend for all axes, outside of them; a label that several axes have stands there once."""
    found = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in figure.axes]
    handles = list({label: handle for each in found for handle, label in each}.values())
    if handles:
        figure.legend(handles=handles, loc=place, ncols=columns, handlelength=1.6, columnspacing=1.2)


def save(figure: "Figure", path: Path) -> None:
    """Writes a figure as PNG; folders that are not there are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    figure.savefig(content, format=path.suffix.removeprefix("."), dpi=DPI, facecolor="white")
    write_bytes(path, content.getvalue())


def as_svg(figure: "Figure", prefix: str) -> str:
    """Returns a figure as SVG for a page: no header, names of its own, the page's font and colours.

    The prefix stands before all names inside, which must not be those of another figure on the page.
    """
    text = StringIO()
    no_date: Mapping[str, None] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=no_date)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<svg[^>]*(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true" focusable="false">', svg, count=1)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)  # older releases write both in one
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d{2})\d+", r"\1", path[0]), svg)  # halves the file
    for name, (colour, _) in PALETTE.items():
        svg = svg.replace(f": {colour}", f": var(--{name})")
    return svg.replace(f": {INK}", ": currentColor").strip()


def _decade(value: float, _: object = None) -> str:
    """The label of a power of ten.

    Example:
        >>> _decade(1e-5), _decade(0.1), _decade(100), _decade(0)
        ('10⁻⁵', '0.1', '100', '0')
    """
    exponent = round(np.log10(abs(value))) if value else 0
    return f"{value:g}" if -2 <= exponent <= 3 else "10" + str(exponent).translate(SUPERSCRIPTS)
