"""What a run makes: samples of its last weights and of those of early ages, and the picture that training leaves."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.plotting.sample_figures import PLANE, write_real_and_generated
from genprior.priors.generator_prior import GeneratorPrior
from genprior.runs.checkpoint import ages, load_age
from genprior.runs.run_folder import Run, misfit
from genprior.runs.trained_prior import load_prior

IMAGES, POINTS = 64, 1000
SHOWN_AT_EACH_AGE = 10  # latents, the first of those of the samples
MOST_AGES = 10

Shape = tuple[int, int, int]


def write_run_picture(run: Run, data: Dataset) -> Path:
    """Writes samples of a run beside images of its data into its folder, and returns the file."""
    count = 2 * POINTS if data.is_points else IMAGES
    path = run.figures / "samples.png"
    write_real_and_generated(data.some(count), load_prior(run.path).sample(count), path)
    return path


def samples_of(run: Run, state: Mapping[str, Tensor], shape: Shape) -> Tensor:
    """Returns samples (N, C, H, W) of a checkpoint's tensors, of the averaged weights where there are such.

    Raises:
        GenpriorError: The tensors are not those of the run's config.
    """
    try:
        prior = run.config.prior(state, shape, average=True)
    except (RuntimeError, KeyError) as error:
        raise misfit(run) from error
    return prior.sample(POINTS if shape == PLANE else IMAGES).detach().float()


def samples_by_age(run: Run, shape: Shape, last: int) -> dict[int, Tensor]:
    """Returns images of the same latents (N, C, H, W) by images seen, of the weights as they were; empty: none kept.

    Arguments:
        run: The run.
        shape: (C, H, W).
        last: Images seen by the last checkpoint; `MOST_AGES` up to it are shown, the first and the last included.

    Raises:
        GenpriorError: A file is damaged, or does not fit the run's config.
    """
    files = [(images, path) for images, path in ages(run).items() if images <= last]
    shown = torch.linspace(0, len(files) - 1, min(len(files), MOST_AGES)).round().int().tolist()
    return {images: _at_age(run, path, shape) for images, path in (files[i] for i in shown)}


def _at_age(run: Run, path: Path, shape: Shape) -> Tensor:
    try:
        generator = run.config.generator(load_age(path), shape, average=False)
    except (RuntimeError, KeyError) as error:
        raise misfit(run) from error
    assert generator is not None, "only families with a generator keep a history"
    latent_size: int = run.config.model_dump()["latent_size"]
    return GeneratorPrior(generator, latent_size, shape).sample(POINTS if shape == PLANE else SHOWN_AT_EACH_AGE)
