"""What is made of draws: the restored image, kinds with probabilities, verdicts, and what is refused."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.priors.contracts import LatentPrior
from genprior.priors.mixture_prior import MixturePrior
from genprior.restoration import estimates, latent_sampler
from genprior.restoration.estimates import kinds
from genprior.restoration.fidelity import L2
from genprior.restoration.noise import NOISES, measure, stacked
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoration.problem import make_problem
from genprior.restoration.restore import invert, restore
from genprior.restoration.result import NOT_MIXED, Restoration
from genprior.restoration.search_settings import SearchSettings
from mixtures import image_mixture

SHAPE, LATENTS = (1, 6, 6), 3
MANY = SearchSettings(draws=64)
SPECS: dict[str, dict[str, float]] = {
    "denoise": {},
    "inpaint": {"random": 0.5},
    "downsample": {"factor": 2},
    "blur": {"sigma": 1},
    "compressed-sensing": {"m": 10},
}


class Waves(LatentPrior):
    """z (B, 3) -> three patterns, added and bent."""

    def __init__(self) -> None:
        self.image_shape, self.latent_size = SHAPE, LATENTS
        self.patterns = torch.randn(LATENTS, math.prod(SHAPE), generator=torch.Generator().manual_seed(2))

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z @ self.patterns).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)


def _prior(name: str) -> LatentPrior:
    return Waves() if name == "latents" else MixturePrior(image_mixture(SHAPE, 3), SHAPE)


def _restored(prior: LatentPrior, settings: SearchSettings = MANY) -> Restoration:
    return restore(prior, _measured(prior), _operator().physics, settings, noise_level=0.1)


def _operator() -> Operator:
    return OPERATORS["inpaint"](image_shape=SHAPE, seed=0, box=4)


def _measured(prior: LatentPrior) -> Tensor:
    return measure(prior.sample(3, seed=1), _operator(), NOISES["gaussian"](sigma=0.1), seed=0)


@pytest.mark.parametrize("name", ["latents", "mixture"])
def test_the_restored_image_is_the_mean_the_median_or_the_most_likely_one(name: str) -> None:
    prior = _prior(name)
    mean = _restored(prior)
    median, likely = (_restored(prior, SearchSettings(draws=64, estimate=each)) for each in ("median", "map"))
    assert mean.draws.shape == (3, 64, *SHAPE)
    torch.testing.assert_close(
        mean.images, mean.draws.mean(1).clamp(0, 1), atol=0.1 if name == "mixture" else 1e-6, rtol=0
    )
    torch.testing.assert_close(median.images, torch.quantile(median.draws, 0.5, dim=1).clamp(0, 1))
    for found in (mean, median, likely):
        off = (_operator().physics.A(found.images) - _measured(prior)).flatten(1)
        torch.testing.assert_close(found.error, (off.square().sum(1) / 20).sqrt())  # 36 pixels less a box of 16
    torch.testing.assert_close(likely.images, _restored(prior, SearchSettings(estimate="map")).images)
    assert not torch.equal(likely.images, mean.images)


def test_the_mean_of_a_closed_form_is_exact() -> None:
    prior = _prior("mixture")
    assert torch.equal(_restored(prior).images, _restored(prior, SearchSettings()).images)


@pytest.mark.parametrize("name", ["latents", "mixture"])
def test_draws_do_not_depend_on_what_is_restored_beside_them(name: str) -> None:
    prior = _prior(name)
    operator = OPERATORS["denoise"](image_shape=SHAPE, seed=0)
    y = measure(prior.sample(3, seed=1), operator, NOISES["gaussian"](sigma=0.2), seed=0)
    together = restore(prior, y, operator.physics, MANY, noise_level=0.2)
    alone = restore(prior, y[2:], operator.physics, SearchSettings(draws=64, first=2), noise_level=0.2)
    torch.testing.assert_close(alone.draws[0], together.draws[2], atol=1e-4, rtol=0)
    assert not torch.allclose(together.draws[0], together.draws[1])


@pytest.mark.parametrize("operator", OPERATORS)
def test_exact_draws_vary_around_the_exact_mean(operator: str) -> None:
    prior = _prior("mixture")
    made = OPERATORS[operator](image_shape=SHAPE, seed=0, **SPECS[operator])
    y = measure(prior.sample(1, seed=1), made, NOISES["gaussian"](sigma=0.05), seed=0)
    found = restore(prior, y, made.physics, SearchSettings(draws=400), parameters=stacked(made, [0]), noise_level=0.05)
    off = (found.draws.mean(1) - found.images).abs() / (found.deviation() / 20 + 1e-3)
    assert float(off.max()) < 5.5
    assert found.effective.tolist() == [400]
    assert found.r_hat.tolist() == [1]


def test_approximate_draws_are_weighed_and_say_what_they_are_worth() -> None:
    prior = _prior("mixture")
    operator = OPERATORS["denoise"](image_shape=SHAPE, seed=0)
    operator.physics.noise_model = NOISES["poisson"](gain=0.02)
    y = measure(prior.sample(3, seed=1).clamp(0, 1), operator, NOISES["poisson"](gain=0.02), seed=0)
    found = restore(prior, y, operator.physics, MANY)
    assert set(found.stopped) == {"approximated"}
    assert bool((found.effective >= 1).all())
    assert bool((found.effective <= 64).all())
    assert float((found.draws.mean(1) - found.images).abs().mean()) < 0.05


def test_draws_whose_weights_rest_on_one_are_not_mixed_and_do_not_look_sure() -> None:
    shape = (3, 16, 16)  # of many measurements
    own = image_mixture(shape)
    prior = MixturePrior(FactorAnalysers(own.weights, own.means, 4 * own.factors, 100 * own.noise), shape)
    operator = OPERATORS["denoise"](image_shape=shape, seed=0)
    y = measure(prior.sample(2, seed=1).clamp(0, 1), operator, NOISES["poisson"](gain=0.3), seed=0)
    operator.physics.noise_model = NOISES["poisson"](gain=0.3)
    found = restore(prior, y, operator.physics, MANY)
    assert set(found.verdicts) == {NOT_MIXED}
    assert float(found.effective.max()) < 4
    assert min(len(torch.unique(own, dim=0)) for own in found.draws) > 8
    assert float(found.deviation().amin()) > 0


def test_candidates_are_kinds_of_draws_with_their_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    low, high = (
        level + 0.01 * torch.randn(count, *SHAPE, generator=generator) for level, count in ((0.2, 30), (0.8, 10))
    )
    places, shares = kinds(torch.cat([high, low]), 3)
    assert shares == [0.75, 0.25]
    assert places[0] >= 10 > places[1]


def test_draws_far_from_all_others_are_kinds_of_their_own() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, 1, 28, 28, generator=generator)
    x[48:] = 3000 * x[:1] + 0.001 * torch.randn(16, 1, 28, 28, generator=generator)
    _, shares = kinds(x, 6)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0


def test_probabilities_add_up_to_one() -> None:
    found = _restored(_prior("latents"), SearchSettings(draws=64, candidates=4))
    for row, count in zip(found.probabilities, found.candidate_counts.tolist(), strict=True):
        assert float(row[:count].sum()) == pytest.approx(1)
    assert found.candidate_latents.shape == (3, 4, LATENTS)


def test_an_interval_holds_its_share_of_the_draws() -> None:
    found = _restored(_prior("latents"), SearchSettings(draws=400))
    low, high = found.interval(0.8)
    inside = (found.draws >= low[:, None]) & (found.draws <= high[:, None])
    assert float(inside.float().mean()) == pytest.approx(0.8, abs=0.01)
    with pytest.raises(GenpriorError, match="above 0 and below 1"):
        found.interval(90)
    with pytest.raises(GenpriorError, match="restore with draws"):
        _restored(_prior("latents"), SearchSettings()).interval()


def test_draws_that_do_not_mix_are_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NOT_MIXED not in _restored(_prior("latents")).verdicts
    monkeypatch.setattr(latent_sampler, "MOST_STEP", 1e-4)
    monkeypatch.setattr(latent_sampler, "FIRST_STEP", 1e-4)
    assert NOT_MIXED in _restored(_prior("latents")).verdicts


def test_images_are_inverted_with_draws_too() -> None:
    prior = _prior("latents")
    found = invert(prior, prior.sample(2), MANY, noise_level=0.1)
    assert found.draws.shape == (2, 64, *SHAPE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"draws": 1}, "draws: expected 0 for none, or a whole number of at least 2"),
        ({"draws": -3}, "draws: expected 0"),
        ({"draws": 2.5}, "draws: expected 0"),
        ({"estimate": "mode"}, "estimate: expected one of mean, median, map, got 'mode'"),
        ({"estimate": "mean"}, "estimate: the mean is taken over draws"),
        ({"draws": 8, "beyond": True}, "draws: draws stay in the prior's range"),
        ({"draws": 8, "energy_weight": 2.0}, "energy_weight: draws weigh the energy as the noise does"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        SearchSettings(**given)


def test_more_draws_than_memory_are_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "with_drawn_latents", None)  # nothing is drawn
    with pytest.raises(GenpriorError, match=r"draws: 1000000000 draws of 3 images need about .* ask for fewer"):
        _restored(_prior("latents"), SearchSettings(draws=10**9))


def test_points_are_not_clamped() -> None:
    class Twice(LatentPrior):
        image_shape, latent_size = (2, 1, 1), 2

        def start(self, count: int, generator: torch.Generator) -> Tensor:
            return torch.randn(count, 2, generator=generator)

        def decode(self, z: Tensor) -> Tensor:
            return 2 * z.view(-1, 2, 1, 1)

        def energy(self, z: Tensor) -> Tensor:
            return 0.5 * z.square().sum(1)

    found = invert(Twice(), torch.tensor([-2.0, 3.0]).view(1, 2, 1, 1), MANY, noise_level=0.1)
    torch.testing.assert_close(found.images.flatten(), torch.tensor([-2.0, 3.0]), atol=0.1, rtol=0)


def test_a_mixture_inverts_exactly_with_draws_too() -> None:
    prior = _prior("mixture")
    x = prior.sample(2, seed=4)
    found = invert(prior, x, MANY)
    torch.testing.assert_close(found.images, x.clamp(0, 1), atol=0.02, rtol=0)
    assert set(found.stopped) == {"closed form"}


def test_the_verdict_is_that_of_the_mean_and_not_of_the_search() -> None:
    careless = SearchSettings(draws=64, starts=1, iterations=1, second_try=False)
    assert set(_restored(_prior("latents"), replace(careless, draws=0)).verdicts) != {"good fit"}
    assert set(_restored(_prior("latents"), careless).verdicts) == {"good fit"}


def test_draws_that_are_worth_few_are_not_trusted() -> None:
    found = _restored(_prior("mixture"))
    assert NOT_MIXED not in found.verdicts
    few = replace(found, effective=torch.full((3,), 2.0))
    problem = make_problem(_prior("mixture"), _measured(_prior("mixture")), _operator().physics, L2())
    assert set(estimates.judged_again(problem, few, 0.1).verdicts) == {NOT_MIXED}
