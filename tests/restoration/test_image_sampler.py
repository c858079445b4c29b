"""Draws of images by guided denoising are those of the exact posterior, where that is known."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.models.velocity_field import VelocityField
from genprior.priors import flow_matching_prior
from genprior.priors.contracts import DenoisingPrior, LatentPrior
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.restoration import begun_draws
from genprior.restoration.begun_draws import GRAIN, grain_of
from genprior.restoration.fidelity import L1, L2
from genprior.restoration.guided_denoising import guided_mean
from genprior.restoration.image_sampler import USUAL, ImageSampler, evaluations, passes
from genprior.restoration.operators import OPERATORS
from genprior.restoration.problem import Problem, make_problem
from genprior.restoration.restore import restore
from genprior.restoration.search_settings import FEWEST_LEVELS, SEARCHES, SearchSettings
from velocities import GaussianNetwork, gaussian_field, made_gaussian

SHAPE = (1, 4, 4)
D = math.prod(SHAPE)
DRAWS, SPREAD = 400, 0.25
TASKS = {
    "denoise": ({}, 0.1),
    "inpaint": ({"box": 2}, 0.1),
    "downsample": ({"factor": 2}, 0.05),
    "compressed-sensing": ({"m": 6}, 0.05),
}


def _gaussian() -> tuple[FlowMatchingPrior, Tensor, Tensor]:
    """The prior, with the mean and the variances (D,) of its images."""
    mean, variance = (each.float().flatten() for each in made_gaussian(SHAPE))
    field = gaussian_field(SHAPE, 0.5, SPREAD).float()
    return FlowMatchingPrior(field, SHAPE), 0.5 + SPREAD * mean, SPREAD**2 * variance


def _problem(prior: LatentPrior, name: str, x: Tensor, sigma: float) -> tuple[Problem, Tensor]:
    """The problem of images (B, C, H, W) with noise, and its matrix (M, D)."""
    options, _ = TASKS[name]
    physics = OPERATORS[name](image_shape=SHAPE, seed=0, **options).physics
    noise = torch.randn(physics.A(x).shape, generator=torch.Generator().manual_seed(1))
    known = physics.A(torch.ones_like(x)) if name == "inpaint" else 1.0
    matrix = torch.stack([physics.A(e.view(1, *SHAPE)).flatten() for e in torch.eye(D)], 1)
    return make_problem(prior, physics.A(x) + sigma * noise * known, physics, L2()), matrix


def _posterior(mean: Tensor, variance: Tensor, matrix: Tensor, y: Tensor, sigma: float) -> tuple[Tensor, Tensor, float]:
    """Mean (D,) and covariance (D, D) of x given y, and log p(y) up to a constant, for x of independent values."""
    seen = matrix.abs().sum(1) > 0
    matrix, y = matrix[seen], y[seen]
    gain = variance[:, None] * matrix.T
    explained = torch.distributions.MultivariateNormal(matrix @ mean, matrix @ gain + sigma**2 * torch.eye(len(y)))
    gain = gain @ torch.linalg.inv(explained.covariance_matrix)
    covariance = torch.diag(variance) - gain @ matrix @ torch.diag(variance)
    return mean + gain @ (y - matrix @ mean), covariance, float(explained.log_prob(y))


def _image(mean: Tensor, variance: Tensor) -> Tensor:
    noise = torch.randn(D, generator=torch.Generator().manual_seed(2))
    return (mean + variance.sqrt() * noise).view(1, *SHAPE)


@pytest.fixture(autouse=True)
def _small_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_matching_prior, "LEAST_COMPONENTS", 1)


def _with_base(prior: FlowMatchingPrior, mean: Tensor, variance: Tensor) -> FlowMatchingPrior:
    return prior.with_base(FactorAnalysers(torch.ones(1), mean[None], torch.zeros(1, D, 0), variance[None]))


@pytest.mark.parametrize("has_base", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_mean_and_covariance_are_those_of_the_posterior(name: str, has_base: bool) -> None:
    prior, mean, variance = _gaussian()
    prior = _with_base(prior, mean, variance) if has_base else prior
    sigma = TASKS[name][1]
    problem, matrix = _problem(prior, name, _image(mean, variance), sigma)
    expected, covariance, _ = _posterior(mean, variance, matrix, problem.y[0], sigma)
    x, scale = ImageSampler(problem, prior, 24, is_linear=True).draw(DRAWS, sigma**2)
    flat, deviation = x[0].flatten(1), covariance.diag().sqrt()
    off = (flat.mean(0) - expected) / deviation  # about 0.04 by chance
    assert float(off.square().mean().sqrt()) < 0.15
    assert float((flat.std(0) / deviation).log().abs().mean()) < 0.08
    apart = torch.cov(flat.T) - covariance
    assert float(apart.norm() / covariance.norm()) < 0.3  # about 0.16 by chance
    assert torch.equal(scale, torch.full((1, DRAWS), sigma**2))


def test_draws_from_a_base_do_not_depend_on_those_beside_them() -> None:
    plain, mean, variance = _gaussian()
    prior = _with_base(plain, mean, variance)
    x = torch.cat([_image(mean, variance), _image(mean, variance).flip(3)])
    problem, _ = _problem(prior, "downsample", x, 0.05)
    both = ImageSampler(problem, prior, 8, is_linear=True, is_shared=True).draw(3, 0.05**2)[0]
    second = replace(problem, y=problem.y[1:], seen=problem.seen[1:])
    alone = ImageSampler(second, prior, 8, is_linear=True, first=1).draw(2, 0.05**2)[0]
    torch.testing.assert_close(alone[0], both[1, :2], atol=1e-4, rtol=0)
    assert not torch.allclose(both[1, 0], both[1, 1], atol=1e-2)
    usual = ImageSampler(problem, plain, 8, is_linear=True).draw(3, 0.05**2)[0]
    assert not torch.allclose(usual, both, atol=1e-2)


@pytest.mark.parametrize("case", ["unknown level", "other noise", "not linear"])
def test_draws_begin_at_noise_where_no_closed_form_knows_the_problem(case: str) -> None:
    plain, mean, variance = _gaussian()
    prior = _with_base(plain, mean, variance)
    problem, _ = _problem(prior, "denoise", _image(mean, variance), 0.1)
    problem = replace(problem, fidelity=L1()) if case == "other noise" else problem
    scale = None if case == "unknown level" else 0.01
    found = [ImageSampler(problem, own, 8, case != "not linear") for own in (prior, plain)]
    torch.testing.assert_close(*(own.draw(2, scale)[0] for own in found), atol=0, rtol=0)


@pytest.mark.parametrize(("name", "is_quick"), [("inpaint", True), ("denoise", True), ("compressed-sensing", False)])
def test_draws_begin_at_a_base_where_its_posterior_is_quick(
    name: str, is_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks are quick, whatever their size, and other operators of few numbers."""
    plain, mean, variance = _gaussian()
    problem, _ = _problem(plain, name, _image(mean, variance), 0.1)
    found = [ImageSampler(problem, own, 8, True) for own in (plain, _with_base(plain, mean, variance))]
    monkeypatch.setattr(begun_draws, "FEW", 5)  # compressed sensing has 6 numbers, the others 16
    noise, base = (own.draw(2, 0.01)[0] for own in found)
    assert torch.equal(noise, base) is not is_quick
    monkeypatch.setattr(begun_draws, "FEW", 6)
    assert not torch.equal(noise, found[1].draw(2, 0.01)[0])


