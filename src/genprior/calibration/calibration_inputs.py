"""What a calibration works with: a prior, an operator, images that were not learned, and what its range lacks."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.calibration.calibration_results import CalibrationSettings
from genprior.calibration.posterior_draws import Sampler, draws_of
from genprior.errors import GenpriorError
from genprior.models.range_residual import RangeResidual
from genprior.priors.contracts import LatentPrior
from genprior.restoration.noise import NOISES, measure, noise_level
from genprior.restoration.operators import OPERATORS, Operator
from genprior.seeding import derived_generator, derived_seed

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel

    from genprior.data import Dataset

RANK = 20  # of a residual's covariance, beside the variance of each pixel


@dataclass(frozen=True)
class Assumed:
    """What draws are made with.

    Attributes:
        prior: The run's.
        operator: What measures images, as far as is known.
        noise: Of a known level.
        sigma: That level.
        draws: Of each posterior.
        seed: Any integer.
        sampler: Makes them.
    """

    prior: LatentPrior
    operator: Operator
    noise: "NoiseModel"
    sigma: float
    draws: int
    seed: int
    sampler: Sampler = draws_of


def opened(settings: CalibrationSettings) -> tuple[Assumed, str]:
    """Returns what draws are made with, and the hash of the weights; errors as `stages` has them."""
    from genprior.runs.kept_residual import networks_sha256
    from genprior.runs.trained_prior import load_prior

    noise = settings.noise.build(NOISES, "noise")
    sigma = noise_level(noise)
    if not sigma:
        raise GenpriorError(
            f"calibration needs noise of one known level above 0, such as gaussian:sigma=0.1, got {settings.noise}",
            argument="noise",
        )
    prior = load_prior(settings.run)
    if prior.image_shape[1:] == (1, 1):
        raise GenpriorError(f"{settings.run} models points; images are calibrated", argument="run")
    operator = settings.operator.build(OPERATORS, "operator", image_shape=prior.image_shape, seed=settings.seed)
    return Assumed(prior, operator, noise, sigma, settings.draws, settings.seed), networks_sha256(prior)


def held_out(settings: CalibrationSettings, assumed: Assumed) -> tuple[Tensor, Tensor, list[str]]:
    """Returns images, their measurements, and what must be said of them; errors as `stages` has them."""
    data, order = _shuffled(settings, assumed)
    count = min(settings.count, len(data))
    if count < 10:
        raise GenpriorError(f"expected at least 10 images, {data.name} has {len(data)}", argument="images")
    notes = [] if count == settings.count else [f"{count} held-out images, not {settings.count}: there are no more"]
    if settings.measurements is None:
        x = data.take(order[:count])
        return x, measure(x, assumed.operator, assumed.noise, seed=derived_seed(settings.seed, "noise")), notes
    x = data.take(torch.arange(count))
    return x, _measurements(settings, assumed, x), notes


def _shuffled(settings: CalibrationSettings, assumed: Assumed) -> "tuple[Dataset, Tensor]":
    """The held-out images, and the order in which they are taken."""
    from genprior.judges.run_images import held_out_images, run_split, with_data_root
    from genprior.runs.run_folder import open_run

    run = open_run(settings.run)
    config = with_data_root(run.config, settings.data_root)
    split = run_split(run, settings.data_root) if settings.images is None else None
    try:
        data = held_out_images(config, assumed.prior.image_shape, settings.images, split)
    except GenpriorError as error:
        raise replace_argument(error) from error
    return data, torch.randperm(len(data), generator=derived_generator(settings.seed, "held-out images"))


def beside_range(settings: CalibrationSettings, assumed: Assumed) -> Assumed:
    """Returns the same with what held-out images, none of which is judged, have beside the prior's own.

    It is kept in the run's folder.

    Raises:
        GenpriorError: Too few images, or a prior that has all images in its range.
    """
    from genprior.restoration.restore import invert
    from genprior.runs.kept_residual import keep_residual, refuse_without_range

    if not settings.residual:
        return assumed
    data, order = _shuffled(settings, assumed)
    learned = order[settings.count : settings.count + settings.residual]
    if len(learned) < settings.residual:
        raise GenpriorError(
            f"needs {settings.residual} images beside {settings.count} that are judged, {data.name} has {len(data)}",
            argument="residual",
        )
    refuse_without_range(settings.run, assumed.prior)
    x = data.take(learned)
    residual = RangeResidual.learned(x - invert(assumed.prior, x).images, RANK)
    prior = assumed.prior.with_residual(residual)
    keep_residual(settings.run, prior, len(learned))
    return replace(assumed, prior=prior)


def replace_argument(error: GenpriorError) -> GenpriorError:
    """Returns an error about held-out images, which this command calls its images."""
    return GenpriorError(error.message.replace("--held-out", "--images"), argument="images")


def beside_kept_range(settings: CalibrationSettings, assumed: Assumed) -> Assumed:
    """Returns the same with what `beside_range` has kept, where that was asked for."""
    from genprior.runs.kept_residual import with_kept_residual

    if not settings.residual:
        return assumed
    return replace(assumed, prior=with_kept_residual(settings.run, assumed.prior))


def _measurements(settings: CalibrationSettings, assumed: Assumed, x: Tensor) -> Tensor:
    import numpy as np

    from genprior.stored_files import read_array

    assert settings.measurements is not None
    try:
        found = read_array(settings.measurements)
        if found.dtype.kind != "f":
            raise ValueError(f"expected floats in the units of the images, where 1 is white, got {found.dtype}")
        y = torch.from_numpy(np.array(found, dtype=np.float32))
    except (OSError, ValueError) as error:
        raise GenpriorError(f"{settings.measurements}: {error}", argument="measurements") from error
    expected = assumed.operator.physics.A(x[:1], **assumed.operator.parameters(0)).shape[1:]
    if y.shape[1:] != expected or len(y) < len(x) or not bool(y.isfinite().all()):
        raise GenpriorError(
            f"expected finite numbers of shape ({len(x)} or more, {', '.join(map(str, expected))}), got "
            f"{tuple(y.shape)}",
            argument="measurements",
        )
    return y[: len(x)]
