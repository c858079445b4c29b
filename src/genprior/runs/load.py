"""A trained run as a prior."""

from pathlib import Path

import torch

from genprior.models.folding import folded
from genprior.restoration.priors import EncodedPrior, GeneratorPrior
from genprior.runs.encoder import load_encoder, load_generator
from genprior.runs.environment import read_environment
from genprior.runs.folder import open_run


def load_prior(run: str | Path, *, average: bool = True) -> GeneratorPrior:
    """Returns the generator of a run as a prior, in float32 on the CPU; an `EncodedPrior` where it has an encoder.

    Arguments:
        run: The run's folder.
        average: Use the moving average of the weights; False: the weights as they were at the last step.

    Raises:
        GenpriorError: No run, no whole checkpoint in it, or a damaged encoder.
    """
    opened = open_run(Path(run))
    generator = load_generator(opened, average=average)
    encoder = load_encoder(opened, generator)
    network = folded(generator).to(memory_format=torch.channels_last)
    size, shape = opened.config.latent_size, read_environment(opened)["image_shape"]
    if encoder is None:
        return GeneratorPrior(network, size, shape)
    return EncodedPrior(network, size, shape, encoder)
