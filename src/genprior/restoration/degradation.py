"""Measurements y = N(A x) of images. Image i's depends on (seed, i) alone. Imports errors, operators and seeding."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.operators import Operator
from genprior.seeding import derived_seed

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel


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
