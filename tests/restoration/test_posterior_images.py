"""Draws beside a prior's range against the closed form, and where they stay within it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.range_residual import RangeResidual
from genprior.priors.generator_prior import GeneratorPrior
from genprior.restoration import latent_sampler
from genprior.restoration.fidelity import L1, L2, Fidelity, Poisson
from genprior.restoration.noise import NOISES, measure
from genprior.restoration.operators import OPERATORS
from genprior.restoration.posterior_images import draw_images
from genprior.restoration.problem import make_problem
from genprior.restoration.restore import restore
from genprior.restoration.search_settings import SearchSettings
from genprior.seeding import derived_generator

SHAPE, LATENTS, SIGMA = (1, 4, 6), 3, 0.1
D = math.prod(SHAPE)
SPECS = {"denoise": {}, "inpaint": {"random": 0.5}, "compressed-sensing": {"m": 8}, "downsample": {"factor": 2}}


class Plane(nn.Module):
    """z -> 0.5 + z W."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(LATENTS, D, generator=derived_generator(1, "plane")))

    def forward(self, z: Tensor) -> Tensor:
        return (0.5 + z @ self.weight).view(-1, *SHAPE)


def _residual(rank: int = 2) -> RangeResidual:
    generator = derived_generator(2, "residual")
    return RangeResidual(
        0.1 * torch.randn(D, rank, generator=generator), 0.01 * torch.rand(D, generator=generator) + 0.001
    )


def _prior(residual: RangeResidual | None) -> GeneratorPrior:
    return GeneratorPrior(Plane(), LATENTS, SHAPE).with_residual(residual)


def _drawn(name: str, residual: RangeResidual | None, count: int, fidelity: Fidelity | None = None) -> Tensor:
    operator = OPERATORS[name](image_shape=SHAPE, seed=0, **SPECS[name])
    prior = _prior(residual)
    x = prior.sample(1, seed=4) + (0 if residual is None else residual.drawn(1, derived_generator(0, "d")).view(SHAPE))
    y = measure(x, operator, NOISES["gaussian"](sigma=SIGMA), seed=0)
    own = operator.parameters(0)
    problem = make_problem(prior, y, operator.physics, fidelity or L2(), own)
    A = _matrix(name, own)
    exact = _exact(A, y, torch.full((len(A),), SIGMA**2, dtype=torch.float64))
    return torch.stack([*draw_images(problem, 0, SIGMA, count, derived_generator(1, "draws")).x, *exact])


def _matrix(name: str, own: dict[str, Tensor]) -> Tensor:
    """A (M, D) of the operator of an image."""
    operator = OPERATORS[name](image_shape=SHAPE, seed=0, **SPECS[name])
    A = operator.physics.A(torch.eye(D).view(D, *SHAPE), **{k: v.expand(D, *v.shape[1:]) for k, v in own.items()})
    return A.flatten(1).T.double()


