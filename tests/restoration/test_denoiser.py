"""A prior as a denoiser inside deepinv's solvers; images are Gaussian, so that the posterior is known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.mlp import MLPGenerator
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.priors.generator_prior import GeneratorPrior
from genprior.priors.mixture_prior import MixturePrior
from genprior.restoration.restore import PriorDenoiser
from mixtures import image_mixture
from velocities import gaussian_field, made_gaussian

SHAPE, MEAN, SPREAD, SIGMA = (1, 4, 4), 0.5, 0.15, 0.05
HIDDEN = torch.ones(1, 1, 4, 4)
HIDDEN[..., 1:3, 1:3] = 0


def _prior() -> FlowMatchingPrior:
    return FlowMatchingPrior(gaussian_field(SHAPE, MEAN, SPREAD).float(), SHAPE)


def _gaussian() -> tuple[Tensor, Tensor]:
    mean, variance = made_gaussian(SHAPE)
    return (MEAN + SPREAD * mean).float(), (SPREAD**2 * variance).float()


def _physics() -> Any:  # noqa: ANN401 - deepinv has no types
    from deepinv.physics import GaussianNoise, Inpainting

    return Inpainting(SHAPE, mask=HIDDEN, noise_model=GaussianNoise(SIGMA))


def _explained(y: Tensor) -> Tensor:
    """The posterior mean (B, C, H, W): pixels are independent."""
    mean, variance = _gaussian()
    return mean + HIDDEN * variance / (variance + SIGMA**2) * (y - mean)


def _dps(denoiser: PriorDenoiser, y: Tensor, physics: Any) -> Tensor:  # noqa: ANN401
    from deepinv.sampling import DPS, DDPMSolver

    solver = DDPMSolver(torch.linspace(1, 0.001, 100))
    found: Tensor = DPS(denoiser, solver=solver, weight=8.0, guidance="annealed")(y, physics, x_init=(len(y), *SHAPE))
    return found.float()


def _diffpir(denoiser: PriorDenoiser, y: Tensor, physics: Any) -> Tensor:  # noqa: ANN401
    from deepinv.optim import L2
    from deepinv.sampling import DiffPIR

    found: Tensor = DiffPIR(denoiser, L2(), sigma=SIGMA, max_iter=50, verbose=False)(y, physics)
    return found


def _ddrm(denoiser: PriorDenoiser, y: Tensor, physics: Any) -> Tensor:  # noqa: ANN401
    from deepinv.sampling import DDRM

    found: Tensor = DDRM(denoiser, sigmas=torch.linspace(1, 0, 50).tolist())(y, physics)
    return found


def _plug_and_play(denoiser: PriorDenoiser, y: Tensor, physics: Any) -> Tensor:  # noqa: ANN401
    from deepinv.optim import L2, PGD
    from deepinv.optim.prior import PnP

    model = PGD(L2(), prior=PnP(denoiser), stepsize=1.0, sigma_denoiser=SIGMA, max_iter=200, early_stop=False)
    found: Tensor = model(y, physics)
    return found


@pytest.mark.parametrize("solve", [_dps, _diffpir, _ddrm, _plug_and_play])
def test_solvers_of_deepinv_find_the_posterior_mean(solve: Callable[..., Tensor]) -> None:
    physics = _physics()
    torch.manual_seed(0)
    mean, variance = _gaussian()
    x = mean + variance.sqrt() * torch.randn(1, *SHAPE)
    y = physics(x).expand(300, -1, -1, -1).contiguous()
    found = solve(PriorDenoiser(_prior()), y, physics).mean(0)
    off = found - _explained(y)[0]
    assert float(off.abs().max()) < 0.05
    assert float((y[0] * HIDDEN - _explained(y)[0]).abs().max()) > 0.3  # what they would be without a prior


def test_flow_matching_of_deepinv_draws_from_the_prior() -> None:
    from deepinv.sampling import EulerSolver, FlowMatching

    torch.manual_seed(0)
    solver = EulerSolver(torch.linspace(0.99, 0.001, 100))
    x = FlowMatching(denoiser=PriorDenoiser(_prior()), solver=solver).sample((500, *SHAPE)).float()
    mean, variance = _gaussian()
    torch.testing.assert_close(x.mean(0), mean, atol=0.04, rtol=0)
    torch.testing.assert_close(x.std(0), variance.sqrt(), atol=0, rtol=0.15)


def test_levels_have_any_shape_and_no_noise_leaves_an_image_as_it_is() -> None:
    denoiser, x = PriorDenoiser(_prior()), torch.rand(3, *SHAPE)
    levels = torch.tensor([0.2, 0.0, 0.1])
    found = denoiser(x, levels.view(-1, 1, 1, 1))
    torch.testing.assert_close(found, denoiser(x, levels))
    torch.testing.assert_close(found[:1], denoiser(x[:1], 0.2))
    assert torch.equal(found[1], x[1])
    mixture = MixturePrior(image_mixture(SHAPE), SHAPE)
    torch.testing.assert_close(PriorDenoiser(mixture)(x, 0.1), mixture.denoise(x, 0.1))


def test_a_prior_that_only_searches_is_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^prior: only flow matching and mixtures denoise without a search"):
        PriorDenoiser(GeneratorPrior(MLPGenerator(SHAPE, 4, 8, 1), 4, SHAPE))  # type: ignore[arg-type]
