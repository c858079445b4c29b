"""The picture of a GAN's distance from equilibrium, from numbers. No mathematics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL = 12  # percent; a bar lower than this has no place for its number
BLUE, ORANGE, GREY, TEAL = "#2166ac", "#d6604d", "#777777", "#1b9e9e"  # discriminator or real; generator or fakes; else


@dataclass(frozen=True)
class Curve:
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
    up: Curve
    down: Curve | None
    paying: Curve | None
    level: float
    alphas: Sequence[float]
    cosines: Sequence[float]
    no_path: str | None
    accuracy: Mapping[str, float]
    errors: Mapping[str, float]


def write_equilibrium(picture: EquilibriumPicture, path: Path) -> None:
    """Writes three panels side by side: both adversaries, path angle, and what the discriminator tells apart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.6), layout="constrained")
    adversaries, angle, telling = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 1))
    figure.suptitle(picture.title, fontsize=11)
    _draw_adversaries(adversaries, picture)
    _draw_angle(angle, picture)
    _draw_accuracy(telling, picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_adversaries(axis: "Axes", picture: EquilibriumPicture) -> None:
    kinds = {"better D'": (BLUE, picture.up), "better G'": (ORANGE, picture.down)}
    kinds["D' with penalties, V - R"] = TEAL, picture.paying
    for name, (colour, curve) in kinds.items():
        if curve is not None:
            axis.plot(curve.steps, curve.judged, color=colour, marker=".", label=f"{name}, judged images")
            axis.plot(
                curve.steps, curve.fit, color=colour, linewidth=0.8, alpha=0.6, linestyle="--", label="fit images"
            )
            axis.plot(
                curve.steps[curve.best], curve.judged[curve.best], "o", color=colour, markersize=9, fillstyle="none"
            )
    axis.axhline(picture.level, color=GREY, linestyle=":", label="at equilibrium, -log 4")
    axis.set_title("value V of the game (circles: reported)", fontsize=10)
    axis.set_xlabel("steps of the adversary")
    axis.grid(alpha=0.25)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False)


def _draw_angle(axis: "Axes", picture: EquilibriumPicture) -> None:
    axis.set_title("path angle: sign change at 1 = attraction, bump = rotation", fontsize=10)
    if not picture.alphas:
        axis.text(0.5, 0.5, f"not known:\n{picture.no_path}", ha="center", va="center", color=GREY, wrap=True)
        axis.set_axis_off()
        return
    axis.plot(picture.alphas, picture.cosines, color=GREY, marker=".")
    for place, name in ((0, "earlier players"), (1, "last players")):
        axis.axvline(place, color=GREY, linestyle=":")
        axis.text(place, 1.0, f" {name}", transform=axis.get_xaxis_transform(), va="top", fontsize=8, color=GREY)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_xlim(-0.12, 1.3)
    axis.set_xlabel("place on the straight path between the weights")
    axis.set_ylabel("cosine of gradients and path")
    axis.grid(alpha=0.25)


def _draw_accuracy(axis: "Axes", picture: EquilibriumPicture) -> None:
    kinds, values = list(picture.accuracy), [100 * share for share in picture.accuracy.values()]
    errors = [200 * picture.errors[kind] for kind in kinds]
    colours = [ORANGE if kind == "fakes" else BLUE for kind in kinds]
    axis.bar(kinds, values, yerr=errors, color=colours, width=0.6, capsize=4)
    for place, value in enumerate(values):
        colour, size = ("white", 3) if value > LABEL else (GREY, value + errors[place] + 3)
        axis.text(place, size, f"{value:.1f} %", ha="center", color=colour, fontsize=9)
    axis.axhline(50, color=GREY, linestyle=":")
    axis.set_ylim(0, 105)
    axis.set_title("what D tells right, % (bars: 2 standard errors)", fontsize=10)
