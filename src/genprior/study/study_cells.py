"""What a study trains: each cell is a run with settings of its own. `CELLS`, at the end, is the place to add one.

Imports no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genprior.command_lines import command_of
from genprior.families.gan import GANConfig
from genprior.study.study_settings import StudySettings, StudySize

Values = dict[str, Any]


@dataclass(frozen=True)
class StudyCell:
    """A run of a study.

    Attributes:
        title: For people.
        values: Settings of the run, but for data, seed and threads, by what the study spends and whether images are
            square.
        cost: Seconds of one core for a thousand images, roughly: it orders the work and says how long still.
        begins_as: Cell whose averaged generator it begins with; None: with fresh weights.
    """

    title: str
    values: Callable[[StudySize, bool], Values]
    cost: float
    begins_as: str | None = None


def settings_of(cell: StudyCell, study: StudySettings, seed: int) -> Values:
    """Returns all settings of a cell's run."""
    height, width = study.sides
    common: Values = {
        "data": study.data,
        "size": f"{height}x{width}" if height != width else height,
        "seed": seed,
        "threads": 1,
        "score_every": 0,
    }
    if study.data_root is not None:
        common["data_root"] = str(study.data_root)
    return {**cell.values(study.spending, height == width), **common}


def training_command(values: Mapping[str, Any], folder: str) -> str:
    """Returns the command that trains a run of these settings."""
    named = {name: value for name, value in values.items() if name != "family"}
    return command_of(f"train {values['family']}", more={**named, "out": folder})


def _report_gan(**changes: object) -> Callable[[StudySize, bool], Values]:
    """The report's networks and settings; where images are not square, networks that can make them."""

    def values(size: StudySize, is_square: bool) -> Values:
        own = {} if is_square else {"model": "pyramid:norm=batch"}
        budget = {"images_seen": size.gan_images, "batch_size": size.batch_size}
        return {"family": "gan", "preset": "dcgan-28", **budget, **own, **changes}

    return values


def _larger(size: StudySize, is_square: bool) -> Values:
    """Four times the discriminator's weights."""
    model = "dcgan:discriminator_width=64" if is_square else "pyramid:norm=batch,discriminator_width=64"
    return _report_gan(model=model)(size, is_square)


def _later(is_larger: bool) -> Callable[[StudySize, bool], Values]:
    """Half the budget more, against a fresh discriminator."""

    def values(size: StudySize, is_square: bool) -> Values:
        own = _larger(size, is_square) if is_larger else _report_gan()(size, is_square)
        return {**own, "images_seen": size.gan_images // 2}

    return values


def _recipe(size: StudySize, is_square: bool) -> Values:
    preset = "r1-28" if is_square else "pyramid"
    budget = {"images_seen": size.recipe_images, "batch_size": size.recipe_batch_size}
    return {"family": "gan", "preset": preset, **budget}


def _glo(size: StudySize, is_square: bool) -> Values:
    own = {} if is_square else {"model": "pyramid"}
    return {"family": "glo", "images_seen": size.glo_images, **own}


def _literal_decay(size: StudySize, is_square: bool) -> Values:
    """The report's "L2 regularisation, lambda = 0.5" as weight decay, and Adam as it is without that reading."""
    decay = GANConfig.PRESETS["study-literal"]["weight_decay"]
    return _report_gan(weight_decay=decay, beta1=0.9, beta2=0.999)(size, is_square)


CELLS: dict[str, StudyCell] = {
    "saturating": StudyCell("saturating loss", _report_gan(loss="saturating"), 0.7),
    "non-saturating": StudyCell("non-saturating loss", _report_gan(loss="non-saturating"), 0.7),
    "least-squares": StudyCell("least squares of the probability", _report_gan(loss="least-squares"), 0.7),
    "larger-d": StudyCell("non-saturating loss, larger discriminator", _larger, 1.6),
    "weight-decay": StudyCell("lambda = 0.5 as weight decay", _literal_decay, 0.7),
    "later-same": StudyCell("then a fresh discriminator of the same size", _later(False), 0.7, "non-saturating"),
    "later-larger": StudyCell("then a fresh larger discriminator", _later(True), 1.6, "non-saturating"),
    "recipe": StudyCell("default recipe, regularised discriminator", _recipe, 0.8),
    "glo": StudyCell("GLO", _glo, 0.4),
    "vae": StudyCell("VAE", lambda size, _: {"family": "vae", "images_seen": size.vae_images}, 0.12),
    "mixture": StudyCell(
        "mixture of factor analysers", lambda size, _: {"family": "mixture", "epochs": size.mixture_epochs}, 0.2
    ),
    "flow": StudyCell(
        "flow matching", lambda size, _: {"family": "flow-matching", "images_seen": size.flow_images}, 1.7
    ),
    "glow": StudyCell(
        "Glow", lambda size, _: {"family": "glow", "preset": "glow-small-28", "images_seen": size.glow_images}, 3.5
    ),
}
