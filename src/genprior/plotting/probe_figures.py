"""Experiments on a trained run, from what was measured: fresh players beside those of the run."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.plotting.drawing import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SHADES,
    add_legend,
    count_steps,
    draw_level,
    draw_line,
    label_decades,
    new_figure,
    panels,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from genprior.diagnosis.one_player import Agreement, Descended, Opposed

COLUMNS = 4
LOSSES = (ORANGE, BLUE, GREY)
DEGREES = (0, 45, 60, 90, 120, 135, 180)
STEPS = "steps of fresh discriminators"
COSINES: "dict[str, Callable[[Agreement], float]]" = {"weights": lambda a: a.weights, "images": lambda a: a.images}


@dataclass(frozen=True)
class Panel:
    """Gradient norms against the generator of one age.

    Attributes:
        title: Above them.
        steps: Of the discriminator.
        norms: By the label of a loss, a curve for each discriminator; None: not known.
    """

    title: str
    steps: Sequence[int]
    norms: Mapping[str, Sequence[Sequence[float | None]]]


def write_saturation(ages: Sequence[Panel], path: Path) -> None:
    """Writes the gradient norms of the generator over the steps of a discriminator, one panel an age."""
    columns = min(COLUMNS, len(ages))
    rows = -(-len(ages) // columns)
    with new_figure(max(5.5, 4.2 * columns), 4.2 * rows) as figure:
        axes = panels(figure, len(ages), columns, share_y=True)
        norms = (value for panel in ages for curves in panel.norms.values() for curve in curves for value in curve)
        for axis, panel in zip(axes, ages, strict=True):
            _draw_norms(axis, panel)
        if any((value or 0) > 0 for value in norms):  # where nothing is above 0, such an axis has nowhere to begin
            axes[0].set_yscale("log")  # of all, for they share it
            label_decades(axes[0].yaxis)
        for axis in axes[::columns]:
            axis.set_ylabel("norm of the generator's gradient")
        save(figure, path)


def write_inner(found: "Sequence[Descended]", path: Path) -> None:
    """Writes what becomes of modes, diversity and logits while G learns against a D that stands still."""
    with new_figure(max(5.0, 3.7 * len(found)), 5.8) as figure:
        axes = figure.subplots(2, len(found), squeeze=False)
        for above, below, each in zip(*axes, found, strict=True):
            _draw_loss_of_variety(above, each)
            _draw_logits(below, each)
        for axis, unit in zip(axes[:, 0], ("share", "logit"), strict=True):
            axis.set_ylabel(unit)
        add_legend(figure, min(3, len(found)))
        save(figure, path)


def write_outer(each: "Opposed", path: Path) -> None:
    """Writes how well discriminators of several sizes tell a good G from the data."""
    first = each.moments[0].discriminators
    with new_figure(9.2, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        steps = [moment.step for moment in each.moments]
        for name, style in _styles(list(first), each.strong).items():
            draw_line(left, steps, [moment.discriminators[name].accuracy for moment in each.moments], **style)
            draw_line(right, steps, [moment.discriminators[name].divergence for moment in each.moments], **style)
        for axis, none, most in ((left, 0.5, 1.0), (right, 0.0, math.log(2))):
            count_steps(axis, steps[-1], STEPS)
            draw_level(axis, none, INK)
            axis.axhline(most, color=INK, linewidth=0.6)
        left.set_ylabel("accuracy on held-out images and new fakes")
        together = first[each.strong].together
        of_packs = f", of packs of {together}" if together > 1 else ""
        right.set_ylabel(f"(V + log 4) / 2, nats (at most log 2){of_packs}")
        _bound(right, [found.divergence for moment in each.moments for found in moment.discriminators.values()])
        both_ways: Any = (lambda nats: 2 * nats - math.log(4), lambda value: (value + math.log(4)) / 2)
        right.secondary_yaxis("right", functions=both_ways).set_ylabel("V(D, G)")
        figure.suptitle(f"averaged generator at {each.images_seen:,} images")
        add_legend(figure, len(first))
        save(figure, path)


def write_angle(found: "Sequence[Opposed]", path: Path) -> None:
    """Writes the angles between the gradients that discriminators of several sizes give the generator, a row an age."""
    with new_figure(9.2, 3.2 * len(found)) as figure:
        axes = iter(panels(figure, 2 * len(found), 2))
        for each in found:
            for what, cosine in COSINES.items():
                _draw_angles(next(axes), each, what, cosine)
        add_legend(figure, len(found[0].moments[0].cosines_with_strong))
        save(figure, path)


def _draw_norms(axis: "Axes", panel: Panel) -> None:
    for colour, (name, curves) in zip(LOSSES, panel.norms.items(), strict=False):
        for i, curve in enumerate(curves):
            values = [value or None for value in curve]  # 0 has no place on a logarithmic axis
            draw_line(axis, panel.steps, values, colour, name if i == 0 else None, has_marks=True)
    count_steps(axis, panel.steps[-1], "steps of a fresh discriminator")
    axis.set_title(panel.title)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))  # it tells how far the curves of this panel fell


def _draw_loss_of_variety(axis: "Axes", each: "Descended") -> None:
    steps, first = [moment.step for moment in each.moments], each.moments[0].modes
    variance = [moment.diversity for moment in each.moments]
    draw_line(axis, steps, variance, ORANGE, "variance over that of real images", has_marks=True)
    if first is not None and first > 1:  # else there is none to lose
        left = [None if moment.modes is None else moment.modes / first for moment in each.moments]
        draw_line(axis, steps, left, GREY, "modes, over those of the first step", has_marks=True, is_dashed=True)
    count_steps(axis, steps[-1])
    axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    modes = "modes not known" if first is None else f"{first} mode{'s' * (first != 1)} at first"
    axis.set_title(f"D and G of {each.images_seen:,} images\n{modes}")


def _draw_logits(axis: "Axes", each: "Descended") -> None:
    steps = [moment.step for moment in each.moments]
    draw_line(axis, steps, [moment.fake_logit for moment in each.moments], ORANGE, "fakes, mean", has_marks=True)
    axis.axhline(each.real_logit, color=BLUE, label="real images, mean")
    axis.axhline(each.best_real_logit, color=BLUE, linestyle="--", label="the real image that D likes most")
    count_steps(axis, steps[-1], "steps of G; D stands still")


def _draw_angles(axis: "Axes", each: "Opposed", what: str, cosine: "Callable[[Agreement], float]") -> None:
    steps = [moment.step for moment in each.moments]
    for name, style in _styles(list(each.moments[0].cosines_with_strong), each.strong).items():
        draw_line(axis, steps, [cosine(moment.cosines_with_strong[name]) for moment in each.moments], **style)
    draw_level(axis, 0, INK)
    count_steps(axis, steps[-1], STEPS)
    axis.set(ylim=(-1.05, 1.05), ylabel=f"cosine with {each.strong}")
    axis.set_title(f"G of {each.images_seen:,} images: gradient of its {what}")
    right = axis.twinx()
    right.grid(visible=False)
    right.set_ylim(-1.05, 1.05)
    right.set_yticks([math.cos(math.radians(degrees)) for degrees in DEGREES], [f"{degrees}°" for degrees in DEGREES])


def _styles(names: list[str], strong: str) -> dict[str, dict[str, Any]]:
    """Of each discriminator's line: the wider, the darker; one that is only trained again is grey."""
    again = [not name.startswith("width") and name != strong for name in names]
    return {
        name: {
            "colour": GREY if is_again else SHADES[min(i, len(SHADES) - 1)],
            "label": f"{strong} {name}" if is_again else name,
            "is_dashed": is_again,
            "has_marks": True,
        }
        for i, (name, is_again) in enumerate(zip(names, again, strict=True))
    }


def _bound(axis: "Axes", values: Sequence[float]) -> None:
    """A discriminator that is confidently wrong for a moment does not flatten all other curves."""
    known = [value for value in values if math.isfinite(value)]
    most = max([0.1, *known])
    axis.set_ylim(max(-most / 2, 1.2 * min([-0.02, *known])), min(0.73, 1.2 * most))