def test_each_draw_is_of_a_kind_that_the_base_drew_for_it() -> None:
    """The network knows no kinds, and a measurement of a single number under much noise tells none."""
    means = torch.stack([torch.full((D,), -1.0), torch.full((D,), 2.0)])
    kinds = FactorAnalysers(torch.tensor([0.7, 0.3]), means, torch.zeros(2, D, 0), torch.full((2, D), 1e-4))
    field = VelocityField(GaussianNetwork(torch.zeros(SHAPE), torch.full(SHAPE, 16.0)), 0.5, 0.5).float()
    physics = OPERATORS["compressed-sensing"](image_shape=SHAPE, seed=0, m=1).physics
    problem = make_problem(_gaussian()[0], torch.zeros(1, 1), physics, L2())
    x, _ = ImageSampler(problem, FlowMatchingPrior(field, SHAPE).with_base(kinds), 12, True).draw(200, 50.0**2)
    share = float((x[0].flatten(1).mean(1) > 0.5).float().mean())
    assert share == pytest.approx(0.3, abs=0.1)  # three standard errors


def test_the_grain_of_a_base_is_bounded_in_measurements_too() -> None:
    prior, mean, variance = _gaussian()
    x, one = _image(mean, variance), torch.zeros(1, dtype=torch.long)
    masked, summed = _problem(prior, "inpaint", x, 0.1)[0], _problem(prior, "compressed-sensing", x, 0.05)
    assert grain_of(masked, one) == pytest.approx(GRAIN, rel=0.05)  # of 256 numbers
    gain = float(summed[1].square().sum(1).mean().sqrt())  # rows of 16 numbers of variance 1/6
    assert grain_of(summed[0], one) == pytest.approx(GRAIN / gain, rel=0.3)
    assert gain > 1.3


