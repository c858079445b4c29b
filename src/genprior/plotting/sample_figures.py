"""Samples of models: grids of images, points of the plane, and how many there are of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.images import image_grid, to_float, write_image
from genprior.plotting.drawing import (
    BLUE,
    GREY,
    ORANGE,
    add_legend,
    as_svg,
    draw_image,
    draw_points,
    frame,
    new_figure,
    panels,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID_PIXELS = 560  # at least about this wide, so that small images can be seen
PLANE = (2, 1, 1)  # shape of a point
COLUMNS = 4
SIDE, STRIP = 8, 6  # images in a row of a grid, and in a row of a comparison
PAGE_WIDTH = 5.0  # inches


@dataclass(frozen=True)
class Samples:
    """Samples of a model.

    Attributes:
        title: Above them.
        x: (N, C, H, W); none where there are none.
        is_good: Whether each point is of high quality (N,); None for images.
    """

    title: str
    x: Tensor
    is_good: Tensor | None = None


@dataclass(frozen=True)
class Pictured:
    """What a comparison shows of a run.

    Attributes:
        title: Above its pictures.
        samples: (N, C, H, W).
        truth: (B, C, H, W), the same for all runs.
        reconstructions: (B, C, H, W).
        restorations: Of each kind of damage, by name, what was seen and what was made of it, (B, C, H, W) each.
    """

    title: str
    samples: Tensor
    truth: Tensor
    reconstructions: Tensor
    restorations: Mapping[str, Mapping[str, Tensor]]


def write_samples(x: Tensor, path: Path, columns: int | None = None) -> None:
    """Writes x (B, C, H, W) as a grid of images, small ones enlarged; points of the plane are drawn as such."""
    if x.shape[1:] == PLANE:
        with new_figure(5, 5) as figure:
            _draw_planes(figure, {"samples": x}, 1)
            save(figure, path)
        return
    grid = image_grid(x, columns)
    factor = max(1, round(GRID_PIXELS / grid.shape[-1]))  # pixels stay sharp squares
    write_image(grid.repeat_interleave(factor, 1).repeat_interleave(factor, 2), path)


def write_real_and_generated(real: Tensor, generated: Tensor, path: Path) -> None:
    """Writes real x (B, C, H, W) beside generated ones, images or points of the plane."""
    both = {"real": real, "generated": generated}
    with new_figure(8, 4.4) as figure:
        if real.shape[1:] == PLANE:
            _draw_planes(figure, both, 2)
        else:
            for axis, (title, x) in zip(panels(figure, 2, 2), both.items(), strict=True):
                _draw_grid(axis, title, image_grid(x))
        save(figure, path)


def write_digits(models: Sequence[Samples], path: Path) -> None:
    """Writes grids of images, one panel a model; a model without samples keeps its place."""
    with new_figure(*_size_of(len(models), 3.2), layout="compressed") as figure:
        for axis, model in zip(panels(figure, len(models), COLUMNS), models, strict=True):
            frame(axis)
            axis.set_title(model.title)
            if len(model.x):
                draw_image(axis, to_float(image_grid(model.x[: SIDE * SIDE].clamp(0, 1), SIDE, padding=1)))
        save(figure, path)


def write_points(models: Sequence[Samples], centres: Tensor, path: Path) -> None:
    """Writes points of the plane over the centres (modes, 2) of their modes, one panel a model."""
    reach = 1.35 * float(centres.abs().max())
    with new_figure(*_size_of(len(models), 3.0), layout="compressed") as figure:
        for axis, model in zip(panels(figure, len(models), COLUMNS), models, strict=True):
            _draw_over_centres(axis, model, centres, reach)
        marks = {"within 3 sigma of a centre": (BLUE, BLUE), "not": (ORANGE, ORANGE), "centre": (GREY, "none")}
        for label, (edge, face) in marks.items():  # a legend alone: nothing is drawn
            figure.axes[0].plot([], [], "o", color=edge, markerfacecolor=face, label=label)
        add_legend(figure, len(marks) if len(models) > 1 else 1)
        save(figure, path)


def write_comparison(runs: Sequence[Pictured], path: Path) -> None:
    """Writes a row of pictures for each run: samples, held-out images and their reconstructions, each restoration."""
    columns = 2 + len(runs[0].restorations)
    with new_figure(3.1 * columns, 3.5 * len(runs)) as figure:
        axes = iter(panels(figure, columns * len(runs), columns))
        for run in runs:
            samples = image_grid(run.samples[: STRIP * STRIP], STRIP)
            _draw_grid(next(axes), f"{run.title}\nsamples", samples)
            _draw_grid(next(axes), "held-out\ntruth, nearest", _strips(run.truth, run.reconstructions))
            for title, strips in run.restorations.items():
                names = ", ".join(["truth", *strips])
                _draw_grid(next(axes), f"{title}\n{names}", _strips(run.truth, *strips.values()))
        save(figure, path)


def points_svg(points: Mapping[str, Tensor], prefix: str) -> str:
    """Returns a panel of points of the plane (N, 2, 1, 1) for each title, as SVG; `prefix` as for `as_svg`."""
    columns = min(2, len(points))
    rows = -(-len(points) // columns)
    with new_figure(PAGE_WIDTH, rows * PAGE_WIDTH / columns + 0.3) as figure:
        _draw_planes(figure, points, columns)
        return as_svg(figure, prefix)


def counts_svg(
    names: Sequence[str], counts: Sequence[float], expected: Sequence[float], most: float, prefix: str
) -> str:
    """Returns bars of counts with a mark at the count that real data would give, as SVG.

    Arguments:
        names, counts, expected: Of each class.
        most: Upper end of the axis.
        prefix: As for `as_svg`.
    """
    with new_figure(PAGE_WIDTH, max(3.45, 1 + 0.22 * len(names))) as figure:
        axis, places = figure.subplots(), range(len(names))
        axis.barh(places, counts, color=BLUE, height=0.7, label="samples")
        axis.plot(
            expected, places, "|", color=ORANGE, markersize=14, markeredgewidth=2.5, label="expected of real data"
        )
        axis.set(yticks=places, yticklabels=names, xlim=(0, most or 1), xlabel="number of samples", ylabel="class")
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        add_legend(figure, 2, "outside upper center")
        return as_svg(figure, prefix)


def _draw_planes(figure: "Figure", points: Mapping[str, Tensor], columns: int) -> None:
    """A panel for each title, all of the same limits; what is not finite cannot be drawn."""
    values = torch.cat([x.flatten(1)[torch.isfinite(x.flatten(1)).all(1)] for x in points.values()])
    reach = 1.1 * max(1e-6, float(values.abs().max())) if len(values) else 1.0
    for axis, (title, x) in zip(panels(figure, len(points), columns), points.items(), strict=True):
        draw_points(axis, x, BLUE if title == "real" else ORANGE)
        axis.set(title=title, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def _draw_over_centres(axis: "Axes", model: Samples, centres: Tensor, reach: float) -> None:
    assert model.is_good is not None
    axis.plot(*centres.T.numpy(), "o", color=GREY, markerfacecolor="none", markersize=9.5, markeredgewidth=0.8)
    for chosen, colour in ((~model.is_good, ORANGE), (model.is_good, BLUE)):
        draw_points(axis, model.x[chosen], colour)
    outside = int((~(model.x.flatten(1).abs() <= reach).all(1)).sum())
    axis.set(title=model.title, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    frame(axis)
    if outside:
        axis.annotate(f"{outside} outside", (0.02, 0.02), xycoords="axes fraction", color=ORANGE)


def _draw_grid(axis: "Axes", title: str, grid: Tensor) -> None:
    """One picture of many images (C, H, W) uint8."""
    draw_image(axis, to_float(grid))
    axis.set_title(title)
    axis.set_axis_off()


def _strips(*rows: Tensor) -> Tensor:
    """Strips of images under each other, as many times as make a square."""
    times = STRIP // len(rows)
    strips = [row[STRIP * i : STRIP * (i + 1)] for i in range(times) for row in rows]
    return image_grid(torch.cat([strip for strip in strips if len(strip)]).clamp(0, 1), STRIP)


def _size_of(count: int, side: float) -> tuple[float, float]:
    """Width and height of square panels with titles of two lines, in inches."""
    columns = min(COLUMNS, count)
    return side * columns, (side + 0.4) * -(-count // columns) + 0.3
