"""What a calibration works with: a prior, an operator, and images that were not learned."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.calibration.calibration_results import CalibrationSettings
from genprior.calibration.posterior_draws import Sampler, check_preset, draws_of
from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior
from genprior.restoration.noise import NOISES, measure, noise_level
from genprior.restoration.operators import OPERATORS, Operator
from genprior.seeding import derived_generator, derived_seed
from genprior.stored_files import weights_sha256

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel

    from genprior.data import Dataset


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
    from genprior.runs.trained_prior import load_prior

    noise = settings.noise.build(NOISES, "noise")
    sigma = noise_level(noise)
    if not sigma:
        raise GenpriorError(
            "calibration needs noise of one known level above 0, the same in all pixels, such as gaussian:sigma=0.1, "
            f"got {settings.noise}",
            argument="noise",
        )
    prior = load_prior(settings.run)
    if prior.image_shape[1:] == (1, 1):
        raise GenpriorError(f"{settings.run} models points; images are calibrated", argument="run")
    operator = settings.operator.build(OPERATORS, "operator", image_shape=prior.image_shape, seed=settings.seed)
    check_preset(prior, settings.preset)
    sampler = partial(draws_of, preset=settings.preset)
    return Assumed(prior, operator, noise, sigma, settings.draws, settings.seed, sampler), _weights_sha256(prior)


def _weights_sha256(prior: LatentPrior) -> str:
    """What tells all weights of a prior, and its residual, from others."""
    state = {f"{i}.{name}": value for i, net in enumerate(prior.networks) for name, value in net.state_dict().items()}
    residual = prior.residual
    return weights_sha256(state if residual is None else state | {"factors": residual.factors, "noise": residual.noise})


def held_out(settings: CalibrationSettings, assumed: Assumed) -> tuple[Tensor, Tensor, list[str]]:
    """Returns images, their measurements, and what must be said of them; errors as `stages` has them.

    Images that the run's residual was learned from are left out where measurements are simulated.
    """
    data, order = _shuffled(settings, assumed)
    if settings.measurements is not None:
        order = torch.arange(len(data))
    elif assumed.prior.residual is not None:
        order = _not_learned(settings, data, order)
    count = min(settings.count, len(order))
    if count < 10:
        left = "" if len(order) == len(data) else " that the run's residual was not learned from"
        others = "" if settings.images else ": name others with --images"
        raise GenpriorError(
            f"expected at least 10 images, {data.name} has {len(order)}{left}{others}", argument="images"
        )
    notes = [] if count == settings.count else [f"{count} held-out images, not {settings.count}: there are no more"]
    x = data.take(order[:count])
    if settings.measurements is None:
        return x, measure(x, assumed.operator, assumed.noise, seed=derived_seed(settings.seed, "noise")), notes
    return x, _measurements(settings, assumed, x), notes


def _not_learned(settings: CalibrationSettings, data: "Dataset", order: Tensor) -> Tensor:
    """Places of the first images in an order that the residual in the run's folder was not learned from."""
    from genprior.runs.kept_residual import image_sha256, learned_images

    learned = learned_images(settings.run)
    first = order[: settings.count + len(learned)]
    is_new = [image_sha256(one) not in learned for one in data.take(first)]
    return first[torch.tensor(is_new)]


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
        raise renamed(error) from error
    return data, torch.randperm(len(data), generator=derived_generator(settings.seed, "held-out images"))


def renamed(error: GenpriorError) -> GenpriorError:
    """Returns an error about held-out images, which the commands of this room call their images."""
    return GenpriorError(error.message.replace("--held-out", "--images"), argument="images")


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
