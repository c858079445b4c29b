"""Samples that settings ask for, made a part at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.memory import refuse_beyond_memory
from genprior.priors.contracts import SAMPLES_AT_ONCE, LatentPrior, latents_of
from genprior.priors.latent_plane import LONGEST_STEP, map_around
from genprior.priors.latent_walks import decoded, read_latents, rows_between, within_range
from genprior.runs.kept_base import base_note
from genprior.runs.run_folder import open_run
from genprior.runs.trained_prior import load_prior
from genprior.sampling.sample_settings import SampleSettings

IN_A_ROW = 8  # pictures from one latent to the next, both among them
CUT = f"a step is cut to {LONGEST_STEP:g} standard deviation of a latent: the image changes less than asked for"


@dataclass(frozen=True)
class Drawn:
    """Samples that are made when they are asked for.

    Attributes:
        count: B.
        shape: (C, H, W).
        parts: x (b, C, H, W), one part after another, once.
        latents: z (B, k), which decode to the samples; None: samples that have none, or whose latents nobody needs.
        columns: Pictures in a row; None: as many as make a square.
        note: What must be said of them, or "".
    """

    count: int
    shape: tuple[int, int, int]
    parts: Iterator[Tensor]
    latents: Tensor | None = None
    columns: int | None = None
    note: str = ""


def prior_to_sample(settings: SampleSettings) -> LatentPrior:
    """Returns the prior whose samples are asked for; errors as `load_prior` has them."""
    return load_prior(settings.run, average=not settings.no_average, weights=settings.weights)


def draw_samples(settings: SampleSettings, prior: LatentPrior, *, with_latents: bool = False) -> Drawn:
    """Returns what is asked for, to be made.

    Arguments:
        settings: What is asked for.
        prior: What `prior_to_sample` gives for them.
        with_latents: New samples are decoded latents, which are kept. Those of flow matching take another way else.

    Raises:
        GenpriorError: Latents that cannot be read or do not fit, too few of them, or more than memory holds.
    """
    z, columns = None if settings.latents is None else _read(settings, prior), None
    if settings.interpolate:
        z, columns = _rows(prior, z, settings), IN_A_ROW
    elif settings.around:
        middle = latents_of(prior.draw, 1, settings.seed, settings.first)[0] if z is None else z
        found = map_around(prior, settings.truncation * middle[0], settings.step, settings.side)
        return _of_latents(prior, found.z, settings.side, CUT if found.is_cut else "")
    elif z is None and with_latents:
        _refuse_beyond_memory(settings.count * prior.latent_size, settings)
        z = torch.cat(latents_of(prior.draw, settings.count, settings.seed, settings.first))
    if z is not None:
        return _of_latents(prior, settings.truncation * z, columns)
    note = base_note(open_run(settings.run)) if settings.truncation == 1 else ""
    return Drawn(settings.count, prior.image_shape, _new(settings, prior), note=note)


def _of_latents(prior: LatentPrior, z: Tensor, columns: int | None, note: str = "") -> Drawn:
    parts = (decoded(prior, each) for each in torch.split(z, SAMPLES_AT_ONCE))
    return Drawn(len(z), prior.image_shape, parts, z, columns, note)


def _read(settings: SampleSettings, prior: LatentPrior) -> Tensor:
    """The latents of the file, from the first wanted one on."""
    assert settings.latents is not None
    z = read_latents(settings.latents, prior.latent_size)
    if settings.first >= len(z):
        raise GenpriorError(
            f"{settings.latents} has latents from 0 to {len(z) - 1}, got {settings.first}", argument="first"
        )
    return z[settings.first :]


def _new(settings: SampleSettings, prior: LatentPrior) -> Iterator[Tensor]:
    """New samples x (b, C, H, W), a part at a time."""
    end = settings.first + settings.count
    for first in range(settings.first, end, SAMPLES_AT_ONCE):
        count = min(SAMPLES_AT_ONCE, end - first)
        if settings.truncation == 1:
            yield within_range(prior.sample(count, settings.seed, first))
        else:
            z = torch.cat(latents_of(prior.draw, count, settings.seed, first))
            yield decoded(prior, settings.truncation * z)


def _rows(prior: LatentPrior, z: Tensor | None, settings: SampleSettings) -> Tensor:
    """Latents from each of z, or of new ones, to the next."""
    if z is None:
        _refuse_beyond_memory(IN_A_ROW * settings.count * prior.latent_size, settings)
        z = torch.cat(latents_of(prior.draw, settings.count + 1, settings.seed, settings.first))
    return rows_between(z, IN_A_ROW)


def _refuse_beyond_memory(numbers: int, settings: SampleSettings) -> None:
    refuse_beyond_memory(
        4 * numbers, f"{settings.count:,} samples", "count", "ask for fewer, or for a file .npy without --interpolate"
    )
