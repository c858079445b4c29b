"""The picture of runs side by side, from tensors. No mathematics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.images import image_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 6  # samples in a row, and images in a strip


@dataclass(frozen=True)
class Pictured:
    """What is shown of a run.

    Attributes:
        title: Above its pictures.
        samples: (N, C, H, W).
        truth: (B, C, H, W), the same for all runs.
        reconstructions: (B, C, H, W).
        restorations: Of each kind of damage, what was seen and what was made of it, (B, C, H, W) each.
    """

    title: str
    samples: Tensor
    truth: Tensor
    reconstructions: Tensor
    restorations: Mapping[str, tuple[Tensor, Tensor]]


def write_comparison(runs: Sequence[Pictured], path: Path) -> None:
    """Writes a row of pictures for each run: samples, held-out images and their reconstructions, each restoration."""
    from matplotlib.figure import Figure

    columns = 2 + len(runs[0].restorations)
    figure = Figure(figsize=(3.1 * columns, 3.3 * len(runs)), layout="constrained")
    axes = figure.subplots(len(runs), columns, squeeze=False)
    for row, run in zip(axes, runs, strict=True):
        _show(row[0], image_grid(run.samples[: SIDE * SIDE], SIDE), f"{run.title}: samples")
        _show(row[1], _pairs([run.truth, run.reconstructions]), "held-out: truth, nearest")
        for axis, (title, (seen, made)) in zip(row[2:], run.restorations.items(), strict=True):
            _show(axis, _pairs([run.truth, seen, made]), f"{title}: truth, seen, restored")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _pairs(rows: Sequence[Tensor]) -> Tensor:
    """Strips of images under each other, as many times as make a square."""
    times = SIDE // len(rows)
    strips = [row[SIDE * i : SIDE * (i + 1)] for i in range(times) for row in rows]
    return image_grid(torch.cat([strip for strip in strips if len(strip)]).clamp(0, 1), SIDE)


def _show(axis: "Axes", grid: Tensor, title: str) -> None:
    axis.imshow(grid.permute(1, 2, 0).numpy().squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()