def _exact(A: Tensor, y: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the posterior of x = 0.5 + W z + d, by conditioning one Gaussian; noise has variances (M,).

    Measurements of nothing, as in a hole, say nothing.
    """
    residual, shows = _residual(), A.abs().sum(1) > 0
    A, y, variances = A[shows], y.flatten().double()[shows], variances[shows]
    W, F = Plane().weight.double(), residual.factors.double()
    prior = W.T @ W + F @ F.T + torch.diag(residual.noise.double())
    gain = prior @ A.T @ torch.linalg.inv(A @ prior @ A.T + torch.diag(variances))
    mean = 0.5 + gain @ (y - A @ torch.full((D,), 0.5, dtype=torch.float64))
    return mean.view(SHAPE).detach(), (prior - gain @ A @ prior).diagonal().view(SHAPE).detach()


@pytest.mark.parametrize("name", SPECS)
def test_draws_beside_a_linear_range_have_the_mean_and_variance_of_the_closed_form(name: str) -> None:
    found = _drawn(name, _residual(), 2000)
    draws, mean, variance = found[:-2], found[-2], found[-1]
    assert float(((draws.mean(0) - mean) / variance.sqrt()).abs().max()) < 0.25
    torch.testing.assert_close(draws.var(0) / variance, torch.ones_like(variance), atol=0.3, rtol=0)


@pytest.mark.parametrize("name", SPECS)
def test_expected_images_have_the_mean_of_the_draws_with_less_noise_and_count_what_explains_them(name: str) -> None:
    """And the squared residual of the mean is the noise of what is not explained, as that of a ridge regression."""
    operator = OPERATORS[name](image_shape=SHAPE, seed=0, **SPECS[name])
    own, residual = operator.parameters(0), _residual()
    A = _matrix(name, own)
    y = measure(_prior(residual).sample(1, seed=4), operator, NOISES["gaussian"](sigma=SIGMA), seed=0)
    problem = make_problem(_prior(residual), y, operator.physics, L2(), own)
    found = draw_images(problem, 0, SIGMA, 1000, derived_generator(1, "draws"))
    torch.testing.assert_close(found.expected.mean(0), found.x.mean(0), atol=0.03, rtol=0)
    assert float(found.expected.var(0).mean()) < float(found.x.var(0).mean())
    covariance = A @ (residual.factors @ residual.factors.T + torch.diag(residual.noise)).double() @ A.T
    hat = covariance @ torch.linalg.inv(covariance + SIGMA**2 * torch.eye(len(A)))
    assert found.parameters == pytest.approx(LATENTS + float(hat.trace()), rel=1e-4)


def test_holes_without_noise_are_filled_with_what_pixels_share_and_no_grain() -> None:
    """u = 0.5 + W z + F c, of which A (u + grain) is known."""
    operator, residual = OPERATORS["inpaint"](image_shape=SHAPE, seed=0, random=0.5), _residual()
    own = operator.parameters(0)
    y = measure(_prior(residual).sample(1, seed=4), operator, NOISES["none"](), seed=0)
    problem = make_problem(_prior(residual), y, operator.physics, L1(), own)
    found = draw_images(problem, 0, 0.0, 2000, derived_generator(1, "draws"))
    known = own["mask"].flatten() == 1
    A, W, F = torch.eye(D)[known].double(), Plane().weight.detach().double(), residual.factors.double()
    shared, grain = W.T @ W + F @ F.T, torch.diag(residual.noise.double())
    gain = shared @ A.T @ torch.linalg.inv(A @ (shared + grain) @ A.T)
    mean = 0.5 + gain @ (y.flatten()[known].double() - 0.5)
    variance = (shared - gain @ A @ shared).diagonal()
    off = (found.x.flatten(1).mean(0) - mean) / variance.sqrt()
    assert float(off.abs().max()) < 0.25
    torch.testing.assert_close(found.x.flatten(1).double().var(0) / variance, torch.ones(D).double(), atol=0.3, rtol=0)


def test_large_masks_need_no_dense_matrix_and_other_large_operators_stay_in_the_range() -> None:
    for name, is_free in (("inpaint", True), ("blur", False)):
        side, options = 50, {"inpaint": {"box": 20}, "blur": {"sigma": 1.0}}
        operator = OPERATORS[name](image_shape=(1, side, side), seed=0, **options[name])
        generator = nn.Sequential(nn.Linear(LATENTS, side * side), nn.Unflatten(1, (1, side, side)))
        residual = RangeResidual(torch.zeros(side * side, 1), torch.full((side * side,), 0.01))
        prior = GeneratorPrior(generator, LATENTS, (1, side, side)).with_residual(residual)
        y = measure(prior.sample(1), operator, NOISES["gaussian"](sigma=SIGMA), seed=0)
        problem = make_problem(prior, y, operator.physics, L2(), operator.parameters(0))
        found = draw_images(problem, 0, SIGMA, 8, derived_generator(1, "draws"))
        beside = float((found.x - prior.decode(found.latents.z)).std())
        assert (beside > 0.01) is is_free
        assert beside < 0.11


def test_other_data_terms_and_priors_without_a_residual_stay_in_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_sampler, "LAST_TRAJECTORIES", 1)
    free = torch.linalg.svd(Plane().weight.detach(), full_matrices=True)[2][LATENTS:]  # what no z can make
    for residual, fidelity in ((None, L2()), (_residual(), L1())):
        draws = _drawn("denoise", residual, 8, fidelity)[:-2]
        assert float(((draws.float().flatten(1) - 0.5) @ free.T).abs().max()) < 1e-4
    draws = _drawn("denoise", _residual(), 8)[:-2]
    assert float(((draws.float().flatten(1) - 0.5) @ free.T).abs().max()) > 0.05


def test_a_pixel_that_a_few_images_left_black_may_be_bright_in_others() -> None:
    off = torch.randn(40, 1, 4, 6, generator=derived_generator(3, "off"))
    off[:, :, 0, 0] = 0
    found = RangeResidual.learned(off, 0)
    assert float(found.noise[0]) == pytest.approx(5 / 45 * float(off.square().mean()), rel=1e-3)


def test_a_residual_is_learned_from_what_it_made() -> None:
    true = _residual()
    found = RangeResidual.learned(true.drawn(20_000, derived_generator(0, "many")).view(-1, *SHAPE), 2)
    unit = torch.eye(D)
    torch.testing.assert_close(found.applied(unit), true.applied(unit), atol=5e-3, rtol=0)
    assert RangeResidual.learned(torch.zeros(20, *SHAPE), 9).factors.shape == (D, 5)


@pytest.mark.parametrize("off", [torch.zeros(19, *SHAPE), torch.full((30, *SHAPE), torch.nan)])
def test_too_few_images_or_gaps_teach_no_residual(off: Tensor) -> None:
    with pytest.raises(GenpriorError, match="at least 20 images without gaps") as raised:
        RangeResidual.learned(off, 2)
    assert raised.value.argument == "images"


def test_a_prior_with_a_residual_is_another_one() -> None:
    prior, residual = _prior(None), _residual()
    assert prior.with_residual(residual).residual is residual
    assert prior.with_residual(residual).with_encoder(nn.Identity()).residual is residual  # type: ignore[arg-type]
    assert prior.residual is None  # the first one stays as it is


def test_photon_counts_have_a_scale_of_their_own() -> None:
    operator, gain = OPERATORS["denoise"](image_shape=SHAPE), 0.05
    prior = _prior(None)
    y = measure(prior.sample(1, seed=4).clamp_min(0), operator, NOISES["poisson"](gain=gain), seed=0)
    problem = make_problem(prior, y, operator.physics, Poisson(gain))
    drawn = draw_images(problem, 0, None, 32, derived_generator(1, "draws"))
    assert drawn.latents.scale.tolist() == [1.0] * 32


@pytest.mark.parametrize("name", ["denoise", "inpaint", "downsample"])
def test_photon_counts_show_what_lies_beside_the_range(name: str) -> None:
    """Of so many photons that counts are Gaussian, draws have the moments of the closed form with that variance."""
    gain, residual = 0.002, _residual()
    operator = OPERATORS[name](image_shape=SHAPE, seed=0, **SPECS[name])
    own, prior = operator.parameters(0), _prior(residual)
    likely = prior.decode(torch.full((1, LATENTS), 0.2))
    x = likely + residual.drawn(1, derived_generator(0, "d")).view(SHAPE)
    assert float(x.min()) > 0.1  # photons are no negative number
    y = measure(x, operator, NOISES["poisson"](gain=gain), seed=0)
    A = _matrix(name, own)
    mean, variance = _exact(A, y, gain * (A @ x.flatten().double()))
    problem = make_problem(prior, y, operator.physics, Poisson(gain), own)
    draws = draw_images(problem, 0, None, 1000, derived_generator(1, "draws")).x
    assert float(((draws.mean(0) - mean) / variance.sqrt()).abs().max()) < 0.5
    torch.testing.assert_close(draws.var(0) / variance, torch.ones_like(variance), atol=0.4, rtol=0)


def test_draws_under_photon_counts_depend_on_no_other_image() -> None:
    prior, operator = _prior(_residual()), OPERATORS["denoise"](image_shape=SHAPE)
    x = prior.decode(0.2 * torch.randn(3, LATENTS, generator=derived_generator(0, "z")))
    y = measure(x.clamp_min(0), operator, NOISES["poisson"](gain=0.05), seed=0)
    settings = SearchSettings(draws=8)
    together = restore(prior, y, operator.physics, settings, fidelity=Poisson(0.05), seed=3)
    for i in range(3):
        own = replace(settings, first=i)
        alone = restore(prior, y[i : i + 1], operator.physics, own, fidelity=Poisson(0.05), seed=3)
        torch.testing.assert_close(alone.draws[0], together.draws[i], atol=1e-4, rtol=0)


def test_where_no_photon_was_counted_an_image_is_known_to_a_count() -> None:
    """However far below black its range, or what lies beside that, would be."""
    gain, prior, operator = 0.05, _prior(_residual()), OPERATORS["denoise"](image_shape=SHAPE)
    slope = prior.decode(torch.ones(1, LATENTS)) - 0.5
    x = (0.5 + slope * 0.49 / -slope.min()).clamp_min(0)
    y = measure(x, operator, NOISES["poisson"](gain=gain), seed=0)
    y[0, 0].view(-1)[x.argmin()] = 0.0
    problem = make_problem(prior, y, operator.physics, Poisson(gain))
    draws = draw_images(problem, 0, None, 500, derived_generator(1, "draws")).x
    mean, variance = _exact(torch.eye(D).double(), y, (gain * x.flatten().clamp_min(gain)).double())
    empty = y[0] == 0
    assert float((draws.var(0) / variance)[empty].max()) < 1.5
    assert float(((draws.mean(0) - mean) / variance.sqrt())[empty].abs().max()) < 0.5


def test_other_terms_with_a_scale_of_their_own_stay_in_the_range() -> None:
    class Known(L2):
        def scale(self, mean: Tensor) -> Tensor:
            return torch.full_like(mean, 0.01)

    problem = make_problem(
        _prior(_residual()), torch.zeros(1, *SHAPE), OPERATORS["denoise"](image_shape=SHAPE).physics, Known()
    )
    draws = draw_images(problem, 0, None, 8, derived_generator(1, "draws")).x
    free = torch.linalg.svd(Plane().weight.detach(), full_matrices=True)[2][LATENTS:]  # what no z can make
    assert float(((draws.flatten(1) - 0.5) @ free.T).abs().max()) < 1e-4