def test_an_unknown_level_is_drawn_with_the_images() -> None:
    prior, mean, variance = _gaussian()
    problem, matrix = _problem(prior, "downsample", _image(mean, variance), 0.1)
    levels = torch.logspace(-2.5, 0.5, 200).tolist()
    found = [_posterior(mean, variance, matrix, problem.y[0], level) for level in levels]
    # An inverse gamma of shape 1 for the square of the level, as a density of its logarithm.
    log_prior = [-2 * math.log(level) - (USUAL / level) ** 2 for level in levels]
    weight = torch.softmax(torch.tensor([own[2] + each for own, each in zip(found, log_prior, strict=True)]), 0)
    expected = sum(w * own[0] for w, own in zip(weight, found, strict=True))
    within = sum(w * own[1].diag() for w, own in zip(weight, found, strict=True))
    between = sum(w * (own[0] - expected).square() for w, own in zip(weight, found, strict=True))
    x, scale = ImageSampler(problem, prior, 24, is_linear=True).draw(DRAWS, None)
    flat, deviation = x[0].flatten(1), (within + between).sqrt()
    assert float(((flat.mean(0) - expected) / deviation).square().mean().sqrt()) < 0.2
    assert float((flat.std(0) / deviation).log().abs().mean()) < 0.1
    log_level = float((weight * torch.tensor(levels).log()).sum())
    assert float(scale.log().mean() / 2) == pytest.approx(log_level, abs=0.1)


class Lumps(DenoisingPrior, LatentPrior):
    """Two equally likely Gaussians, dark and bright, each of one deviation; latents are the images.

    E[x | x_s] is the mean of what each says, by its probability: the exact score of a mixture.
    """

    image_shape, latent_size = SHAPE, D
    centres, deviation = (0.3, 0.7), 0.1

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, D, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        return z.view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z[:, 0])

    def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
        total = self.deviation**2 + torch.as_tensor(sigma) ** 2
        off = torch.stack([(x_noisy - centre).square().flatten(1).sum(1) for centre in self.centres])
        share = torch.softmax(-off / (2 * total), 0)
        kept = self.deviation**2 / total
        each = [centre + kept * (x_noisy - centre) for centre in self.centres]
        return sum(w.view(-1, 1, 1, 1) * x for w, x in zip(share, each, strict=True))


