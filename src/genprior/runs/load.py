"""A trained run as a prior."""

from pathlib import Path

import torch

from genprior.hardware import resolve_precision
from genprior.models.folding import folded
from genprior.restoration.priors import EncodedPrior, GeneratorPrior
from genprior.runs.encoder import load_encoder, load_generator
from genprior.runs.environment import read_environment
from genprior.runs.folder import open_run


def load_prior(run: str | Path, *, average: bool = True) -> GeneratorPrior:
    """Returns the generator of a run as a prior, in float32 on the CPU; an `EncodedPrior` where it has an encoder.

    Arguments:
        run: The run's folder.
        average: Use the moving average of the weights; False: the weights as they were at the last step, for which
            there is no encoder.

    Raises:
        GenpriorError: No run, no whole checkpoint in it, or a damaged encoder.
    """
    opened = open_run(Path(run))
    generator = load_generator(opened, average=average)
    encoder = load_encoder(opened, generator) if average else None
    network = folded(generator).to(memory_format=torch.channels_last)
    size, shape = opened.config.latent_size, read_environment(opened)["image_shape"]
    prior = GeneratorPrior(network, size, shape) if encoder is None else EncodedPrior(network, size, shape, encoder)
    if resolve_precision("auto", torch.device("cpu")) == "bf16":
        prior.rough_dtype = torch.bfloat16
    return prior
