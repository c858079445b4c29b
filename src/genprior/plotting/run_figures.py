"""Pictures of data, samples and training curves, from tensors and rows. No mathematics beyond smoothing a curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from genprior.images import image_grid, write_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from genprior.training.losses import AdversarialLoss

BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#777777"
Row = dict[str, Any]


def write_samples(x: Tensor, path: Path, columns: int | None = None) -> None:
    """Writes x (B, C, H, W) as a grid of images, small ones enlarged; points as a scatter plot."""
    if x.shape[1:] == (2, 1, 1):
        _write_scatter({"samples": x}, path)
        return
    grid = image_grid(x, columns)
    factor = max(1, round(560 / grid.shape[-1]))  # pixels stay sharp squares
    write_image(grid.repeat_interleave(factor, 1).repeat_interleave(factor, 2), path)


def write_real_and_generated(real: Tensor, generated: Tensor, path: Path) -> None:
    """Writes real x (B, C, H, W) beside generated ones."""
    if real.shape[1:] == (2, 1, 1):
        _write_scatter({"real": real, "generated": generated}, path)
        return
    figure, axes = _new_figure(1, 2, width=10, height=5.4)
    for axis, x, title in zip(axes, (real, generated), ("real", "generated"), strict=True):
        picture = image_grid(x).permute(1, 2, 0).numpy()
        axis.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(title)
        axis.set_axis_off()
    _save(figure, path)


def write_losses(rows: Sequence[Row], loss: "AdversarialLoss", name: str, path: Path) -> None:
    """Writes both players' losses over images seen, with the values that they have at equilibrium."""
    figure, (axis,) = _new_figure(1, 1)
    at_equilibrium = loss.at_equilibrium()
    players = (("discriminator", BLUE), ("generator", ORANGE))
    for (player, colour), level in zip(players, at_equilibrium, strict=True):
        level += 0.0  # no "-0.000"
        _curve(axis, rows, f"{player}_loss", player, colour)
        axis.axhline(level, color=colour, linestyle=":", linewidth=1.2)
        axis.annotate(
            f" {level:.3f} at equilibrium",
            (1, level),
            xycoords=("axes fraction", "data"),
            color=colour,
            fontsize=8,
            va="center",
        )
    _leave_spikes_out(axis, [row[f"{player}_loss"] for row in rows for player, _ in players], at_equilibrium)
    axis.set_ylabel("loss (nats)" if "saturating" in name else "loss")
    axis.set_title(f"losses of both players, {name}")
    _finish(axis)
    _save(figure, path)


def write_probabilities(rows: Sequence[Row], path: Path, equilibrium: float = 0.5) -> None:
    """Writes D(x) and D(G(z)) over images seen, and below them the discriminator's accuracies.

    Arguments:
        rows: Of the log.
        path: Of the picture.
        equilibrium: D(x) and D(G(z)) once generated images cannot be told from real ones.
    """
    figure, (above, below) = _new_figure(2, 1, height=6.5)
    _curve(above, rows, "d_real", "D(x)", BLUE)
    _curve(above, rows, "d_fake", "D(G(z))", ORANGE)
    above.set_ylabel("mean probability of being real")
    above.set_title("the discriminator's opinion")
    _curve(below, rows, "accuracy_real", "on real images", BLUE)
    _curve(below, rows, "accuracy_fake", "on generated images", ORANGE)
    below.set_ylabel("discriminator accuracy")
    for axis, level in ((above, equilibrium), (below, 0.5)):
        axis.axhline(level, color=GREY, linestyle=":", linewidth=1.2)
        axis.set_ylim(-0.03, 1.03)
        _finish(axis)
    _save(figure, path)