@pytest.mark.parametrize(("shift", "least", "most"), [(0.0, 0.42, 0.58), (0.05, 0.64, 0.92), (-0.1, 0.0, 0.2)])
def test_two_kinds_of_images_are_told_apart(shift: float, least: float, most: float) -> None:
    """Each kind is drawn as the posterior has it. Their shares are nearer to one another than 0.5, 0.92 and 0.01."""
    prior, sigma = Lumps(), 0.3
    problem, matrix = _problem(prior, "inpaint", torch.full((1, *SHAPE), 0.5 + shift), 0.0)
    variance = torch.full((D,), prior.deviation**2)
    found = [_posterior(torch.full((D,), m), variance, matrix, problem.y[0], sigma) for m in prior.centres]
    share = float(torch.softmax(torch.tensor([own[2] for own in found]), 0)[1])
    draws = ImageSampler(problem, prior, 32, is_linear=True).draw(DRAWS, sigma**2)[0][0].flatten(1)
    own = float((draws.mean(1) > 0.5).float().mean())
    assert least < own < most
    assert abs(own - 0.5) <= abs(share - 0.5) + 0.08
    kind = draws[(draws.mean(1) > 0.5) == (shift >= 0)]
    mean, covariance, _ = found[1 if shift >= 0 else 0]
    torch.testing.assert_close(kind.mean(0), mean, atol=0.05, rtol=0)
    assert float(kind.std(0).mean()) == pytest.approx(float(covariance.diag().sqrt().mean()), rel=0.15)


def test_fine_grain_is_drawn_with_its_deviation() -> None:
    """The last level of noise is far below it: what lies below that level is not drawn."""
    prior, grain = Lumps(), 0.02
    prior.centres, prior.deviation = (0.4, 0.4), grain
    problem, _ = _problem(prior, "inpaint", torch.full((1, *SHAPE), 0.4), 0.0)
    x, _ = ImageSampler(problem, prior, 24, is_linear=True).draw(DRAWS, 0.1**2)
    hole = problem.y[0].view(SHAPE) == 0
    assert float(x[0][:, hole].std(0).mean()) == pytest.approx(grain, rel=0.07)


def test_a_draw_depends_on_its_numbers_alone() -> None:
    prior, mean, variance = _gaussian()
    x = torch.cat([_image(mean, variance), _image(mean, 2 * variance), _image(mean, 3 * variance)])
    physics = OPERATORS["inpaint"](image_shape=SHAPE, seed=0, box=2).physics
    together = ImageSampler(make_problem(prior, physics.A(x), physics, L2()), prior, 10, True, seed=4, first=7)
    many = together.draw(70, 0.01)[0]  # more than go at once
    alone = ImageSampler(make_problem(prior, physics.A(x[1:2]), physics, L2()), prior, 10, True, seed=4, first=8)
    torch.testing.assert_close(alone.draw(3, 0.01)[0][0], many[1, :3])
    assert not torch.allclose(many[1, 0], many[1, 1], atol=0.01)
    twins = make_problem(prior, physics.A(x[[1, 1]]), physics, L2())
    first, second = ImageSampler(twins, prior, 10, True, seed=4).draw(1, 0.01)[0]
    assert not torch.allclose(first, second, atol=0.01)
    other = ImageSampler(make_problem(prior, physics.A(x[1:2]), physics, L2()), prior, 10, True, seed=5, first=8)
    assert not torch.allclose(other.draw(1, 0.01)[0][0, 0], many[1, 0], atol=0.01)


def test_fewer_are_drawn_at_once_where_memory_lacks() -> None:
    class Small(Lumps):
        def __init__(self, rows: int) -> None:
            self.rows, self.asked = rows, []

        def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
            self.asked.append(len(x_noisy))
            if len(x_noisy) > self.rows:
                raise MemoryError
            return super().denoise(x_noisy, sigma)

    def draws(prior: Lumps) -> Tensor:
        problem, _ = _problem(prior, "inpaint", torch.linspace(0, 1, 3 * D).view(3, *SHAPE), 0.1)
        return ImageSampler(problem, prior, 8, is_linear=True).draw(5, 0.01)[0]

    small = Small(4)
    torch.testing.assert_close(draws(small), draws(Lumps()))
    assert [rows for rows in small.asked if rows > 4] == [15, 7]
    with pytest.raises(MemoryError):
        draws(Small(0))


