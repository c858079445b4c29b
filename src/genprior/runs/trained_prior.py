"""A trained run as a prior: its generator, its encoder where it has one, and both together."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.families import FAMILIES, RunConfig
from genprior.hardware import resolve_precision
from genprior.models.latent_encoder import Encoder
from genprior.priors.contracts import LatentPrior
from genprior.runs.best_weights import used_checkpoint
from genprior.runs.encoder_settings import WEIGHTS, EncoderTable
from genprior.runs.kept_base import load_base
from genprior.runs.kept_residual import load_residual
from genprior.runs.run_folder import Run, Side, misfit, open_run, read_environment
from genprior.runs.signed_tensors import keep_tensors, read_or_refuse, read_tensors
from genprior.settings import Weights
from genprior.stored_files import loads, weights_sha256


@torch.inference_mode(False)
def load_prior(run: str | Path, *, average: bool = True, weights: Weights = "auto") -> LatentPrior:
    """Returns the model of a run as a prior, in float32 on the CPU, with encoder, residual and base that it has.

    Arguments:
        run: The run's folder.
        average: Use the moving average of the weights; False: the weights as they were at that step, for which there is
            no trained encoder and no residual.
        weights: Those of the last checkpoint, or of the one that restored held-out images best; "auto": the best where
            they are clearly better.

    Raises:
        GenpriorError: No run, no whole checkpoint in it, or a damaged encoder, residual or base.
    """
    opened = open_run(Path(run))
    with in_float32():
        own: Weights = "last" if weights == "auto" and not average else weights  # scores are those of averages
        return prior_of(opened, used_checkpoint(opened, own).tensors, average=average)


@contextmanager
def in_float32() -> Iterator[None]:
    """Makes networks in float32, whatever torch's default type is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def prior_of(run: Run, state: dict[str, Tensor], *, average: bool = True, residual: bool = True) -> LatentPrior:
    """Returns the prior of a checkpoint's tensors, as `load_prior` does, or without a residual; errors too."""
    config, shape = run.config, read_environment(run).image_shape
    try:
        prior = config.prior(state, shape, average)
        generator = config.generator(state, shape, average)
    except (RuntimeError, KeyError) as error:
        raise_lack_of_memory(error)
        raise misfit(run) from error
    encoder = load_encoder(run, generator) if average and generator is not None else None
    if encoder is not None:
        prior = prior.with_encoder(encoder)
    prior = prior.with_residual(load_residual(run.path, prior) if average and residual else None)
    prior = prior.with_base(load_base(run))
    return prior.faster_in(torch.bfloat16) if resolve_precision("auto", torch.device("cpu")) == "bf16" else prior


def load_generator(run: Run, *, average: bool = True) -> nn.Module:
    """Returns what makes images of standard normal latents in a run, in float32 on the CPU, with the weights in use.

    Arguments:
        run: The run.
        average: Use the moving average of the weights; False: the weights as they were at the last step.

    Raises:
        GenpriorError: No whole checkpoint, a config that does not fit it, or a family that has no such generator.
    """
    state = used_checkpoint(run).tensors
    try:
        generator = run.config.generator(state, read_environment(run).image_shape, average)
    except (RuntimeError, KeyError) as error:
        raise_lack_of_memory(error)
        raise misfit(run) from error
    if generator is None:
        have = [name for name, config in FAMILIES.items() if config.generator is not RunConfig.generator]
        raise GenpriorError(
            f"{run.path} is a {run.config.title}, which leads from images to latents by itself; encoders are for "
            f"{', '.join(have)}",
            argument="run",
        )
    return generator


def load_encoder(run: Run, generator: nn.Module) -> Encoder | None:
    """Returns the encoder in a run's folder, in evaluation mode; None where there is none, or none for these weights.

    Arguments:
        run: The run.
        generator: As `load_generator` returns it, with the average of its weights: an encoder fits no others.

    Raises:
        GenpriorError: The encoder's file is damaged.
    """
    file = run.path / WEIGHTS
    again = f"genprior train encoder {run.path} --overwrite"
    found = read_or_refuse(file, _encoder_of, f"train it anew: {again}")
    if found is None:
        return None
    shape, encoder = found
    if shape.generator_sha256 != weights_sha256(generator.state_dict()):
        warnings.warn(
            f"{file} belongs to other weights of the generator and is not used; train it anew: {again}",
            stacklevel=3,
        )
        return None
    return encoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def save_encoder(run: Run, encoder: Encoder, table: EncoderTable) -> None:
    """Writes the encoder so that a kill at any instant leaves the old one or the new one.

    This file holds all that is ever read back, the table and its checksum included.
    """
    keep_tensors(run.path / WEIGHTS, encoder.state_dict(), "table", table.as_json())


class EncoderShape(BaseModel):
    """What of an encoder's table its weights are loaded with; the rest of the table is left unread."""

    generator_sha256: str
    image_shape: tuple[Side, Side, Side]
    latent_size: int
    width: int


def read_encoder(file: Path) -> tuple[EncoderShape, dict[str, Tensor]]:
    """Returns what an encoder's file holds; raises all kinds of errors where it is damaged."""
    text, state = read_tensors(file, "table")
    return EncoderShape.model_validate(loads(text)), state


def _encoder_of(file: Path) -> tuple[EncoderShape, Encoder]:
    shape, state = read_encoder(file)
    encoder = Encoder(shape.image_shape, shape.latent_size, shape.width)
    encoder.load_state_dict(state)
    return shape, encoder