def write_curves(
    rows: Sequence[Row], labels: Mapping[str, str], title: str, unit: str, path: Path, *, is_log: bool = False
) -> None:
    """Writes numbers of the record over images seen.

    Arguments:
        rows: Of the log.
        labels: What each curve is called, by its name in the rows; at most three.
        title, unit: Above the picture, and along its vertical axis.
        path: Of the picture.
        is_log: Whether the vertical axis is logarithmic, where any number is above 0.
    """
    figure, (axis,) = _new_figure(1, 1)
    for (key, label), colour in zip(labels.items(), (BLUE, ORANGE, GREY), strict=False):
        _curve(axis, rows, key, label, colour)
    values = [row[key] for row in rows for key in labels]
    if is_log and max(value or 0 for value in values) > 0:  # zero, or nothing known, has no place on such an axis
        axis.set_yscale("log")
    if not is_log:
        _leave_spikes_out(axis, values, ())
    axis.set_ylabel(unit)
    axis.set_title(title)
    _finish(axis)
    _save(figure, path)


def _new_figure(rows: int, columns: int, width: float = 8, height: float = 4.2) -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure  # no pyplot: it holds every figure in a global list

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def _curve(axis: "Axes", rows: Sequence[Row], key: str, label: str, colour: str) -> None:
    """Every step, pale, and a running median over a fiftieth of the run, which the eye can follow."""
    images = np.array([row["images_seen"] for row in rows], dtype=float)
    values = np.array([np.nan if row[key] is None else row[key] for row in rows], dtype=float)
    axis.plot(images, values, color=colour, alpha=0.25, linewidth=0.7)
    window = max(1, len(values) // 50)
    median = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
    marker = "o" if len(median) == 1 else None  # a line through one point would show nothing
    axis.plot(images[window - 1 :], median, color=colour, linewidth=1.8, label=label, marker=marker)


def without_spikes(values: Sequence[float | None], levels: Sequence[float]) -> tuple[float, float, int] | None:
    """Returns limits (low, high) of all but the rarest values, and how many lie outside; None where there are none.

    One spike would flatten the rest of a curve.

    Arguments:
        values: Of curves; None where a value was not finite.
        levels: What must be seen too, such as values at equilibrium.

    Example:
        >>> without_spikes([1.0, 1.0, None], [2.0])
        (0.92, 2.08, 0)
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    if not len(known):
        return None
    low, high = (float(value) for value in np.quantile(known, (0.01, 0.99)))
    low, high = min([low, *levels]), max([high, *levels])
    margin = 0.08 * (high - low) or 1.0
    outside = int(((known < low - margin) | (known > high + margin)).sum())
    return low - margin, high + margin, outside


def _leave_spikes_out(axis: "Axes", values: Sequence[float | None], levels: Sequence[float]) -> None:
    """Fits the axis to all but the rarest values, and says how many it leaves out."""
    limits = without_spikes(values, levels)
    if limits is None:
        return
    low, high, outside = limits
    axis.set_ylim(low, high)
    if outside:
        note = f"{outside} of {sum(value is not None for value in values)} values lie outside"
        axis.annotate(note, (0.01, 0.02), xycoords="axes fraction", color=GREY, fontsize=8)


def _finish(axis: "Axes") -> None:
    from matplotlib.ticker import EngFormatter

    axis.set_xlabel("images seen")
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.grid(alpha=0.25)
    axis.legend(framealpha=0.85, edgecolor="none")


def _write_scatter(points: dict[str, Tensor], path: Path) -> None:
    figure, axes = _new_figure(1, len(points), width=5 * len(points), height=5)
    values = torch.cat([x.flatten().abs() for x in points.values()])
    bound = 1.1 * float(values[torch.isfinite(values)].max().clamp(min=1e-6)) if torch.isfinite(values).any() else 1.0
    for axis, (title, x) in zip(axes, points.items(), strict=True):
        colour = BLUE if title == "real" else ORANGE
        axis.scatter(x[:, 0, 0, 0], x[:, 1, 0, 0], s=3, alpha=0.4, color=colour)
        axis.set(title=title, xlim=(-bound, bound), ylim=(-bound, bound), aspect="equal")
        axis.grid(alpha=0.25)
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight", pad_inches=0.1)
