"""Noise N, deepinv's models by name, and measurements y = N(A x) of images: image i's depends on (seed, i) alone.

`NOISES`, at the end, is the place to add a noise.
"""

import math
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.operators import Operator
from genprior.seeding import derived_seed
from genprior.specs import Spec

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel

STRONGEST, FAINTEST = 1000.0, 1e-6  # what lies beyond is a slip, and its squares and counts are more than floats hold


def _check(is_allowed: bool, what: str, expected: str, value: float) -> None:
    if not is_allowed:
        raise GenpriorError(f"{what} must be {expected}, got {value}", argument="noise")


def _check_level(value: float, what: str) -> None:
    _check(0 <= value <= STRONGEST, what, f"from 0 to {STRONGEST:g}, where 1 is white", value)


def none() -> "NoiseModel":
    """y = A x."""
    from deepinv.physics import ZeroNoise

    return ZeroNoise()


def gaussian(sigma: float = 0.1) -> "NoiseModel":
    """y = A x + sigma n, n standard normal; sigma from 0 to 1000, in units of x."""
    from deepinv.physics import GaussianNoise

    _check_level(sigma, "option 'sigma' of 'gaussian'")
    return GaussianNoise(sigma=float(sigma))


def poisson(gain: float = 0.05) -> "NoiseModel":
    """y = gain P(A x / gain), P Poisson counts: mean A x, variance gain A x; gain from 1e-6 to 1000, in units of x."""
    from deepinv.physics import PoissonNoise

    expected = f"from {FAINTEST:g} to {STRONGEST:g}, where 1 is white"
    _check(FAINTEST <= gain <= STRONGEST, "option 'gain' of 'poisson'", expected, gain)
    return PoissonNoise(gain=float(gain))


def uniform(a: float = 0.1) -> "NoiseModel":
    """y = A x + a u, u uniform in (-1, 1); a from 0 to 1000, in units of x."""
    from deepinv.physics import UniformNoise

    _check_level(a, "option 'a' of 'uniform'")
    return UniformNoise(a=float(a))


def salt_and_pepper(p: float = 0.1) -> "NoiseModel":
    """y = A x but for a share p of the values, p in [0, 1]: half of those are 1, half are 0."""
    from deepinv.physics import SaltPepperNoise

    _check(0 <= p <= 1, "option 'p' of 'salt-and-pepper'", "a share from 0 to 1", p)
    return SaltPepperNoise(p=p / 2, s=p / 2)  # deepinv's p is the share of pepper, s that of salt


def noise_level(noise: "NoiseModel") -> float | None:
    """Returns the standard deviation of y around A x, or None where it is unknown or differs between pixels or images.

    Example:
        >>> f"{noise_level(uniform(0.3)):.4f}"
        '0.1732'
    """
    from deepinv.physics import GaussianNoise, UniformNoise, ZeroNoise

    if isinstance(noise, ZeroNoise):
        return 0.0
    if isinstance(noise, GaussianNoise):
        return _only_value(noise.sigma)
    if isinstance(noise, UniformNoise):
        a = _only_value(noise.a)
        return None if a is None else a / math.sqrt(3)
    return None


def _only_value(level: Tensor) -> float | None:
    return level.item() if level.numel() == 1 else None


def fitting_fidelity(noise: "NoiseModel | None", level: float | None, otherwise: str) -> Spec:
    """Returns the data term for a noise of which something is known.

    Noise of a known level may have been clipped where pictures were written. Where it was not, the term for clipped
    noise is L2.

    Arguments:
        noise: Its model; None: not known.
        level: Standard deviation; None: that of the model, or not known.
        otherwise: Name of the data term where neither tells one.

    Raises:
        GenpriorError: Photon counts of several gains.
    """
    suggested = None if noise is None else suggested_fidelity(noise)
    sigma = noise_level(noise) if level is None and noise is not None else level
    return suggested or Spec(*(("clipped", {"sigma": sigma}) if sigma else (otherwise, {})))


