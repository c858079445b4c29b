"""Pictures of the order of min and max, from what was measured. No mathematics."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from genprior.diagnosis.one_player import Descended, Opposed

REAL, FAKE, MODES = "#2166ac", "#d95f02", "#777777"
SIZES = ("#9ecae1", "#4292c6", "#08306b", "#777777")  # narrow to wide; the last: the wide one again
DEGREES = (0, 45, 60, 90, 120, 135, 180)


def write_inner(found: "Sequence[Descended]", path: Path) -> None:
    """Writes what becomes of modes, diversity and logits while G learns against a D that stands still."""
    figure, axes = _grid(2, len(found), 3.7, 2.9)
    for column, each in enumerate(found):
        _draw_loss_of_variety(axes[0][column], each, is_first=column == 0)
        _draw_logits(axes[1][column], each, is_first=column == 0)
    _legend(figure, *axes.flat)
    _save(figure, path)


def write_outer(each: "Opposed", path: Path) -> None:
    """Writes how well discriminators of several sizes tell a good G from the data."""
    figure, axes = _grid(1, 2, 4.6, 4.2)
    steps = [moment.step for moment in each.moments]
    for colour, name in zip(SIZES, each.moments[0].discriminators, strict=False):
        style = _style(name, each.strong, colour)
        axes[0][0].plot(steps, [moment.discriminators[name].accuracy for moment in each.moments], **style)
        axes[0][1].plot(steps, [moment.discriminators[name].divergence for moment in each.moments], **style)
    for axis, none, most in ((axes[0][0], 0.5, 1.0), (axes[0][1], 0.0, math.log(2))):
        _decorate(axis, "steps of fresh discriminators", steps[-1])
        axis.axhline(none, color="black", linewidth=1, linestyle=":")
        axis.axhline(most, color="black", linewidth=0.6)
    axes[0][0].set_ylabel("accuracy on held-out images and new fakes")
    together = each.moments[0].discriminators[each.strong].together
    of_packs = f", of packs of {together}" if together > 1 else ""
    axes[0][1].set_ylabel(f"(V + log 4) / 2, nats (at most log 2){of_packs}")
    _bound(axes[0][1], [t.divergence for moment in each.moments for t in moment.discriminators.values()])
    functions: Any = (_value_of, _divergence_of)
    value = axes[0][1].secondary_yaxis("right", functions=functions)
    value.set_ylabel("V(D, G)")
    figure.suptitle(f"averaged generator at {each.images_seen:,} images", fontsize=10)
    _legend(figure, axes[0][0])
    _save(figure, path)


def write_angle(found: "Sequence[Opposed]", path: Path) -> None:
    """Writes the angles between what discriminators of several sizes tell the generator to do, one row an age."""
    figure, axes = _grid(len(found), 2, 4.6, 3.2)
    for row, each in enumerate(found):
        for axis, what in zip(axes[row], ("weights", "images"), strict=True):
            _draw_angles(axis, each, what)
    _legend(figure, axes[0][0])
    _save(figure, path)


def _draw_loss_of_variety(axis: "Axes", each: "Descended", is_first: bool) -> None:
    steps, first = [moment.step for moment in each.moments], each.moments[0].modes
    axis.plot(
        steps,
        [moment.diversity for moment in each.moments],
        color=FAKE,
        marker=".",
        label="variance over that of real images",
    )
    if first is not None and first > 1:  # else there is none to lose
        left = [math.nan if moment.modes is None else moment.modes / first for moment in each.moments]
        axis.plot(steps, left, color=MODES, marker=".", linestyle="--", label="modes, over those of the first step")
    _decorate(axis, "", steps[-1])
    axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    modes = "modes not known" if first is None else f"{first} mode{'s' * (first != 1)} at first"
    axis.set_title(f"D and G of {each.images_seen:,} images\n{modes}", fontsize=10)
    if is_first:
        axis.set_ylabel("share")


def _draw_logits(axis: "Axes", each: "Descended", is_first: bool) -> None:
    steps = [moment.step for moment in each.moments]
    axis.plot(steps, [moment.fake_logit for moment in each.moments], color=FAKE, marker=".", label="fakes, mean")
    axis.axhline(each.real_logit, color=REAL, label="real images, mean")
    axis.axhline(each.best_real_logit, color=REAL, linestyle="--", label="the real image that D likes most")
    _decorate(axis, "steps of G; D stands still", steps[-1])
    if is_first:
        axis.set_ylabel("logit")


def _draw_angles(axis: "Axes", each: "Opposed", what: str) -> None:
    steps = [moment.step for moment in each.moments]
    names = list(each.moments[0].cosines_with_strong)
    for colour, name in zip([*SIZES[: len(names) - 1], SIZES[-1]], names, strict=True):
        cosines = [getattr(moment.cosines_with_strong[name], what) for moment in each.moments]
        axis.plot(steps, cosines, **_style(name, each.strong, colour))
    axis.axhline(0, color="black", linewidth=1, linestyle=":")
    _decorate(axis, "steps of fresh discriminators", steps[-1])
    axis.set_ylim(-1.05, 1.05)
    axis.set_ylabel(f"cosine with {each.strong}")
    axis.set_title(f"G of {each.images_seen:,} images: gradient of its {what}", fontsize=10)
    right = axis.twinx()
    right.set_ylim(-1.05, 1.05)
    right.set_yticks([math.cos(math.radians(degrees)) for degrees in DEGREES], [f"{degrees}°" for degrees in DEGREES])


def _style(name: str, strong: str, colour: str) -> dict[str, Any]:
    is_again = not name.startswith("width") and name != strong
    label = f"{strong} {name}" if is_again else name
    return {"color": colour, "label": label, "marker": ".", "linestyle": "--" if is_again else "-", "linewidth": 1.4}


def _value_of(divergence: float) -> float:
    return 2 * divergence - math.log(4)


def _divergence_of(value: float) -> float:
    return (value + math.log(4)) / 2


def _bound(axis: "Axes", values: Sequence[float]) -> None:
    """A discriminator that is confidently wrong for a moment does not flatten all other curves."""
    known = [value for value in values if math.isfinite(value)]
    most = max([0.1, *known])
    axis.set_ylim(max(-most / 2, 1.2 * min([-0.02, *known])), min(0.73, 1.2 * most))


def _decorate(axis: "Axes", below: str, last: int) -> None:
    axis.set_xscale("symlog", linthresh=1)  # step 0 is shown
    axis.set_xlim(-0.2, 1.3 * last)
    axis.set_xlabel(below)
    axis.grid(alpha=0.25)


def _legend(figure: "Figure", *axes: "Axes") -> None:
    found = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes]
    handles = list({label: handle for each in found for handle, label in each}.values())
    columns = len(handles) if len(axes) == 1 or figure.get_figwidth() > 10 else 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _grid(rows: int, columns: int, width: float, height: float) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.0, width * columns), height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: "Figure", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