def test_the_guided_mean_of_gaussians_is_exact() -> None:
    """Of values of one variance each, two conjugate gradients solve all."""
    prior, sigma, noise = Lumps(), 0.3, 0.1
    prior.centres = (0.4, 0.4)
    x = torch.full((2, *SHAPE), 0.6)
    problem, matrix = _problem(prior, "inpaint", x, 0.0)
    noisy = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    own = guided_mean(problem, prior, noisy, sigma, torch.tensor([0, 1]), torch.full((2,), noise**2), True)
    left = 1 / (1 / prior.deviation**2 + 1 / sigma**2)
    before = left * (0.4 / prior.deviation**2 + noisy[1].flatten() / sigma**2)
    expected, _, _ = _posterior(before, torch.full((D,), left), matrix, problem.y[1], noise)
    torch.testing.assert_close(own[1].flatten(), expected)
    curved = guided_mean(problem, prior, noisy, sigma, torch.tensor([0, 1]), torch.full((2,), noise**2), False)
    torch.testing.assert_close(curved, own)


@pytest.mark.parametrize("count", [*range(FEWEST_LEVELS, 40), 64, 100, 257])
def test_passes_go_down_and_share_all_levels(count: int) -> None:
    found = passes(count)
    assert sum(len(each) for each in found) == count
    assert all(now > then for each in found for now, then in pairwise(each))
    assert min(len(each) for each in found) >= 2
    assert evaluations(count) == 3 * count
    assert evaluations(count, rounds=4) == 5 * count


def test_more_rounds_come_nearer_to_the_conditional_mean() -> None:
    prior, mean, variance = _gaussian()
    problem, matrix = _problem(prior, "compressed-sensing", _image(mean, variance), 0.05)
    sigma = 0.4
    noisy = _image(mean, variance) + sigma * torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(3))
    left = 1 / (1 / variance + 1 / sigma**2)
    before = left * (mean / variance + noisy.flatten() / sigma**2)
    exact, _, _ = _posterior(before, left, matrix, problem.y[0], 0.05)
    who, scale = torch.tensor([0]), torch.tensor([0.05**2])
    errors = [
        float((guided_mean(problem, prior, noisy, sigma, who, scale, True, rounds).flatten() - exact).norm())
        for rounds in (1, 2, 4, 6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 1e-3 < errors[1]  # as many as measurements: exact


def test_the_thorough_preset_spends_more_at_each_level() -> None:
    prior, mean, variance = _gaussian()
    image, physics = _image(mean, variance), OPERATORS["inpaint"](image_shape=SHAPE, seed=0, box=2).physics
    spent = {
        name: restore(prior, image, physics, replace(SEARCHES[name], draws=2), noise_level=0.1).iterations.tolist()
        for name in ("fast", "default", "thorough")
    }
    assert spent == {"fast": [36], "default": [72], "thorough": [200]}


@pytest.mark.parametrize("levels", [FEWEST_LEVELS - 1, 0, 9.5, True])
def test_too_few_levels_are_refused(levels: int) -> None:
    with pytest.raises(GenpriorError, match="levels: expected a whole number of at least 8"):
        SearchSettings(levels=levels)


@pytest.mark.parametrize("rounds", [0, 1.5, True])
def test_too_few_rounds_are_refused(rounds: int) -> None:
    with pytest.raises(GenpriorError, match="rounds: expected a whole number of at least 1"):
        SearchSettings(rounds=rounds)


def test_a_denoiser_without_a_gradient_is_refused() -> None:
    class Blunt(Lumps):
        def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
            return x_noisy.detach()

    problem, _ = _problem(Blunt(), "denoise", torch.full((1, *SHAPE), 0.5), 0.1)
    with pytest.raises(GenpriorError, match="is not differentiable"):
        ImageSampler(problem, Blunt(), 8, is_linear=True).draw(1, 0.01)
