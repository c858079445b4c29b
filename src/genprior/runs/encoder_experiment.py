"""The experiments of this room, by the names of their commands. Importing this module does not import torch."""

from pathlib import Path
from typing import Any

from genprior.progress import Task
from genprior.runs.base_settings import BASE, BaseSettings, BaseTable, base_lines
from genprior.runs.encoder_settings import ENCODER, WEIGHTS, EncoderSettings, EncoderTable
from genprior.runs.experiment import Experiment


def _encoder_stages(settings: EncoderSettings, kept: EncoderTable | None) -> Task[EncoderTable]:
    from genprior.runs.encoder_training import train_encoder

    return (yield from train_encoder(settings, kept))


def _base_stages(settings: BaseSettings, kept: BaseTable | None) -> Task[BaseTable]:
    from genprior.runs.base_training import train_base

    return (yield from train_base(settings, kept))


def _encoder_lines(found: EncoderTable) -> list[str]:
    weights: Path = found.settings.run / WEIGHTS
    unseen = f"{found.held_out_images:,} images ({found.held_out})"
    return [f"error on {unseen}: {found.held_out_error:.4g}", f"encoder: {weights}"]


EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    "train encoder": Experiment(
        help="Train the way back from images to latents of a trained run, from which inversion and restoration start.",
        settings=EncoderSettings,
        result=EncoderTable,
        file=lambda settings: settings.run / ENCODER,
        stages=_encoder_stages,
        lines=_encoder_lines,
    ),
    "train base": Experiment(
        help="Learn where samples of flow matching begin: they are better then, with 6 evaluations in place of 50.",
        settings=BaseSettings,
        result=BaseTable,
        file=lambda settings: settings.run / BASE,
        stages=_base_stages,
        lines=base_lines,
    ),
}
