"""Pictures of restored images beside what they were made from, and of several solutions for one image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

CELL = 1.15  # inches a side of an image
DPI = 140
NOTE = 0.2  # inches for a line under an image
LABEL = 0.95  # inches for the labels of the rows
BAR = 0.75  # inches for a scale of colours
MARGIN = 0.08
MOST_CANDIDATES, MOST_ROWS = 8, 6
GREY = "#555555"


def write_pairs(
    rows: Mapping[str, Tensor], notes: Mapping[str, Sequence[str]], names: Sequence[str], path: Path
) -> None:
    """Writes images as columns, and what there is of each as rows with labels.

    Arguments:
        rows: Label -> x (B, C, H, W) in [0, 1], of any size; a row called "difference" is signed, and has a scale of
            colours of its own, equal for all images.
        notes: Label -> a line under each image (B,), for the rows that have one.
        names: Of the images (B,), written above the first row.
        path: Of the picture.
    """
    count, heights = len(names), [CELL + (NOTE if label in notes else 0) for label in rows]
    has_difference = "difference" in rows
    grid = _Grid([CELL] * count, heights, left=LABEL, top=0.3, right=BAR if has_difference else 0)
    for r, (label, x) in enumerate(rows.items()):
        is_difference = label == "difference"
        bound = _bound(x) if is_difference else 1.0
        for c in range(count):
            axis = grid.axis(r, c, CELL)
            shown = _show(axis, x[c], ("RdBu_r", -bound, bound) if is_difference else None)
            _note(axis, notes[label][c] if label in notes else "")
            if r == 0:
                axis.set_title(_short(names[c]), fontsize=8, color=GREY, pad=3)
        grid.label(r, label)
        if is_difference:
            grid.scale(r, count, shown)
    grid.save(path)


def write_candidates(
    before: tuple[str, Tensor] | None,
    candidates: Tensor,
    counts: Tensor,
    errors: Tensor,
    spread: Tensor,
    path: Path,
) -> None:
    """Writes images as rows: what was measured, the solutions with their residuals, and where these differ.

    Arguments:
        before: Title and images (B, C, H', W') of the first column: measurements, if those are images.
        candidates: x (B, K, C, H, W), best first.
        counts: How many of the K there are (B,).
        errors: Root mean squared residual of each (B, K).
        spread: Standard deviation over them (B, C, H, W).
        path: Of the picture.
    """
    rows, most = min(len(candidates), MOST_ROWS), min(int(counts.max()), MOST_CANDIDATES)
    offset = int(before is not None)
    titles = ([] if before is None else [before[0]]) + [f"solution {k + 1}" for k in range(most)] + ["spread"]
    grid = _Grid([CELL] * len(titles), [CELL + NOTE] * rows, left=MARGIN, top=0.3, right=BAR)
    bound = max(float(spread[:rows].mean(1).max()), 1e-3)
    for r in range(rows):
        if before is not None:
            _show(grid.axis(r, 0, CELL), before[1][r])
        for k in range(min(most, int(counts[r]))):
            axis = grid.axis(r, offset + k, CELL)
            _show(axis, candidates[r, k])
            _note(axis, f"error {float(errors[r, k]):.3g}")
        axis = grid.axis(r, len(titles) - 1, CELL)
        shown = _show(axis, spread[r], ("magma", 0, bound))
        _note(axis, "one solution alone" if counts[r] == 1 else "")
        grid.scale(r, len(titles), shown)
    for c, title in enumerate(titles):
        grid.title(c, title)
    grid.save(path)


class _Grid:
    """Cells of fixed size in inches, so that pixels are equally large in all of them.

    Arguments:
        widths: Of the columns.
        heights: Of the rows, lines under the images included.
        left, top, right: Room around them.
    """

    def __init__(
        self, widths: Sequence[float], heights: Sequence[float], *, left: float, top: float, right: float
    ) -> None:
        from matplotlib.figure import Figure  # no pyplot: it holds every figure in a global list

        self.widths, self.heights, self.left, self.top = widths, heights, left, top
        gaps = MARGIN * (len(widths) + len(heights))
        self.width = left + sum(widths) + right + MARGIN * (len(widths) + 1)
        self.height = top + sum(heights) + gaps - MARGIN * (len(widths) - 1)
        self.figure: Figure = Figure(figsize=(self.width, self.height))

    def axis(self, row: int, column: int, side: float, *, width: float | None = None) -> "Axes":
        """Returns a new axis of this height in a cell, at its upper left."""
        x, y = self._left_of(column), self._top_of(row)
        box = (x / self.width, 1 - (y + side) / self.height, (width or side) / self.width, side / self.height)
        axis: Axes = self.figure.add_axes(box)
        return axis

    def label(self, row: int, text: str) -> None:
        """Writes what a row shows to the left of it."""
        middle = 1 - (self._top_of(row) + CELL / 2) / self.height
        self.figure.text((self.left - MARGIN / 2) / self.width, middle, text, ha="right", va="center", fontsize=10)

    def title(self, column: int, text: str) -> None:
        """Writes what a column shows above it."""
        middle = (self._left_of(column) + CELL / 2) / self.width
        self.figure.text(middle, 1 - (self.top - 0.06) / self.height, text, ha="center", va="bottom", fontsize=10)

    def scale(self, row: int, column: int, shown: "AxesImage") -> None:
        """Draws the scale of the colours that a row uses in the column after the last."""
        axis = self.axis(row, column, CELL, width=0.1)
        self.figure.colorbar(shown, cax=axis)
        axis.tick_params(labelsize=7, length=2)
        axis.locator_params(nbins=3)

    def save(self, path: Path) -> None:
        """Writes the picture."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(path, dpi=DPI, facecolor="white")

    def _left_of(self, column: int) -> float:
        return self.left + MARGIN + sum(self.widths[:column]) + MARGIN * column

    def _top_of(self, row: int) -> float:
        return self.top + sum(self.heights[:row]) + MARGIN * row


def _show(axis: "Axes", x: Tensor, scale: tuple[str, float, float] | None = None) -> "AxesImage":
    """Shows x (C, H, W): an image or, with a scale (map of colours, least, most), its mean over channels."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(color="#bbbbbb", linewidth=0.5)
    colours, least, most = scale or ("gray", 0, 1)
    pixels = _pixels(x.clamp(0, 1)) if scale is None else x.mean(0).numpy()
    # sharp squares where there is room for them; averages where an image has more pixels than its cell
    way = "nearest" if max(x.shape[1:]) <= CELL * DPI else "antialiased"
    return axis.imshow(pixels, cmap=colours, vmin=least, vmax=most, interpolation=way)


def _note(axis: "Axes", text: str) -> None:
    axis.text(0.5, -0.04, text, transform=axis.transAxes, ha="center", va="top", fontsize=7.5, color=GREY)


def _pixels(x: Tensor) -> Any:  # noqa: ANN401  # what matplotlib shows
    return x[0].numpy() if len(x) == 1 else x.permute(1, 2, 0).numpy()


def _bound(x: Tensor) -> float:
    """The largest difference that a pixel shows, so that colours use the whole scale."""
    return max(float(torch.nan_to_num(x.mean(1)).abs().max()), 1e-3)


def _short(name: str) -> str:
    last = name.rpartition("/")[2]
    return last if len(last) <= 14 else f"{last[:6]}…{last[-7:]}"
