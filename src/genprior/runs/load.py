"""A trained run as a prior."""

import warnings
from pathlib import Path

import torch

from genprior.config import build
from genprior.errors import GenpriorError
from genprior.models.players import MODELS, initialised
from genprior.restoration.priors import GeneratorPrior
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.environment import read_environment
from genprior.runs.folder import misfit, open_run


def load_prior(run: str | Path, *, average: bool = True) -> GeneratorPrior:
    """Returns the generator of a run as a prior, in float32 on the CPU.

    Arguments:
        run: The run's folder.
        average: Use the moving average of the weights; False: the weights as they were at the last step.

    Raises:
        GenpriorError: No run, or no whole checkpoint in it.
    """
    opened = open_run(Path(run))
    checkpoint, refused = load_checkpoint(opened.checkpoints)
    for line in refused:
        warnings.warn(f"{line}; the one before it is used", stacklevel=2)
    if checkpoint is None:
        raise GenpriorError(f"{run} has no checkpoint; train it first", argument="run")
    shape = tuple(read_environment(opened)["image_shape"])
    size = opened.config.latent_size
    players = initialised(lambda: build(MODELS, opened.config.model, "model", image_shape=shape, latent_size=size), 0)
    prefix = "average/" if average else "generator/"
    state = {key.removeprefix(prefix): value for key, value in checkpoint.tensors.items() if key.startswith(prefix)}
    try:
        players.generator.load_state_dict(state)
    except RuntimeError as error:
        raise misfit(opened) from error
    network = players.generator.to(torch.float32).to(memory_format=torch.channels_last)
    return GeneratorPrior(network, size, (shape[0], shape[1], shape[2]))
