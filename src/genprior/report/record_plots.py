"""What is plotted of a run's record."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from genprior.families.run_config import Curves
from genprior.plotting.curves import Curve, Plot
from genprior.plotting.drawing import BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, TEAL
from genprior.report.collect import Reported
from genprior.runs.best_weights import ScoredAge
from genprior.runs.step_rows import StepRows
from genprior.specs import Spec
from genprior.training.losses import LOSSES, AdversarialLoss

LOSS_COLOURS = dict(zip(LOSSES, (ORANGE, BLUE, GREEN, TEAL, PURPLE, BROWN), strict=False))
SHARE = (-0.03, 1.03)  # limits of an axis of numbers in [0, 1]
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, TEAL, BROWN)  # of the curves of a plot, in their order
Lines = Mapping[str, str]  # labels of curves, by their names in the record

# Of two players: each plot without its curves, and what these are.
LOSS_PLOT: tuple[Plot, Lines] = (
    Plot(
        "Losses of both players",
        "loss",
        "Dotted: the values once generated images cannot be told from real ones; at equilibrium the curves lie on "
        "them. A discriminator far below its line tells the two kinds apart. Losses of different games are on "
        "different scales.",
    ),
    {"discriminator_loss": "discriminator", "generator_loss": "generator"},
)
OPINION: tuple[Plot, Lines] = (
    Plot(
        "The discriminator's opinion",
        "probability of being real",
        "Mean of D over real images and over generated ones; at equilibrium both lie on the dotted line. The wider the "
        "gap, the surer the discriminator.",
        limits=SHARE,
    ),
    {"d_real": "D(x)", "d_fake": "D(G(z))"},
)
ACCURACY: tuple[Plot, Lines] = (
    Plot(
        "Accuracy of the discriminator",
        "share of images judged right",
        "1 for both is a discriminator that is never wrong, from which a generator with a saturating loss learns "
        "nothing.",
        levels=((0.5, GREY, "0.5, a coin flip"),),
        limits=SHARE,
    ),
    {"accuracy_real": "on real images", "accuracy_fake": "on generated images"},
)
GRADIENTS: tuple[Plot, Lines] = (
    Plot(
        "Gradients of both players",
        "norm of the gradient",
        "A generator's curve that falls by decades while the discriminator's accuracy nears 1 is a generator that has "
        "stopped learning.",
        is_log=True,
    ),
    {"discriminator_gradient_norm": "discriminator", "generator_gradient_norm": "generator"},
)
LOSS_FACTORS = Plot(
    "Loss factor: this loss and the others",
    "rms |dL/da| on fakes",
    "How strongly the loss pulls at the logit a of a generated image. Solid: the loss of this run. Dashed: what the "
    "other losses would give for the same batches. A solid curve decades below a dashed one is saturation: the loss "
    "itself, not the networks, takes the gradient away.",
    is_log=True,
)
FACTORS: tuple[Plot, Lines] = (
    Plot(
        "Where the generator's gradient comes from",
        "factor",
        "The generator's gradient norm is the product of three factors. The one that falls with it is the cause: the "
        "loss (saturation), the discriminator's slope, or the generator itself.",
        is_log=True,
    ),
    {
        "generator_gradient_norm": "product: the gradient",
        "loss_factor": "loss factor |dL/da|",
        "discriminator_slope": "slope of D",
        "generator_jacobian": "Jacobian of G",
    },
)
EFFECTIVE: tuple[Plot, Lines] = (
    Plot(
        "Share of the batch that teaches",
        "effective sample size / n",
        "1: every generated image of a batch weighs the same in the gradient. Near 0: a few images decide alone, and "
        "the gradient is mostly chance.",
        limits=SHARE,
    ),
    {"effective_share": "effective share"},
)
HELD_OUT = Plot(
    "Restoration of held-out images",
    "PSNR in dB",
    "Of images that are never learned, with noise and with missing pixels. Where the curve falls while training goes "
    "on, the model learns its images by heart. The weights of the highest point are kept.",
)
HELD_OUT_DENSITY = Plot(
    "Density of held-out images",
    "bits per dimension",
    "Of images that are never learned. Where the curve rises while training goes on, the model learns its images by "
    "heart. The weights of the lowest point are kept.",
)
SATURATION = (LOSS_FACTORS.title, FACTORS[0].title, EFFECTIVE[0].title)


def plots_of(reported: Reported) -> list[Plot]:
    """Returns all that is plotted of a run's record; nothing where it has none."""
    rows, config = reported.rows, reported.run.config
    if not rows:
        return []
    scored = [_held_out(reported.scored)] if reported.scored else []
    game = config.adversarial_loss()
    if game is None:
        return [*(_family_plot(reported, curves) for curves in config.CURVES.values()), *scored]
    return [*_players(rows, *game), *_saturation(rows, game[0].name), *scored]


