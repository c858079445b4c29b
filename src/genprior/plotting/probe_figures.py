"""Figures of the probes: fresh players beside those of the run, and how far a GAN is from equilibrium."""

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
    TEAL,
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
LABEL = 12  # percent; a lower bar has no room for its number
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


@dataclass(frozen=True)
class AdversaryCurve:
    """The value of the game while an adversary learns.

    Attributes:
        steps: Of the adversary.
        judged: On images that are only reported.
        fit: On images that it learns from.
        best: Index of the moment that is reported.
    """

    steps: Sequence[int]
    judged: Sequence[float]
    fit: Sequence[float]
    best: int


@dataclass(frozen=True)
class EquilibriumPicture:
    """What is drawn.

    Attributes:
        title: The verdict.
        up, down: Better discriminators and better generators; down None: there are none.
        paying: Better discriminators that pay the run's penalties, on V - R; None: there are none.
        level: Value at equilibrium.
        alphas, cosines: Of the path angle; empty: not known.
        no_path: Why not.
        accuracy: Of the discriminator by the kind of images, in [0, 1].
        errors: Of it.
    """

    title: str
    up: AdversaryCurve
    down: AdversaryCurve | None
    paying: AdversaryCurve | None
    level: float
    alphas: Sequence[float]
    cosines: Sequence[float]
    no_path: str | None
    accuracy: Mapping[str, float]
    errors: Mapping[str, float]


def write_equilibrium(picture: EquilibriumPicture, path: Path) -> None:
    """Writes three panels side by side: both adversaries, path angle, and what the discriminator tells apart."""
    with new_figure(14, 4.8) as figure:
        adversaries, angle, telling = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 1))
        figure.suptitle(picture.title)
        _draw_adversaries(adversaries, picture)
        _draw_angle(angle, picture)
        _draw_accuracy(telling, picture)
        add_legend(figure, 4)
        save(figure, path)


def _draw_adversaries(axis: "Axes", picture: EquilibriumPicture) -> None:
    kinds = {"better D'": (BLUE, picture.up), "better G'": (ORANGE, picture.down)}
    kinds["D' with penalties, V - R"] = TEAL, picture.paying
    for name, (colour, curve) in kinds.items():
        if curve is not None:
            draw_line(axis, curve.steps, curve.judged, colour, f"{name}, judged images", has_marks=True)
            draw_line(axis, curve.steps, curve.fit, colour, f"{name}, fit images", is_dashed=True)
            best = curve.steps[curve.best], curve.judged[curve.best]
            axis.plot(*best, "o", color=colour, markersize=9, fillstyle="none")
    draw_level(axis, picture.level, GREY, "at equilibrium, -log 4")
    axis.set(title="value V of the game (circles: reported)", xlabel="steps of the adversary")


def _draw_angle(axis: "Axes", picture: EquilibriumPicture) -> None:
    axis.set_title("path angle: sign change at 1 = attraction, bump = rotation")
    if not picture.alphas:
        axis.text(0.5, 0.5, f"not known:\n{picture.no_path}", ha="center", va="center", color=GREY, wrap=True)
        axis.set_axis_off()
        return
    draw_line(axis, picture.alphas, picture.cosines, GREY, has_marks=True)
    for place, name in ((0, "earlier players"), (1, "last players")):
        axis.axvline(place, color=GREY, linestyle=":")
        axis.text(place, 1.0, f" {name}", transform=axis.get_xaxis_transform(), va="top", color=GREY)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set(xlim=(-0.12, 1.3), xlabel="place on the straight path between the weights")
    axis.set_ylabel("cosine of gradients and path")


def _draw_accuracy(axis: "Axes", picture: EquilibriumPicture) -> None:
    kinds, values = list(picture.accuracy), [100 * share for share in picture.accuracy.values()]
    errors = [200 * picture.errors[kind] for kind in kinds]
    colours = [ORANGE if kind == "fakes" else BLUE for kind in kinds]
    axis.bar(kinds, values, yerr=errors, color=colours, width=0.6, capsize=4)
    for place, value in enumerate(values):
        colour, size = ("white", 3) if value > LABEL else (GREY, value + errors[place] + 3)
        axis.text(place, size, f"{value:.1f} %", ha="center", color=colour)
    draw_level(axis, 50, GREY)
    axis.grid(visible=False, axis="x")
    axis.set(ylim=(0, 105), title="what D gets right, % (bars: 2 standard errors)")
