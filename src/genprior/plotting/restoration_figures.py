"""Pictures of restored images beside what they were made from, and of several solutions for one image."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.plotting.drawing import DPI, GREY, GREYS, draw_image, frame, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

CELL = 1.15  # inches a side of an image
NOTE = 0.2  # inches for a line under an image
LABEL = 0.95  # inches for the labels of the rows
BAR = 0.75  # inches for a scale of colours
MARGIN, TOP = 0.08, 0.3
DIFFERENCE, DEVIATION = "difference", "deviation"
SCALES = {DIFFERENCE, DEVIATION}
SMALL = 7.5  # points, for what stands under an image
MOST_CANDIDATES, MOST_ROWS, MOST_DRAWS = 8, 6, 6


def write_pairs(
    rows: Mapping[str, Tensor], notes: Mapping[str, Sequence[str]], names: Sequence[str], path: Path
) -> None:
    """Writes images as columns, and what there is of each as rows with labels.

    Arguments:
        rows: Label -> x (B, C, H, W) in [0, 1], of any size; a row called "difference" is signed, one called
            "deviation" is not, and each has a scale of colours of its own, equal for all images.
        notes: Label -> a line under each image (B,), for the rows that have one.
        names: Of the images (B,), written above the first row.
        path: Of the picture.
    """
    has_room = {*notes, DEVIATION}  # below: for a note, or between the numbers of two scales
    count, heights = len(names), [CELL + (NOTE if label in has_room else 0) for label in rows]
    right = BAR if SCALES & rows.keys() else 0
    with _cells(count, heights, left=LABEL, right=right) as grid:
        for r, (label, x) in enumerate(rows.items()):
            scales = {DIFFERENCE: ("RdBu_r", -_bound(x), _bound(x)), DEVIATION: ("magma", 0.0, _bound(x))}
            for c in range(count):
                axis = grid.axis(r, c)
                shown = _show(axis, x[c], scales.get(label))
                _note(axis, notes[label][c] if label in notes else "")
                if c == 0:
                    axis.set_ylabel(label, rotation=0, ha="right", va="center")
                if r == 0:
                    axis.set_title(_short(names[c]), fontsize=SMALL, color=GREY, pad=3, parse_math=False)
            if label in scales:
                grid.scale(r, count, shown)
        save(grid.figure, path)


@dataclass(frozen=True)
class Solutions:
    """Several images for each measurement.

    Attributes:
        candidates: x (B, K, C, H, W), best first.
        counts: How many of the K there are (B,).
        errors: Root mean squared residual of each (B, K).
        probabilities: Of each (B, K); NaN where they are not known.
    """

    candidates: Tensor
    counts: Tensor
    errors: Tensor
    probabilities: Tensor

    def note(self, row: int, place: int) -> str:
        """Returns what stands under one of them."""
        error, probability = float(self.errors[row, place]), float(self.probabilities[row, place])
        return f"error {error:.3g}" if math.isnan(probability) else f"probability {probability:.2f}"


def write_candidates(before: tuple[str, Tensor] | None, solutions: Solutions, spread: Tensor, path: Path) -> None:
    """Writes images as rows: what was measured, the solutions with residuals or probabilities, and how they vary.

    Arguments:
        before: Title and images (B, C, H', W') of the first column: measurements, if those are images.
        solutions: Of each row.
        spread: Standard deviation over solutions or draws (B, C, H, W).
        path: Of the picture.
    """
    candidates, counts = solutions.candidates, solutions.counts
    rows, most = min(len(candidates), MOST_ROWS), min(int(counts.max()), MOST_CANDIDATES)
    offset = int(before is not None)
    last = "spread" if solutions.probabilities.isnan().any() else DEVIATION
    titles = ([] if before is None else [before[0]]) + [f"solution {k + 1}" for k in range(most)] + [last]
    bound = max(float(spread[:rows].mean(1).max()), 1e-3)
    with _cells(len(titles), [CELL + NOTE] * rows, left=MARGIN, right=BAR) as grid:
        for r in range(rows):
            if before is not None:
                _show(grid.axis(r, 0), before[1][r])
            for k in range(min(most, int(counts[r]))):
                axis = grid.axis(r, offset + k)
                _show(axis, candidates[r, k])
                _note(axis, solutions.note(r, k))
            axis = grid.axis(r, len(titles) - 1)
            shown = _show(axis, spread[r], ("magma", 0, bound))
            is_alone = counts[r] == 1 and bool(solutions.probabilities[r].isnan().any())
            _note(axis, "one solution alone" if is_alone else "")
            grid.scale(r, len(titles), shown)
        for c, title in enumerate(titles):
            grid.title(c, title)
        save(grid.figure, path)


def write_draws(before: tuple[str, Tensor] | None, draws: Tensor, path: Path) -> None:
    """Writes images as rows: what was measured, the mean of its draws, their deviation, and the first draws.

    Arguments:
        before: Title and images (B, C, H', W') of the first column: measurements, if those are images.
        draws: Of each row (B, S, C, H, W), S at least 2.
        path: Of the picture.
    """
    rows, shown_draws = min(len(draws), MOST_ROWS), draws[:, :MOST_DRAWS].unbind(1)
    spread = draws[:rows].std(1)
    columns = {} if before is None else dict([before])
    columns |= {"mean": draws.mean(1), **{f"draw {k + 1}": x for k, x in enumerate(shown_draws)}}
    bound = max(float(spread.mean(1).max()), 1e-3)
    with _cells(len(columns) + 1, [CELL + NOTE] * rows, left=MARGIN, right=BAR) as grid:
        for r in range(rows):
            for c, x in enumerate(columns.values()):
                _show(grid.axis(r, c), x[r])
            shown = _show(grid.axis(r, len(columns)), spread[r], ("magma", 0, bound))
            grid.scale(r, len(columns) + 1, shown)
        for c, title in enumerate([*columns, DEVIATION]):
            grid.title(c, title)
        save(grid.figure, path)


@dataclass(frozen=True)
class _Grid:
    """Cells of fixed size in inches, so that pixels are equally large in all of them.

    Attributes:
        figure: All of them.
        heights: Of the rows, lines under the images included.
        left: Room before the first column.
    """

    figure: "Figure"
    heights: Sequence[float]
    left: float

    def axis(self, row: int, column: int, *, width: float = CELL) -> "Axes":
        """Returns a new axis of this width in a cell, at its upper left."""
        whole_width, whole_height = self.figure.get_size_inches()
        x, y = self._left_of(column), self._top_of(row)
        box = (x / whole_width, 1 - (y + CELL) / whole_height, width / whole_width, CELL / whole_height)
        axis: Axes = self.figure.add_axes(box)
        return axis

    def title(self, column: int, text: str) -> None:
        """Writes what a column shows above it."""
        width, height = self.figure.get_size_inches()
        middle = self._left_of(column) + CELL / 2
        self.figure.text(middle / width, 1 - (TOP - 0.06) / height, text, ha="center", va="bottom")

    def scale(self, row: int, column: int, shown: "AxesImage") -> None:
        """Draws the scale of the colours that a row uses in the column after the last."""
        axis = self.axis(row, column, width=0.1)
        self.figure.colorbar(shown, cax=axis)
        axis.tick_params(labelsize=SMALL, length=2)
        axis.locator_params(nbins=3)

    def _left_of(self, column: int) -> float:
        return self.left + MARGIN + (CELL + MARGIN) * column

    def _top_of(self, row: int) -> float:
        return TOP + sum(self.heights[:row]) + MARGIN * row


@contextmanager
def _cells(columns: int, heights: Sequence[float], *, left: float, right: float) -> Iterator[_Grid]:
    width = left + CELL * columns + MARGIN * (columns + 1) + right
    height = TOP + sum(heights) + MARGIN * (len(heights) + 1)
    with new_figure(width, height, layout=None) as figure:
        yield _Grid(figure, heights, left)


def _show(axis: "Axes", x: Tensor, scale: tuple[str, float, float] | None = None) -> "AxesImage":
    """Shows x (C, H, W): an image or, with a scale (map of colours, least, most), its mean over channels."""
    frame(axis)
    x = x.clamp(0, 1) if scale is None else x.mean(0, keepdim=True)
    return draw_image(axis, x, scale or GREYS, is_sharp=max(x.shape[1:]) <= CELL * DPI)


def _note(axis: "Axes", text: str) -> None:
    axis.text(0.5, -0.04, text, transform=axis.transAxes, ha="center", va="top", fontsize=SMALL, color=GREY)


def _bound(x: Tensor) -> float:
    """The largest difference that a pixel shows, so that colours use the whole scale."""
    return max(float(torch.nan_to_num(x.mean(1)).abs().max()), 1e-3)


def _short(name: str) -> str:
    last = name.rpartition("/")[2]
    return last if len(last) <= 14 else f"{last[:6]}…{last[-7:]}"