def _held_out(ages: Sequence[ScoredAge]) -> Plot:
    """How well held-out images are known at all ages that were scored."""
    plot, sign = (HELD_OUT_DENSITY, -1) if ages[-1].bits_per_dim else (HELD_OUT, 1)
    images = np.array([age.images_seen for age in ages], dtype=float)
    values = sign * np.array([age.mean for age in ages])
    return replace(plot, curves=(Curve("held-out images", BLUE, images, values, has_band=False),))


def records_saturation(rows: StepRows) -> bool:
    """Whether the factors of the generator's gradient stand in a record; older runs lack them."""
    return "loss_factor" in rows.names


def _players(rows: StepRows, name: Spec, loss: AdversarialLoss) -> list[Plot]:
    """Both players, beside the values that they have at equilibrium."""
    half = 1 / (1 + math.exp(-loss.equilibrium_logit))
    levels = tuple(
        (level + 0.0, colour, f"{level + 0.0:.3f} at equilibrium")  # no "-0.000"
        for level, colour in zip(loss.at_equilibrium(), (BLUE, ORANGE), strict=True)
    )
    unit = "loss (nats)" if "saturating" in name.name else "loss"
    return [
        replace(_drawn(rows, *LOSS_PLOT), unit=unit, levels=levels, group=str(name)),
        replace(_drawn(rows, *OPINION), levels=((half, GREY, f"{half:.2g} at equilibrium"),)),
        _drawn(rows, *ACCURACY),
        _drawn(rows, *GRADIENTS),
    ]


def _saturation(rows: StepRows, own: str) -> list[Plot]:
    if not records_saturation(rows):
        return []
    others = [name for name in LOSSES if name != own and f"loss_factor_{name}" in rows.names]
    curves = [_curve(rows, "loss_factor", f"{own} (this run)", LOSS_COLOURS.get(own, BLUE))]
    for name in others:
        dashed = _curve(rows, f"loss_factor_{name}", name, LOSS_COLOURS.get(name, GREY))
        curves.append(replace(dashed, has_band=False, is_dashed=True))
    return [replace(LOSS_FACTORS, curves=tuple(curves)), _drawn(rows, *FACTORS), _drawn(rows, *EFFECTIVE)]


def _family_plot(reported: Reported, declared: Curves) -> Plot:
    """One of the plots that a family's config declares."""
    config = reported.run.config
    beside = config.facts(reported.environment.image_shape)
    notes = [f"{key}: {beside[key]}." for key in declared.labels if key in beside]
    reading = " ".join(["Recorded at every step; the band holds every value, the line is a running median.", *notes])
    title = declared.title[:1].upper() + declared.title[1:]
    plot = Plot(title, declared.unit, reading, group=config.family, is_log=declared.is_log)
    return _drawn(reported.rows, plot, declared.labels)


def _drawn(rows: StepRows, plot: Plot, lines: Lines) -> Plot:
    named = zip(lines.items(), COLOURS[: len(lines)], strict=True)
    return replace(plot, curves=tuple(_curve(rows, key, label, colour) for (key, label), colour in named))


def _curve(rows: StepRows, key: str, label: str, colour: str) -> Curve:
    return Curve(label, colour, rows.column("images_seen"), rows.column(key))
