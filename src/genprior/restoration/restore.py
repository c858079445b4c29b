"""The two questions that a prior answers: which latents make this image, and which image made this measurement."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.priors.contracts import DenoisingPrior, LatentPrior, takes_sides
from genprior.restoration.closed_form import TIMES, solve_in_closed_form
from genprior.restoration.estimates import check_memory
from genprior.restoration.exact_inverse import exact_encoder, invert_exactly
from genprior.restoration.fidelity import FIDELITIES, L2, Fidelity
from genprior.restoration.guided_restoration import is_drawn, solve_by_draws
from genprior.restoration.noise import fitting_fidelity
from genprior.restoration.noise import noise_level as level_of
from genprior.restoration.one_evaluation import is_gaussian_denoising, solve_by_denoising
from genprior.restoration.plausibility import implausible, is_average
from genprior.restoration.problem import (
    Problem,
    flat_measurement,
    make_problem,
    out_of_inference,
    sized_for,
    warm_start,
)
from genprior.restoration.result import Restoration
from genprior.restoration.search_settings import SEARCHES, SearchSettings
from genprior.restoration.searched_images import searched

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel, Physics

DEFAULT = SEARCHES["default"]
BRIGHTEST = 10.0  # noise reaches beyond 1, but not so far; 255 is a slip


@torch.inference_mode(False)
def invert(
    prior: LatentPrior,
    x: Tensor,
    settings: SearchSettings = DEFAULT,
    *,
    fidelity: Fidelity | None = None,
    noise_level: float | None = 0.0,
    seed: int = 0,
) -> Restoration:
    """Returns the latents whose images come closest to x, and those images.

    Arguments:
        prior: A trained prior, or one of your own.
        x: Images (B, C, H, W), B at least 1; of any size that the prior takes.
        settings: How to search.
        fidelity: What "closest" means; default L2.
        noise_level: Standard deviation of noise in x; None: unknown, found from the residual.
        seed: Any integer; image i's starts are drawn from (seed, settings.first + i) alone.

    Raises:
        GenpriorError: Another size or number of channels than the prior's, or values that are not finite.
    """
    prior = _for_images(prior, x)
    if settings.draws and prior.residual is not None:
        prior = prior.with_residual(None)  # latents are asked for: what lies beside their images would explain all of x
    _check_images(prior, x)
    for network in prior.networks:
        out_of_inference(network)
    draws_exactly = bool(settings.draws) and prior.conditional is not None and settings.estimate != "map"
    if settings.energy_weight is None and noise_level == 0.0 and not draws_exactly:
        settings = replace(settings, energy_weight=0.0)  # the closest image there is, however unlikely its latents
    problem = make_problem(prior, x, None, fidelity or L2())
    level = _checked_level(noise_level)
    check_memory(len(x), settings, x[0].numel(), 1 if prior.conditional is None else TIMES)
    if prior.conditional is not None and settings.energy_weight is None and settings.estimate != "map":
        return solve_in_closed_form(problem, prior.conditional, settings, level, is_shared=True, seed=seed)
    if settings.draws and is_drawn(prior, settings):
        return solve_by_draws(problem, settings, level, None, seed, is_shared=True)
    encode = exact_encoder(prior, x, problem.fidelity, settings)
    if encode is not None:
        return invert_exactly(problem, problem.y.view(x.shape), encode, settings, level)
    start = warm_start(prior, x, None, {}) if settings.encoder else None
    return searched(problem, start, settings, level, seed, is_shared=True)


@torch.inference_mode(False)
def restore(
    prior: LatentPrior,
    y: object,
    physics: "Physics",
    settings: SearchSettings = DEFAULT,
    *,
    parameters: Mapping[str, Tensor] | None = None,
    fidelity: Fidelity | None = None,
    noise_level: float | None = None,
    seed: int = 0,
) -> Restoration:
    """Returns images of the prior that explain measurements y = noise(A(x)).

    Arguments:
        prior: A trained prior, or one of your own; for the size of the images where they are of another one than y.
        y: B measurements as `physics` makes them: (B, ...), or a list of such for stacked operators.
        physics: Any operator of deepinv, or of your own, that is differentiable.
        settings: How to search.
        parameters: Parameters of the operator that differ from image to image, (B, ...) each; default: those that
            `physics` holds for a batch of B.
        fidelity: The data term; default: what is known of the noise suggests, else L1 for inpainting, else L2.
        noise_level: Standard deviation of the noise; default: that of the physics' noise model, and where it has none
            the noise is unknown and found from the residual.
        seed: Any integer; image i's starts are drawn from (seed, settings.first + i) alone.

    Raises:
        GenpriorError: Measurements that the operator cannot have made of the prior's images, not finite, or of another
            scale than images in [0, 1].
    """
    _check_operator(physics)
    for module in (physics, *prior.networks):
        out_of_inference(module)
    count = _checked_measurement(y)
    own = parameters_of(physics, count) if parameters is None else _checked_parameters(parameters, count)
    level = _checked_level((level_of(physics.noise_model) or None) if noise_level is None else noise_level)
    before = vars(physics) | dict(physics.named_buffers(recurse=False))
    held = {name: before[name] for name in own if isinstance(before.get(name), Tensor)}
    try:
        prior = sized_for(prior, y, physics, own)
        problem = make_problem(prior, y, physics, fidelity or suggested(physics, noise_level), own)
        _check_plausible(y, physics, own, level)
        return _solved(problem, y, physics, own, settings, level, seed)
    finally:
        physics.update(**held)  # deepinv's operators remember the parameters of the last call


def suggested(physics: "Physics", noise_level: float | None = None) -> Fidelity:
    """Returns the data term that fits the noise of an operator; without such a hint L1 for inpainting, else L2."""
    from deepinv.physics import Inpainting

    spec = fitting_fidelity(_told_noise(physics), noise_level, "l1" if isinstance(physics, Inpainting) else "l2")
    return spec.build(FIDELITIES, "fidelity")


def _told_noise(physics: "Physics") -> "NoiseModel | None":
    """The noise model of an operator; None for no noise, which is the default and often unsaid."""
    from deepinv.physics import ZeroNoise

    return None if isinstance(physics.noise_model, ZeroNoise) else physics.noise_model


def parameters_of(physics: "Physics", count: int) -> dict[str, Tensor]:
    """Returns what an operator holds for each of `count` images: its buffers (count, ., ., .), such as masks.

    Raises:
        GenpriorError: Masks for another number of images.
    """
    from deepinv.physics import Inpainting

    if isinstance(physics, Inpainting) and len(physics.mask) not in (1, count):
        raise GenpriorError(f"its masks are for {len(physics.mask)} images, y holds {count}", argument="physics")
    if count == 1:
        return {}
    buffers = dict(physics.named_buffers(recurse=False))
    return {name: value for name, value in buffers.items() if value.ndim >= 4 and len(value) == count}


def _check_operator(physics: object) -> None:
    from deepinv.physics import Physics

    if not isinstance(physics, Physics):
        got = type(physics).__name__
        raise GenpriorError(f"expected an operator with A(x), a Physics of deepinv, got {got}", argument="physics")


def _solved(
    problem: Problem,
    y: object,
    physics: "Physics",
    parameters: dict[str, Tensor],
    settings: SearchSettings,
    level: float | None,
    seed: int,
) -> Restoration:
    from deepinv.physics import LinearPhysics

    conditional = problem.prior.conditional
    times = 1 if conditional is None else TIMES
    check_memory(len(problem.y), settings, math.prod(problem.prior.image_shape), times)
    is_shared = not parameters if isinstance(physics, LinearPhysics) else None
    is_search = settings.energy_weight is not None or settings.estimate == "map"
    if conditional is not None and is_shared is not None and not is_search:
        return solve_in_closed_form(problem, conditional, settings, level, is_shared, seed)
    denoiser = problem.prior.denoiser
    if denoiser is not None and level and not settings.draws and is_gaussian_denoising(problem, physics, settings):
        return solve_by_denoising(problem, denoiser, settings, level)
    if is_drawn(problem.prior, settings):
        return solve_by_draws(problem, settings, level, physics, seed, not parameters)
    start = warm_start(problem.prior, y, physics, parameters) if settings.encoder else None
    return searched(problem, start, settings, level, seed, is_shared)


def _checked_measurement(y: object) -> int:
    """Returns how many images were measured."""
    flat = flat_measurement(y)
    if not len(flat) or not flat.is_floating_point():
        raise GenpriorError(
            f"expected at least one measurement of floats, got {len(flat)} of {flat.dtype}", argument="y"
        )
    if not bool(torch.isfinite(flat).all()):
        raise GenpriorError(_not_finite(flat), argument="y")
    return len(flat)


def _checked_parameters(parameters: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    for name, value in parameters.items():
        if len(value) != count:
            raise GenpriorError(f"'{name}' is for {len(value)} images, y holds {count}", argument="parameters")
    return dict(parameters)


def _check_plausible(y: object, physics: "Physics", parameters: dict[str, Tensor], level: float | None) -> None:
    """Raises `GenpriorError` for values that images in [0, 1] cannot have given."""
    if not isinstance(y, Tensor) or not is_average(physics, parameters):
        return
    noise = _told_noise(physics)
    mask = parameters.get("mask", getattr(physics, "mask", None))
    known = None if mask is None else mask.expand_as(y)
    for i, each in enumerate(y):
        wrong = implausible(each, noise, level, None if known is None else known[i])
        if wrong is not None:
            raise GenpriorError(f"measurement {i} has {wrong}", argument="y")


def _check_images(prior: LatentPrior, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise GenpriorError(f"expected a tensor of images (B, C, H, W), got {type(x).__name__}", argument="x")
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(prior.image_shape) or not len(x):
        raise GenpriorError(f"expected images of shape {('B', *prior.image_shape)}, got {tuple(x.shape)}", argument="x")
    if not x.is_floating_point():
        raise GenpriorError(f"expected floats in [0, 1], got {x.dtype}", argument="x")
    if not bool(torch.isfinite(x).all()):
        raise GenpriorError(_not_finite(x), argument="x")
    if x.shape[2] > 1 and float(x.amax()) > BRIGHTEST:
        raise GenpriorError(f"expected values in about [0, 1], got up to {float(x.amax()):.4g}", argument="x")


def _for_images(prior: LatentPrior, x: Tensor) -> LatentPrior:
    """The prior for images of that size, where it takes such."""
    if not isinstance(x, Tensor) or x.ndim != 4 or not takes_sides(prior, x.shape[2:]):
        return prior
    return prior.of_size(x.shape[2], x.shape[3])


def _not_finite(values: Tensor) -> str:
    wrong = ~torch.isfinite(values)
    return f"{int(wrong.sum())} of {values.numel()} values are not finite"


def _checked_level(level: float | None) -> float | None:
    if level is not None and not 0 <= level < float("inf"):
        raise GenpriorError(f"expected a standard deviation of at least 0, got {level}", argument="noise_level")
    return level


class PriorReconstructor(nn.Module):
    """Restores by a prior wherever deepinv takes a reconstruction model, its `Trainer` and `test` included.

    It computes where the prior does, and draws image i's starts by its place in the batch.

    Arguments:
        prior: A trained prior, or one of your own.
        settings: How to search.
        fidelity: The data term; default: what the operator and its noise suggest.
        noise_level: Standard deviation of the noise; default: that of the operator's noise model.
        seed: Any integer.
    """

    def __init__(
        self,
        prior: LatentPrior,
        settings: SearchSettings = DEFAULT,
        *,
        fidelity: Fidelity | None = None,
        noise_level: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._restore = partial(
            restore, prior, settings=settings, fidelity=fidelity, noise_level=noise_level, seed=seed
        )

    def forward(self, y: Tensor, physics: "Physics", **_: Any) -> Tensor:  # noqa: ANN401 - deepinv's signature
        """Returns restored images x (B, C, H, W) of measurements y (B, ...)."""
        return self._restore(y, physics).images


class PriorDenoiser(nn.Module):
    """Denoises by a prior wherever deepinv takes a denoiser: its plug-and-play, diffusion and flow-matching solvers.

    Arguments:
        prior: A trained run of flow matching or of a mixture, or a `DenoisingPrior` of your own. That of a mixture has
            no derivative, which DPS and its like need.

    Raises:
        GenpriorError: About `prior`: it has no `denoise`.
    """

    def __init__(self, prior: DenoisingPrior) -> None:
        super().__init__()
        if not callable(getattr(prior, "denoise", None)):
            raise GenpriorError("only flow matching and mixtures denoise without a search", argument="prior")
        self.prior = prior

    def forward(self, x: Tensor, sigma: Tensor | float, **_: Any) -> Tensor:  # noqa: ANN401 - deepinv's signature
        """Returns E[x | x_noisy] (B, C, H, W), for noise of standard deviation sigma, one or of any shape of B numbers.

        Without noise it is x.
        """
        levels = torch.as_tensor(sigma).to(x).flatten().expand(len(x))
        clean = self.prior.denoise(x, levels.clamp_min(torch.finfo(x.dtype).eps))
        return torch.where((levels > 0).view(-1, 1, 1, 1), clean, x)
