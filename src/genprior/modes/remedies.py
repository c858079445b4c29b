"""What the benchmark of mode counts trains: losses and remedies, on bases for each data set. Does not import torch.

A row of a table is a base with the remedy's settings in place of the base's own. `ROWS` and `BASES` are the places to
add one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError, suggestion
from genprior.families import GANConfig
from genprior.settings import validated


@dataclass(frozen=True)
class Remedy:
    """A loss, or a remedy against mode collapse.

    Attributes:
        title: What it is, in a few words.
        source: Where it comes from.
        settings: Fields of `GANConfig` that take the place of the base's.
        model: Options that are added to the base's model, or take the place of its own.
    """

    title: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """How all rows of a data set are trained and measured.

    Attributes:
        settings: Fields of `GANConfig`; the budget is a number of images.
        samples: Drawn from each trained model, as many as published tables use.
        own: Fields of `GANConfig` that a row takes on this data set, by the row's name; a penalty's weight has the
            units of the data.
    """

    settings: Mapping[str, Any]
    samples: int
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def images(self, row: str) -> int:
        """Returns the number of images that a row, a name of `ROWS`, is trained on."""
        seen: int = {**self.settings, **self.own.get(row, {})}["images_seen"]
        return seen


PLAIN = "non-saturating"  # the row whose speed is 1
LOSS_OF_GAN = "Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661"
PENALTY = "Mescheder et al. 2018, https://arxiv.org/abs/1801.04406"
PACKING = "Lin et al. 2018, https://arxiv.org/abs/1712.04086"
# Batch normalisation makes the slope at one image depend on the others.
NO_NORM = {"norm": "none"}

ROWS: dict[str, Remedy] = {
    # Losses alone.
    "saturating": Remedy("saturating", LOSS_OF_GAN, {"loss": "saturating"}),
    "non-saturating": Remedy("non-saturating", LOSS_OF_GAN),
    "least-squares-logit": Remedy(
        "least squares", "Mao et al. 2017, https://arxiv.org/abs/1611.04076", {"loss": "least-squares-logit"}
    ),
    "hinge": Remedy("hinge", "Lim & Ye 2017, https://arxiv.org/abs/1705.02894", {"loss": "hinge"}),
    "wasserstein": Remedy(
        "Wasserstein, unbounded slope",
        "Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875",
        {"loss": "wasserstein"},
    ),
    "relativistic": Remedy(
        "relativistic", "Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734", {"loss": "relativistic"}
    ),
    # Remedies, on the plain row where nothing else is said.
    "packing-2": Remedy("packs of 2", PACKING, {"pack": 2}),
    "packing-4": Remedy("packs of 4", PACKING, {"pack": 4}),
    "unrolling-5": Remedy("unrolled by 5 steps", "Metz et al. 2016, https://arxiv.org/abs/1611.02163", {"unroll": 5}),
    "minibatch-deviation": Remedy(
        "minibatch deviation", "Karras et al. 2018, https://arxiv.org/abs/1710.10196", model={"deviation": 4}
    ),
    "spectral-norm": Remedy(
        "spectral norm", "Miyato et al. 2018, https://arxiv.org/abs/1802.05957", model={"norm": "spectral"}
    ),
    "r1": Remedy("R1", PENALTY, {"penalty": ("r1:gamma=0.5",)}, NO_NORM),
    "r1+r2": Remedy("R1 + R2", PENALTY, {"penalty": ("r1:gamma=0.5", "r2:gamma=0.5")}, NO_NORM),
    "wgan-gp": Remedy(
        "WGAN-GP",
        "Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028",
        {"loss": "wasserstein", "penalty": ("wgan-gp:weight=10",)},
        NO_NORM,
    ),
    "relativistic+r1+r2": Remedy(
        "R3GAN's loss",
        "Huang et al. 2024, https://arxiv.org/abs/2501.05441",
        {"loss": "relativistic", "penalty": ("r1:gamma=0.5", "r2:gamma=0.5")},
        NO_NORM,
    ),
    "recipe": Remedy("the best settings that we know", "`BASES` of each data set"),
}

POINTS: dict[str, Any] = {"preset": "points", "batch_size": 128, "images_seen": 2500 * 128, "schedule": "linear"}
DIGITS: dict[str, Any] = {"preset": "dcgan-28", "discriminator_updates": 1}
STACKS: dict[str, Any] = {**DIGITS, "data": "stacked-mnist", "batch_size": 128, "average_half_life": 20_000}
CONVERGENT: dict[str, Any] = {"beta1": 0.0, "beta2": 0.99, "schedule": "linear"}


def _penalised(weight: float, fade: float = 1.0) -> tuple[str, ...]:
    """R1 and R2 of one weight."""
    return tuple(f"{name}:gamma={weight:g},fade={fade:g}" for name in ("r1", "r2"))


def _of_points(weight: float, frequency: float, steps: int) -> dict[str, dict[str, Any]]:
    """What rows take on points; a weight has the units of squared lengths."""
    sharp = {
        "loss": "relativistic",
        "penalty": _penalised(20 * weight, 0.002),  # all modes first, sharp ones then
        "model": f"mlp:depth=5,waves=64,frequency={frequency:g}",
        "generator_learning_rate": 0.004,
        "discriminator_learning_rate": 0.0015,
        "schedule": "annealed",
        "batch_size": 256,
        "images_seen": steps * 256,
    }
    both = _penalised(weight)
    rows = {"r1": both[:1], "r1+r2": both, "relativistic+r1+r2": both}
    return {"recipe": {**CONVERGENT, **sharp}, **{row: {"penalty": penalty} for row, penalty in rows.items()}}


# The same for every row but for what makes it a row, and for the recipe, which is the best that we know.
BASES: dict[str, Base] = {
    "ring": Base({**POINTS, "data": "ring", "model": "mlp:waves=64,frequency=4"}, 2500, _of_points(0.01, 4.0, 5000)),
    "grid": Base({**POINTS, "data": "grid", "model": "mlp:waves=64,frequency=1.5"}, 2500, _of_points(0.1, 1.5, 14_000)),
    "mnist": Base(
        {**DIGITS, "data": "mnist", "batch_size": 64, "images_seen": 24_000, "average_half_life": 2000},
        10_000,
        {
            "recipe": {
                **CONVERGENT,
                "model": "dcgan:norm=none",
                "penalty": ("r1:gamma=0.5,every=8",),
                "images_seen": 48_000,  # slower at first than the plain game
            }
        },
    ),
    # Unrolled GAN's setting, with a discriminator of a quarter of the generator's width (Metz et al. 2016, appendix).
    "stacked-mnist": Base(
        {
            **STACKS,
            "model": "metz:discriminator_width=2,norm=batch",
            "latent_size": 256,
            "generator_learning_rate": 0.001,
            "discriminator_learning_rate": 0.002,
            "beta2": 0.99,
            "schedule": "linear",
            "images_seen": 8000 * 128,
        },
        26_000,
        {
            "recipe": {
                **CONVERGENT,
                "loss": "relativistic",
                "penalty": _penalised(0.2),
                "pack": 4,
                "model": "metz:discriminator_width=2,norm=none",
                "generator_learning_rate": 0.002,
                "discriminator_learning_rate": 0.004,
            }
        },
    ),
    # Networks of one's own choice: the study's, 0.6 and 0.17 million parameters.
    "stacked-mnist-dcgan": Base(
        {
            **STACKS,
            "generator_learning_rate": 0.001,
            "discriminator_learning_rate": 0.001,
            "images_seen": 6000 * 128,
        },
        26_000,
        {"recipe": {**CONVERGENT, "model": "dcgan:norm=none", "penalty": _penalised(0.5)}},
    ),
}
SUITE = ("ring", "grid", "mnist")


def known(names: tuple[str, ...], table: Mapping[str, object], argument: str) -> tuple[str, ...]:
    """Returns the names, each once, in the table's order.

    Raises:
        GenpriorError: About `argument`: a name that the table does not have.
    """
    for name in names:
        if name not in table:
            raise GenpriorError(f"unknown {argument} '{name}', {suggestion(name, table)}", argument=argument)
    return tuple(name for name in table if name in names)


def config_of(data: str, row: str, seed: int, threads: int, data_root: Path | None) -> GANConfig:
    """Returns the settings of a run: of a name of `BASES`, a name of `ROWS`, a seed and a number of CPU threads.

    Arguments:
        data, row, seed: What is trained.
        threads: At least 1.
        data_root: Folder of named data sets; None: the usual one.
    """
    remedy, base = ROWS[row], BASES[data]
    settings = {**base.settings, **remedy.settings, **base.own.get(row, {})}
    settings |= {"seed": seed, "threads": threads, "device": "cpu"}
    if data_root is not None:
        settings["data_root"] = str(data_root)
    plain = validated(GANConfig, settings)
    return plain.model_copy(update={"model": plain.model.with_options(**remedy.model)})
