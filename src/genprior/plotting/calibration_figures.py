"""Pictures of a calibration: ranks against even ones, what intervals hold against what they promise, and draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.plotting.drawing import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    GREYS,
    LINES,
    ORANGE,
    add_legend,
    as_svg,
    draw_image,
    draw_level,
    draw_line,
    new_figure,
    panels,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL, CELL = 2.6, 1.2  # inches
PAGE_WIDTH = 5.6  # inches of a drawing in a page
DRAWS = 3


@dataclass(frozen=True)
class Ranks:
    """Distribution functions of ranks, less that of even ones.

    Attributes:
        t: Shares of the members below which ranks are counted.
        differences: Of each feature at each t.
        low, high: Where one feature stays in 95 of 100 cases.
    """

    t: Sequence[float]
    differences: Sequence[Sequence[float]]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Kept:
    """Shares of truths that are held, by shares that are promised.

    Attributes:
        nominal: Promised.
        pixels: Of pixels in intervals, and `error`, their standard errors.
        balls: Of images in balls around the mean.
        random_points: Of distances from random points.
    """

    nominal: Sequence[float]
    pixels: Sequence[float]
    error: Sequence[float]
    balls: Sequence[float]
    random_points: Sequence[float]


def write_ranks(levels: Mapping[str, Mapping[str, Ranks]], title: str, path: Path) -> None:
    """Writes a row for each kind of truths, and in it a panel for each group of features.

    Arguments:
        levels: Kind of truths -> group of features -> its curves.
        title: Above all.
        path: Of the picture.
    """
    groups = list(next(iter(levels.values())))
    with new_figure(PANEL * len(groups), PANEL * len(levels) + 0.7) as figure:
        axes = figure.subplots(len(levels), len(groups), squeeze=False, sharex=True, sharey="row")
        for row, (name, ranks) in zip(axes, levels.items(), strict=True):
            for axis, (group, each) in zip(row, ranks.items(), strict=True):
                _draw_ranks(axis, each)
                if axis in axes[0]:
                    axis.set_title(group)
            row[0].set_ylabel(f"{name}\nshare below, less even")
        for axis in axes[-1]:
            axis.set_xlabel("place among the draws")
        figure.suptitle(title)
        add_legend(figure, 2)
        save(figure, path)


def ranks_svg(groups: Mapping[str, Ranks], prefix: str) -> str:
    """Returns the panels of one kind of truths, two in a row, as SVG; the prefix is as for `as_svg`."""
    with new_figure(PAGE_WIDTH, 2.2 * -(-len(groups) // 2) + 0.7) as figure:
        for axis, (name, each) in zip(panels(figure, len(groups), 2, share_y=True), groups.items(), strict=True):
            _draw_ranks(axis, each)
            axis.set_title(name)
        figure.supxlabel("place among the draws", fontsize=FONT)
        add_legend(figure, 1, "outside upper center")
        return as_svg(figure, prefix)


def _draw_ranks(axis: "Axes", found: Ranks) -> None:
    t = [0.0, *found.t, 1.0]
    low, high = ([0.0, *each, 0.0] for each in (found.low, found.high))
    axis.fill_between(t, low, high, color=LINES, label="even ranks: 95 % of all curves lie within", linewidth=0)
    draw_level(axis, 0.0, GREY)
    for i, curve in enumerate(found.differences):
        draw_line(axis, t, [0.0, *curve, 0.0], BLUE, "truth, one line for each feature" if i == 0 else None)
    for line in axis.lines[1:]:
        line.set(alpha=0.6, linewidth=1.0)
    axis.set_xlim(0, 1)


def write_reliability(levels: Mapping[str, Kept], path: Path) -> None:
    """Writes a panel for each kind of truths: shares that are held over shares that are promised.

    Arguments:
        levels: Kind of truths -> what is held.
        path: Of the picture.
    """
    with new_figure(3.9 * len(levels), 4.4) as figure:
        _draw_reliability(figure, levels)
        save(figure, path)


def reliability_svg(levels: Mapping[str, Kept], prefix: str) -> str:
    """Returns the same as SVG; the prefix is as for `as_svg`."""
    with new_figure(PAGE_WIDTH, 3.6) as figure:
        _draw_reliability(figure, levels)
        return as_svg(figure, prefix)


def _draw_reliability(figure: "Figure", levels: Mapping[str, Kept]) -> None:
    axes = figure.subplots(1, len(levels), squeeze=False, sharey=True)[0]
    shares = [share for each in levels.values() for share in (*each.pixels, *each.balls, *each.random_points)]
    for axis, (name, each) in zip(axes, levels.items(), strict=True):
        axis.plot([0, 1], [0, 1], ":", color=GREY, label="as promised")
        error = [2 * one for one in each.error]
        axis.errorbar(each.nominal, each.pixels, error, color=BLUE, marker="o", label="pixels, ± 2 s.e.")
        axis.plot(each.nominal, each.balls, "s--", color=ORANGE, label="balls around the mean")
        axis.plot(each.nominal, each.random_points, "^--", color=GREEN, label="random points (TARP)")
        axis.set(title=name, xlabel="promised", xlim=(0.45, 1.0), ylim=(max(0.0, min(0.4, *shares) - 0.05), 1.02))
    axes[0].set_ylabel("held")
    add_legend(figure, 2)


def write_examples(rows: Sequence[tuple[Tensor, Tensor, Tensor]], path: Path) -> None:
    """Writes a row for each image: truth, measurement, mean, deviation, and draws.

    Arguments:
        rows: Truth (C, H, W), what was measured as a picture (C, H, W), and draws (S, C, H, W).
        path: Of the picture.
    """
    titles = ["truth", "measured", "mean", "deviation", *(f"draw {k + 1}" for k in range(DRAWS))]
    spreads = [draws.std(0).mean(0, keepdim=True) for _, _, draws in rows]
    most = max(1e-3, *(float(spread.max()) for spread in spreads))
    height, width = rows[0][0].shape[1:]
    with new_figure(CELL * len(titles) + 0.5, CELL * len(rows) * height / width + 0.5, "compressed") as figure:
        axes = figure.subplots(len(rows), len(titles), squeeze=False)
        for row, (x, measured, draws), spread in zip(axes, rows, spreads, strict=True):
            for axis, picture in zip(row, (x, measured, draws.mean(0), spread, *draws[:DRAWS]), strict=True):
                scale = ("magma", 0.0, most) if picture is spread else GREYS
                shown = picture if picture is spread else picture.clamp(0, 1)
                drawn = draw_image(axis, shown.detach().cpu().to(torch.float32), scale)
                if picture is spread:
                    bar = drawn
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
        figure.colorbar(bar, ax=list(axes[:, -1]), shrink=0.7, label="deviation")
        save(figure, path)
