"""A trained run as a prior."""

from pathlib import Path

import torch

from genprior.hardware import resolve_precision
from genprior.priors.contracts import LatentPrior
from genprior.priors.generator_prior import EncodedPrior, GeneratorPrior
from genprior.runs.checkpoint import load_state
from genprior.runs.encoder_training import load_encoder
from genprior.runs.run_folder import misfit, open_run, read_environment


def load_prior(run: str | Path, *, average: bool = True) -> LatentPrior:
    """Returns the model of a run as a prior, in float32 on the CPU; with the run's encoder where it has one.

    Arguments:
        run: The run's folder.
        average: Use the moving average of the weights; False: the weights as they were at the last step, for which
            there is no trained encoder.

    Raises:
        GenpriorError: No run, no whole checkpoint in it, or a damaged encoder.
    """
    opened = open_run(Path(run))
    config, state, shape = opened.config, load_state(opened.checkpoints), read_environment(opened).image_shape
    try:
        prior = config.prior(state, shape, average)
        generator = config.generator(state, shape, average)
    except (RuntimeError, KeyError) as error:
        raise misfit(opened) from error
    if not isinstance(prior, GeneratorPrior) or generator is None:
        return prior
    encoder = load_encoder(opened, generator) if average else None
    if encoder is not None:
        prior = EncodedPrior(prior.generator, prior.latent_size, shape, encoder, prior.density)
    if resolve_precision("auto", torch.device("cpu")) == "bf16":
        prior.rough_dtype = torch.bfloat16
    return prior
