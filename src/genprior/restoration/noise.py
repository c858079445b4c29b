"""Noise N of a measurement, deepinv's models by name, and what solvers want to know of one. Imports errors only."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel


def _check(is_allowed: bool, what: str, expected: str, value: float) -> None:
    if not is_allowed:
        raise GenpriorError(f"{what} must be {expected}, got {value}", argument="noise")


def _check_from_0(value: float, what: str) -> None:
    _check(0 <= value < math.inf, what, "a finite number from 0 up", value)


def none() -> "NoiseModel":
    """y = A x."""
    from deepinv.physics import ZeroNoise

    return ZeroNoise()


def gaussian(sigma: float = 0.1) -> "NoiseModel":
    """y = A x + sigma n, n standard normal; sigma from 0 up, in units of x."""
    from deepinv.physics import GaussianNoise

    _check_from_0(sigma, "option 'sigma' of 'gaussian'")
    return GaussianNoise(sigma=float(sigma))


def poisson(gain: float = 0.05) -> "NoiseModel":
    """y = gain P(A x / gain), P Poisson counts: mean A x, variance gain A x; gain above 0, in units of x."""
    from deepinv.physics import PoissonNoise

    _check(0 < gain < math.inf, "option 'gain' of 'poisson'", "a finite number above 0", gain)
    return PoissonNoise(gain=float(gain))


def uniform(a: float = 0.1) -> "NoiseModel":
    """y = A x + a u, u uniform in (-1, 1); a from 0 up, in units of x."""
    from deepinv.physics import UniformNoise

    _check_from_0(a, "option 'a' of 'uniform'")
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


def suggested_fidelity(noise: "NoiseModel") -> str | None:
    """Returns the name of the data term that suits the noise, or None where the operator's own suggestion holds."""
    from deepinv.physics import PoissonNoise, SaltPepperNoise

    terms = {PoissonNoise: "poisson", SaltPepperNoise: "l1"}
    return next((term for kind, term in terms.items() if isinstance(noise, kind)), None)


NOISES: dict[str, Callable[..., "NoiseModel"]] = {
    "none": none,
    "gaussian": gaussian,
    "poisson": poisson,
    "uniform": uniform,
    "salt-and-pepper": salt_and_pepper,
}
