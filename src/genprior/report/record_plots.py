"""What is plotted of a run's record."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from genprior.families import GANConfig
from genprior.families.run_config import Curves
from genprior.plotting.plots import GREEN, PURPLE, TEAL, Curve, Plot
from genprior.plotting.run_figures import BLUE, GREY, ORANGE
from genprior.report.collect import Reported
from genprior.runs.step_log import Row
from genprior.specs import build
from genprior.training.losses import LOSSES

LOSS_COLOURS = dict(zip(LOSSES, (ORANGE, BLUE, GREEN, TEAL, PURPLE), strict=False))
SATURATION = (
    "Loss factor: this loss and the others",
    "Where the generator's gradient comes from",
    "Share of the batch that teaches",
)
FACTORS = {
    "loss_factor": ("loss factor |dL/da|", ORANGE),
    "discriminator_slope": ("slope of D", GREEN),
    "generator_jacobian": ("Jacobian of G", PURPLE),
    "generator_gradient_norm": ("product: the gradient", BLUE),
}


def plots_of(reported: Reported) -> list[Plot]:
    """Returns all that is plotted of a run's record; nothing where it has none."""
    if not reported.rows:
        return []
    if isinstance(reported.run.config, GANConfig):
        return [*_players(reported.rows, reported.run.config), *_saturation(reported.rows, reported.run.config)]
    return [_family_plot(reported, curves) for curves in reported.run.config.CURVES.values()]


def _players(rows: Sequence[Row], config: GANConfig) -> list[Plot]:
    loss = build(LOSSES, config.loss, "loss")
    levels = [level + 0.0 for level in loss.at_equilibrium()]  # no "-0.000"
    half = 1 / (1 + math.exp(-loss.equilibrium_logit))
    return [
        Plot(
            "Losses of both players",
            "loss (nats)" if "saturating" in config.loss.name else "loss",
            "Dotted: the values once generated images cannot be told from real ones; at equilibrium the curves lie on "
            "them. A discriminator far below its line tells the two kinds apart. Losses of different games are on "
            "different scales.",
            (
                _curve(rows, "discriminator_loss", "discriminator", BLUE),
                _curve(rows, "generator_loss", "generator", ORANGE),
            ),
            tuple(
                (level, colour, f"{level:.3f} at equilibrium")
                for level, colour in zip(levels, (BLUE, ORANGE), strict=True)
            ),
            group=str(config.loss),
        ),
        Plot(
            "The discriminator's opinion",
            "probability of being real",
            "Mean of D over real images and over generated ones; at equilibrium both lie on the dotted line. The wider "
            "the gap, the surer the discriminator.",
            (_curve(rows, "d_real", "D(x)", BLUE), _curve(rows, "d_fake", "D(G(z))", ORANGE)),
            ((half, GREY, f"{half:.2g} at equilibrium"),),
            limits=(-0.03, 1.03),
        ),
        Plot(
            "Accuracy of the discriminator",
            "share of images told right",
            "1 for both is a discriminator that is never wrong, from which a generator with a "
            "saturating loss learns nothing.",
            (
                _curve(rows, "accuracy_real", "on real images", BLUE),
                _curve(rows, "accuracy_fake", "on generated images", ORANGE),
            ),
            ((0.5, GREY, "0.5, a coin's"),),
            limits=(-0.03, 1.03),
        ),
        Plot(
            "Gradients of both players",
            "norm of the gradient",
            "A generator's curve that falls by decades while the discriminator's accuracy nears 1 is a generator that "
            "has stopped learning.",
            (
                _curve(rows, "discriminator_gradient_norm", "discriminator", BLUE),
                _curve(rows, "generator_gradient_norm", "generator", ORANGE),
            ),
            is_log=True,
        ),
    ]


def records_saturation(rows: Sequence[Row]) -> bool:
    """Whether the factors of the generator's gradient stand in a record; older runs lack them."""
    return any("loss_factor" in row for row in rows)


def _saturation(rows: Sequence[Row], config: GANConfig) -> list[Plot]:
    if not records_saturation(rows):
        return []
    own = config.loss.name
    others = [name for name in LOSSES if name != own and any(f"loss_factor_{name}" in row for row in rows)]
    return [
        Plot(
            SATURATION[0],
            "rms |dL/da| on fakes",
            "How strongly the loss pulls at the logit a of a generated image. Solid: the loss of this run. Dashed: "
            "what the other losses would give for the same batches. A solid curve decades below a dashed one is "
            "saturation: the loss itself, not the networks, takes the gradient away.",
            (
                _curve(rows, "loss_factor", f"{own} (this run)", LOSS_COLOURS.get(own, BLUE)),
                *(
                    replace(
                        _curve(rows, f"loss_factor_{name}", name, LOSS_COLOURS.get(name, GREY)),
                        has_band=False,
                        is_dashed=True,
                    )
                    for name in others
                ),
            ),
            is_log=True,
        ),
        Plot(
            SATURATION[1],
            "factor",
            "The generator's gradient norm is the product of three factors. The one that falls with it is the cause: "
            "the loss (saturation), the discriminator's slope, or the generator itself.",
            tuple(_curve(rows, key, label, colour) for key, (label, colour) in FACTORS.items()),
            is_log=True,
        ),
        Plot(
            SATURATION[2],
            "effective sample size / n",
            "1: every generated image of a batch weighs the same in the gradient. Near 0: a few images decide alone, "
            "and the gradient is mostly chance.",
            (_curve(rows, "effective_share", "effective share", BLUE),),
            limits=(-0.03, 1.03),
        ),
    ]


def _family_plot(reported: Reported, curves: Curves) -> Plot:
    """One of the pictures that a family's config names."""
    config = reported.run.config
    lines = [
        _curve(reported.rows, key, label, colour)
        for (key, label), colour in zip(curves.labels.items(), (BLUE, ORANGE, GREEN), strict=False)
    ]
    beside = config.facts(reported.environment.image_shape)
    notes = [f"{key}: {beside[key]}." for key in curves.labels if key in beside]
    title = curves.title[:1].upper() + curves.title[1:]
    reading = " ".join(["Recorded at every step; the band holds every value, the line is a running median.", *notes])
    return Plot(title, curves.unit, reading, tuple(lines), group=config.family, is_log=curves.is_log)


def _curve(rows: Sequence[Row], key: str, label: str, colour: str) -> Curve:
    images = np.array([row["images_seen"] for row in rows], dtype=float)
    given = (row.get(key) for row in rows)
    values = np.array([np.nan if value is None else value for value in given], dtype=float)
    return Curve(label, colour, images, values)