def suggested_fidelity(noise: "NoiseModel") -> Spec | None:
    """Returns the data term that suits the noise, or None where the operator's own suggestion holds.

    Raises:
        GenpriorError: Photon counts of several gains.
    """
    from deepinv.physics import PoissonNoise, SaltPepperNoise

    if isinstance(noise, PoissonNoise):
        if noise.gain.numel() != 1 or not bool(noise.normalize):
            raise GenpriorError("expected Poisson noise of one gain, normalised to the units of x", argument="physics")
        return Spec("poisson", {"gain": float(noise.gain)})
    return Spec("l1", {}) if isinstance(noise, SaltPepperNoise) else None


@torch.no_grad()
def measure(x: Tensor, operator: Operator, noise: "NoiseModel", *, seed: int, first: int = 0) -> Tensor:
    """Returns y (B, ...) float32, noisy measurements of images; missing pixels get no noise.

    Neither the operator nor the noise model is changed, but for the parameters that the operator remembers, and the
    result does not depend on batch size, on order, on the generator of the noise model or on torch's global one.

    Arguments:
        x: Images (B, C, H, W), float in [0, 1], B at least 1, on the device of the operator.
        operator: A, with parameters of its own for each image.
        noise: N, one level for all images. It is drawn on the CPU, the same on every device.
        seed: Image i's noise is drawn from (seed, i) alone.
        first: Number of the first image.

    Raises:
        GenpriorError: Not images, or noise that these measurements cannot have, such as Poisson below 0.
    """
    if x.ndim != 4 or not len(x) or not x.is_floating_point():
        raise GenpriorError(f"expected (B, C, H, W) of floats, got {tuple(x.shape)} of {x.dtype}", argument="x")
    return torch.cat([_measured(x[i : i + 1].float(), operator, noise, seed, first + i) for i in range(len(x))])


def stacked(operator: Operator, indices: Sequence[int]) -> dict[str, Tensor]:
    """Returns the parameters (B, ...) of the operator for images of these numbers; {} where it has none."""
    each = [operator.parameters(index) for index in indices]
    return {name: torch.cat([own[name] for own in each]) for name in (each[0] if each else {})}


def _measured(x: Tensor, operator: Operator, noise: "NoiseModel", seed: int, index: int) -> Tensor:
    """y (1, ...) of one image x (1, C, H, W)."""
    from deepinv.physics import NoiseModel

    physics = operator.physics
    own = {name: value.to(x.device) for name, value in operator.parameters(index).items()}
    clean = physics.A(x, **own)
    # The physics knows where noise goes (inpainting: known pixels), so it adds it by itself.
    before = physics.noise_model
    physics.set_noise_model(NoiseModel(partial(_noisy, noise=noise, seed=derived_seed(seed, "noise", index))))
    try:
        y: Tensor = physics.sensor(physics.noise(clean))
        return y
    finally:
        physics.set_noise_model(before)


def _noisy(y: Tensor, noise: "NoiseModel", seed: int) -> Tensor:
    """N(y), drawn from `seed` alone."""
    own = copy(noise)
    own.rng = None  # some of deepinv's models know the global generator alone, so all use that one
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            drawn: Tensor = own(y.cpu())
        except ValueError as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            got = f"the measurements lie in [{float(y.min()):.3g}, {float(y.max()):.3g}]"
            raise GenpriorError(f"{reason}, but {got}", argument="noise") from error
    if drawn.shape != y.shape:
        raise GenpriorError(f"expected one level for all images, got levels for {len(drawn)}", argument="noise")
    return drawn.to(y.device)


NOISES: dict[str, Callable[..., "NoiseModel"]] = {
    "none": none,
    "gaussian": gaussian,
    "poisson": poisson,
    "uniform": uniform,
    "salt-and-pepper": salt_and_pepper,
}
