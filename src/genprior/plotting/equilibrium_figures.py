"""How far a GAN is from equilibrium: better players, the path between players, and what D tells apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genprior.plotting.drawing import BLUE, GREY, ORANGE, TEAL, add_legend, draw_level, draw_line, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL = 12  # percent; a lower bar has no room for its number


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
