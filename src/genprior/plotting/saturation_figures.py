"""Pictures of experiments on a trained run, from numbers. No mathematics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#d6604d", "#2166ac", "#777777")
COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """Gradient norms against the generator of one age.

    Attributes:
        title: Above them.
        steps: Of the discriminator.
        norms: By what a loss is called, a curve for each discriminator; None: not known.
    """

    title: str
    steps: Sequence[int]
    norms: Mapping[str, Sequence[Sequence[float | None]]]


def write_saturation(panels: Sequence[Panel], path: Path) -> None:
    """Writes the gradient norms of the generator over the steps of a discriminator, one panel an age."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(5.5, 4.2 * columns), 4.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, panel in zip(axes.flat, panels, strict=False):
        _draw(axis, panel)
    if any(value is not None and value > 0 for panel in panels for curve in _curves(panel) for value in curve):
        axes[0, 0].set_yscale("log")  # of all, for they share it; where nothing is above 0 it has nowhere to begin
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for row in axes:
        row[0].set_ylabel("norm of the generator's gradient")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _curves(panel: Panel) -> list[Sequence[float | None]]:
    return [curve for curves in panel.norms.values() for curve in curves]


def _draw(axis: "Axes", panel: Panel) -> None:
    for colour, (name, curves) in zip(COLOURS, panel.norms.items(), strict=False):
        for i, curve in enumerate(curves):
            values = np.array([value or np.nan for value in curve], dtype=float)  # 0 has no place on a log axis
            label = name if i == 0 else None
            axis.plot(panel.steps, values, color=colour, marker=".", markersize=4, linewidth=1.4, label=label)
    axis.set_xscale("symlog", linthresh=1)  # step 0 is shown
    axis.set_xlim(-0.2, 1.3 * panel.steps[-1])
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel("steps of a fresh discriminator")
    axis.grid(alpha=0.25)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8, frameon=False)
