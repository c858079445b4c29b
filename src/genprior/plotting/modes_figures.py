"""Pictures of samples of many models side by side, whose modes are known. No mathematics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from genprior.images import image_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

BLUE, RED, GREY = "#2166ac", "#d6604d", "#777777"
COLUMNS = 4
SIDE = 8  # images in a row of a grid


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


def write_points(panels: Sequence[Samples], centres: Tensor, path: Path) -> None:
    """Writes points in the plane over the centres (modes, 2) of their modes, one panel a model."""
    figure, axes = _panels(len(panels), 3.0)
    reach = 1.35 * float(centres.abs().max())
    for axis, panel in zip(axes, panels, strict=True):
        _scatter(axis, centres, s=90, facecolors="none", edgecolors=GREY, linewidths=0.8)
        assert panel.is_good is not None
        for chosen, colour in ((~panel.is_good, RED), (panel.is_good, BLUE)):
            _scatter(axis, panel.x[chosen].flatten(1), s=3, alpha=0.5, color=colour, linewidths=0)
        outside = int((~(panel.x.flatten(1).abs() <= reach).all(1)).sum())
        axis.set_title(panel.title, fontsize=10)
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        if outside:
            axis.annotate(f"{outside} outside", (0.02, 0.02), xycoords="axes fraction", color=RED, fontsize=8)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def write_digits(panels: Sequence[Samples], path: Path) -> None:
    """Writes grids of images, one panel a model."""
    figure, axes = _panels(len(panels), 3.2)
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_title(panel.title, fontsize=10)
        if len(panel.x):
            grid = image_grid(panel.x.clamp(0, 1)[: SIDE * SIDE], SIDE, padding=1).permute(1, 2, 0).numpy()
            axis.imshow(grid if grid.shape[2] == 3 else grid[:, :, 0], cmap="gray", vmin=0, vmax=255)
    _save(figure, path)


def _scatter(axis: "Axes", points: Tensor, **style: Any) -> None:  # noqa: ANN401 - passed through to matplotlib
    x, y = points.T.numpy()
    axis.scatter(x, y, **style)


def _panels(count: int, side: float) -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(side * columns, (side + 0.35) * rows + 0.3), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _legend() -> list["Line2D"]:
    from matplotlib.lines import Line2D

    marks = {"within 3 sigma of a centre": (BLUE, BLUE), "not": (RED, RED), "centre": (GREY, "none")}
    return [
        Line2D([], [], marker="o", linestyle="", color=edge, markerfacecolor=face, label=label)
        for label, (edge, face) in marks.items()
    ]


def _save(figure: "Figure", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")  # equal axes may push titles out of the layout
