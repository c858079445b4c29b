"""The posterior of a mixture: against importance sampling, closed forms, and itself by other ways of solving."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.priors import gaussian_posterior
from genprior.priors.mixture_prior import MixturePrior
from mixtures import image_mixture, made_mixture

SHAPE = (1, 2, 3)
SIZE = math.prod(SHAPE)
MATRIX = torch.randn(3, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([1.0, 0, 1, 1, 0, 0], dtype=torch.float64).view(SHAPE)
OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "whole": lambda x: x,
    "mask": lambda x: x * MASK,
    "matrix": lambda x: x.flatten(1) @ MATRIX.T,
    "rows": lambda x: x.sum(3),
}
SIGMA = 0.3
every_operator = pytest.mark.parametrize("name", OPERATORS)


def _prior(components: int = 3) -> MixturePrior:
    return MixturePrior(made_mixture(SIZE, components), SHAPE)


def _measured(prior: MixturePrior, name: str, count: int = 4) -> Tensor:
    x = prior.sample(count, seed=5).double()
    clean = OPERATORS[name](x)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return clean + SIGMA * noise


@every_operator
def test_the_posterior_is_that_of_importance_sampling(name: str) -> None:
    prior = _prior()
    y = _measured(prior, name)
    generator = torch.Generator().manual_seed(2)
    own = prior.model
    which = torch.multinomial(own.weights, 400_000, replacement=True, generator=generator)
    f = torch.randn(len(which), own.rank, generator=generator, dtype=torch.float64)
    e = torch.randn(len(which), SIZE, generator=generator, dtype=torch.float64)
    x = own.means[which] + torch.einsum("bdr,br->bd", own.factors[which], f) + own.noise[which].sqrt() * e
    seen = OPERATORS[name](x.view(-1, *SHAPE)).flatten(1)
    found = prior.posterior(y, OPERATORS[name], SIGMA)
    for i, measured in enumerate(y.flatten(1)):
        weight = torch.softmax(-0.5 * (seen - measured).square().sum(1) / SIGMA**2, 0)
        spread = 5 / float((1 / weight.square().sum()).sqrt())  # standard errors of the mean, about
        torch.testing.assert_close(found.mean[i].flatten(), weight @ x, rtol=0, atol=max(0.03, spread))
        shares = torch.zeros(own.count, dtype=torch.float64).index_add_(0, which, weight)
        torch.testing.assert_close(found.weights[i], shares, rtol=0, atol=max(0.03, spread))


@every_operator
def test_one_component_has_the_closed_form_of_a_gaussian(name: str) -> None:
    prior = _prior(components=1)
    y, own = _measured(prior, name), prior.model
    matrix = OPERATORS[name](torch.eye(SIZE, dtype=torch.float64).view(-1, *SHAPE)).flatten(1).T
    covariance = own.factors[0] @ own.factors[0].T + torch.diag(own.noise[0])
    seen = matrix @ covariance @ matrix.T + SIGMA**2 * torch.eye(len(matrix), dtype=torch.float64)
    off = y.flatten(1) - matrix @ own.means[0]
    gain = torch.linalg.solve(seen, matrix @ covariance).T
    found = prior.posterior(y, OPERATORS[name], SIGMA)
    torch.testing.assert_close(found.mean.flatten(1), own.means[0] + off @ gain.T)
    normal = torch.distributions.MultivariateNormal(torch.zeros(len(matrix)).double(), seen)
    torch.testing.assert_close(found.log_evidence, normal.log_prob(off))


@every_operator
def test_conjugate_gradients_find_what_matrices_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = _prior()
    y = _measured(prior, name)
    expected = prior.posterior(y, OPERATORS[name], SIGMA)
    monkeypatch.setattr(gaussian_posterior, "MOST_ENTRIES", 0)
    found = prior.posterior(y, OPERATORS[name], SIGMA)
    torch.testing.assert_close(found.means, expected.means, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.draws(3, 1), expected.draws(3, 1), rtol=0, atol=0.5)


def test_the_weights_are_exact_without_a_matrix_where_no_pixel_is_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made_mixture(SIZE)
    even = FactorAnalysers(model.weights, model.means, model.factors, torch.full_like(model.noise, 0.2))
    prior = MixturePrior(even, SHAPE)

    def flipped(x: Tensor) -> Tensor:
        return x.flip(3)

    expected = prior.posterior(_measured(prior, "whole"), flipped, SIGMA)
    monkeypatch.setattr(gaussian_posterior, "MOST_ENTRIES", 0)
    found = prior.posterior(_measured(prior, "whole"), flipped, SIGMA)
    torch.testing.assert_close(found.weights, expected.weights)


@every_operator
def test_draws_have_the_mean_and_covariance_of_the_posterior(name: str) -> None:
    prior = _prior(components=1)
    y, own = _measured(prior, name, count=2), prior.model
    matrix = OPERATORS[name](torch.eye(SIZE, dtype=torch.float64).view(-1, *SHAPE)).flatten(1).T
    covariance = own.factors[0] @ own.factors[0].T + torch.diag(own.noise[0])
    precision = torch.linalg.inv(covariance) + matrix.T @ matrix / SIGMA**2
    found = prior.posterior(y, OPERATORS[name], SIGMA)
    draws = found.draws(4000)
    torch.testing.assert_close(draws.mean(1), found.mean, rtol=0, atol=0.1)
    torch.testing.assert_close(torch.cov(draws[0].flatten(1).T), torch.linalg.inv(precision), rtol=0.1, atol=0.1)


def test_draws_of_a_mixture_have_its_weights() -> None:
    prior = _prior()
    found = prior.posterior(_measured(prior, "mask"), OPERATORS["mask"], SIGMA)
    torch.testing.assert_close(found.draws(4000).mean(1), found.mean, rtol=0, atol=0.12)


def test_draws_depend_on_seed_and_place_alone() -> None:
    prior = _prior()
    y = _measured(prior, "mask")
    all_of, some = (prior.posterior(part, OPERATORS["mask"], SIGMA).draws(3, seed=4) for part in (y, y[:2]))
    torch.testing.assert_close(all_of[:2], some)
    assert not torch.allclose(some, prior.posterior(y[:2], OPERATORS["mask"], SIGMA).draws(3, seed=5))


def test_noise_may_differ_from_number_to_number() -> None:
    prior = _prior()
    y = _measured(prior, "whole")
    blind = torch.full((SIZE,), SIGMA, dtype=torch.float64)
    blind[MASK.flatten() == 0] = 1e6
    found = prior.posterior(y, OPERATORS["whole"], blind)
    expected = prior.posterior(y * MASK, OPERATORS["mask"], SIGMA)
    torch.testing.assert_close(found.mean, expected.mean, rtol=0, atol=1e-4)


def test_denoising_is_the_posterior_mean_at_each_images_level() -> None:
    prior = _prior()
    x = prior.sample(2).double()
    both = prior.denoise(x, torch.tensor([0.1, 0.5]))
    for i, level in enumerate((0.1, 0.5)):
        torch.testing.assert_close(both[i], prior.posterior(x, OPERATORS["whole"], level).mean[i])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64)], ids=str)
def test_latents_are_images_moved_and_scaled(shape: tuple[int, int, int]) -> None:
    prior = MixturePrior(image_mixture(shape), shape)
    x = prior.sample(40)
    z = prior.encode(x)
    torch.testing.assert_close(prior.decode(z), x)
    torch.testing.assert_close(prior.energy(z), -prior.log_prob(x), rtol=1e-3, atol=0.5)
    assert float(z.square().mean()) == pytest.approx(1, abs=0.3)
    assert torch.equal(prior.sample(3), x[:3])
    assert prior.conditional is prior
    assert not prior.is_bound


REFUSED: dict[str, tuple[Callable[[MixturePrior, Tensor], object], str]] = {
    "an operator that is not linear": (
        lambda prior, y: prior.posterior(y, torch.square, 0.1),
        "A: a closed form needs",
    ),
    "an operator that adds noise": (
        lambda prior, y: prior.posterior(y, lambda x: x + 0.05 * torch.randn_like(x), 0.1),
        "A: a closed form needs a linear operator without noise",
    ),
    "noise below 0": (lambda prior, y: prior.posterior(y, lambda x: x, -1.0), "sigma: the noise must be above 0"),
    "noise that is no number": (
        lambda prior, y: prior.posterior(y, lambda x: x, float("nan")),
        "sigma: the noise must",
    ),
    "too few numbers": (lambda prior, y: prior.posterior(y[..., :-1], lambda x: x, 0.1), r"y: the operator gives \d+"),
    "no draws": (lambda prior, y: prior.posterior(y, lambda x: x, 0.1).draws(0), "count: must be at least 1, got 0"),
    "too many draws": (
        lambda prior, y: prior.posterior(y, lambda x: x, 0.1).draws(10**12),
        "count: 1000000000000 draws of 2 images need",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_closed_form_cannot_take_is_refused(name: str) -> None:
    prior = _prior()
    ask, message = REFUSED[name]
    with pytest.raises(GenpriorError, match=message):
        ask(prior, torch.rand(2, *prior.image_shape, generator=torch.Generator().manual_seed(0)))
