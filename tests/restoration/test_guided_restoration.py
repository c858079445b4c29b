"""Priors that take Gaussian noise out at once restore by draws of images: every operator, noise and estimate."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genprior.calibration.posterior_draws import draws_of
from genprior.errors import GenpriorError
from genprior.priors.contracts import DenoisingPrior
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.restoration.fidelity import FIDELITIES, L1, L2
from genprior.restoration.guided_denoising import guided_mean
from genprior.restoration.guided_restoration import DRAWN
from genprior.restoration.noise import NOISES, measure, stacked
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoration.problem import make_problem
from genprior.restoration.restore import invert, restore
from genprior.restoration.result import GOOD, NOT_JUDGED
from genprior.restoration.search_settings import SearchSettings
from genprior.specs import Spec
from velocities import gaussian_field, made_gaussian

SHAPE = (1, 6, 6)
QUICK = SearchSettings(levels=8)
DRAWN_EIGHT = replace(QUICK, draws=8)
OPTIONS: dict[str, dict[str, float]] = {
    "denoise": {},
    "inpaint": {"box": 2},
    "downsample": {"factor": 2},
    "blur": {"sigma": 1},
    "compressed-sensing": {"m": 12},
}


def _prior() -> FlowMatchingPrior:
    return FlowMatchingPrior(gaussian_field(SHAPE, 0.5, 0.1).float(), SHAPE)


def _images(count: int) -> Tensor:
    own, variance = (each.float() for each in made_gaussian(SHAPE))
    noise = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(5))
    return (0.5 + 0.1 * (own + variance.sqrt() * noise)).clamp(0, 1)


def _operator(name: str, **options: float) -> Operator:
    return OPERATORS[name](image_shape=SHAPE, seed=0, **(options or OPTIONS[name]))


def _measured(x: Tensor, operator: Operator, sigma: float = 0.05) -> Tensor:
    return measure(x, operator, NOISES["gaussian"](sigma=sigma), seed=0)


PAIRS = [(operator, noise) for operator in OPERATORS for noise in NOISES]
PAIRS.remove(("compressed-sensing", "poisson"))  # counts of photons are at least 0, and random projections are not


@pytest.mark.parametrize(("operator", "noise"), PAIRS)
def test_every_operator_with_every_noise_ends_near_the_truth(operator: str, noise: str) -> None:
    """Nearer than the prior's mean, which knows nothing of y, or about as near where y says next to nothing."""
    x, own, model = _images(4), _operator(operator), NOISES[noise]()
    y = measure(x, own, model, seed=0)
    own.physics.set_noise_model(model)
    found = restore(_prior(), y, own.physics, DRAWN_EIGHT, parameters=stacked(own, range(4)))
    assert found.draws.shape == (4, 8, *SHAPE)
    assert torch.isfinite(found.draws).all()
    assert 0 <= float(found.images.min()) <= float(found.images.max()) <= 1
    nothing = 0.5 + 0.1 * made_gaussian(SHAPE)[0].float()
    most = 0.9 if operator in ("denoise", "inpaint", "compressed-sensing") else 1.2
    assert float((found.images - x).square().mean()) < most * float((nothing - x).square().mean())


@pytest.mark.parametrize("fidelity", ["l2", "l1", "huber", "poisson:gain=0.01", "clipped:sigma=0.05"])
@pytest.mark.parametrize("level", [None, 0.05])
def test_every_data_term_ends_near_the_truth(fidelity: str, level: float | None) -> None:
    assert fidelity.partition(":")[0] in FIDELITIES
    term, own, x = Spec.parse(fidelity).build(FIDELITIES, "fidelity"), _operator("inpaint", random=0.3), _images(3)
    physics, each = own.physics, stacked(own, range(3))
    found = restore(
        _prior(), _measured(x, own), physics, DRAWN_EIGHT, parameters=each, fidelity=term, noise_level=level
    )
    nothing = 0.5 + 0.1 * made_gaussian(SHAPE)[0].float()
    assert float((found.images - x).square().mean()) < 0.8 * float((nothing - x).square().mean())


def test_all_data_terms_are_tried() -> None:
    assert {"l2", "l1", "huber", "poisson", "clipped"} == set(FIDELITIES)


def test_without_draws_the_image_is_the_first_draw() -> None:
    own, x = _operator("inpaint"), _images(2)
    y = _measured(x, own)
    found = restore(_prior(), y, own.physics, QUICK, fidelity=L2(), noise_level=0.05)
    drawn = restore(_prior(), y, own.physics, DRAWN_EIGHT, fidelity=L2(), noise_level=0.05)
    torch.testing.assert_close(found.images, drawn.draws[:, 0].clamp(0, 1))
    assert found.draws.shape[1] == 0
    assert found.stopped == (DRAWN,) * 2
    assert found.iterations.tolist() == [24, 24]
    assert found.candidate_counts.tolist() == [1, 1]


@pytest.mark.parametrize(("estimate", "of"), [("mean", torch.mean), ("median", torch.quantile)])
def test_estimates_are_taken_over_draws(estimate: str, of: Callable[..., Tensor]) -> None:
    own = _operator("downsample")
    settings = replace(DRAWN_EIGHT, estimate=estimate)
    found = restore(_prior(), _measured(_images(2), own), own.physics, settings, noise_level=0.05)
    options: dict[str, Any] = {"q": 0.5} if estimate == "median" else {}
    torch.testing.assert_close(found.images, of(found.draws, dim=1, **options).clamp(0, 1))
    assert found.verdicts == (GOOD,) * 2
    assert bool(found.r_hat.isnan().all())  # nothing meets that could disagree, and so nothing is said
    assert found.effective.tolist() == [8, 8]
    assert draws_of(_prior(), _measured(_images(2), own), own, 0.05, 2, 0).is_mixed is None
    assert float(found.deviation().mean()) > 0


def test_kinds_of_draws_have_probabilities_and_cost_nothing_beside_the_draws() -> None:
    own, prior, rows = _operator("inpaint"), _prior(), list[int]()
    prior.field.network.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    settings = replace(DRAWN_EIGHT, candidates=2)
    found = restore(prior, _measured(_images(2), own), own.physics, settings, noise_level=0.05)
    assert sum(rows) == settings.levels * 2 * settings.draws  # forward ones
    assert found.candidate_latents.shape == (2, 2, 0)
    for i, count in enumerate(found.candidate_counts.tolist()):
        assert float(found.probabilities[i, :count].sum()) == pytest.approx(1)


class _Turning(DenoisingPrior):
    """Its Jacobian turns by a right angle, and is no covariance: none of a step along the residual comes back on it."""

    image_shape = SHAPE

    def sample(self, count: int, seed: int = 0) -> Tensor:
        raise AssertionError("nobody asks")

    def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
        first, second = (x_noisy - 0.5).flatten(1).chunk(2, 1)
        return 0.5 + torch.cat([second, -first], 1).view_as(x_noisy)


def test_a_jacobian_that_is_no_covariance_throws_no_image_far_away() -> None:
    own, x = _operator("denoise"), _images(2)
    problem = make_problem(_prior(), x, own.physics, L2(), {})
    noisy = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    found = guided_mean(problem, _Turning(), noisy, 0.3, torch.arange(2), torch.full((2,), 4e-6), is_linear=True)
    assert float(found.abs().max()) < 3


def test_images_do_not_influence_each_other() -> None:
    own = _operator("compressed-sensing")
    y = _measured(_images(3), own)
    together = restore(_prior(), y, own.physics, replace(DRAWN_EIGHT, first=4), fidelity=L2(), seed=2)
    alone = restore(_prior(), y[2:], own.physics, replace(DRAWN_EIGHT, first=6), fidelity=L2(), seed=2)
    torch.testing.assert_close(alone.draws, together.draws[2:], atol=1e-4, rtol=1e-4)


def test_an_operator_that_is_not_linear_is_undone() -> None:
    from deepinv.physics import Physics

    class Squares(Physics):
        def A(self, x: Tensor) -> Tensor:
            return x.square()

    x = _images(3)
    y = x.square() + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    found = restore(_prior(), y, Squares(), DRAWN_EIGHT, fidelity=L2(), noise_level=0.02)
    assert found.stopped == (DRAWN,) * 3
    assert float((found.images - x).square().mean()) < 0.2 * float((x - x.mean(0)).square().mean())


def test_inversion_draws_too_and_searches_without_draws() -> None:
    x = _images(2)
    found = invert(_prior(), x, DRAWN_EIGHT, noise_level=0.1)
    assert found.stopped == (DRAWN,) * 2
    assert float((found.images - x).square().mean().sqrt()) < 0.1
    searched = invert(_prior(), x, replace(QUICK, iterations=2), noise_level=0.1)
    assert DRAWN not in searched.stopped


@pytest.mark.parametrize("given", [{"estimate": "map"}, {"energy_weight": 1.0}, {"beyond": True}])
def test_the_most_likely_image_is_still_searched_for(given: dict[str, Any]) -> None:
    own = _operator("inpaint")
    settings = replace(QUICK, iterations=2, starts=1, second_try=False, **given)
    found = restore(_prior(), _measured(_images(1), own), own.physics, settings, noise_level=0.05)
    assert DRAWN not in found.stopped


def test_the_most_likely_image_beside_draws_is_refused() -> None:
    own = _operator("inpaint")
    with pytest.raises(GenpriorError, match="estimate: draws of this prior are made without a search"):
        restore(_prior(), _measured(_images(1), own), own.physics, replace(DRAWN_EIGHT, estimate="map"))


def test_calibration_draws_what_restore_draws() -> None:
    own, prior = _operator("inpaint"), _prior()
    y = _measured(_images(2), own)
    found = draws_of(prior, y, own, 0.05, 3, seed=1, first=2).x
    settings = SearchSettings(draws=3, first=2)
    restored = restore(prior, y, own.physics, settings, fidelity=L2(), noise_level=0.05, seed=1)
    torch.testing.assert_close(found, restored.draws)


def test_independent_draws_need_not_mix() -> None:
    own = _operator("inpaint")
    found = restore(_prior(), _measured(_images(2), own), own.physics, DRAWN_EIGHT, noise_level=0.05)
    assert bool(found.r_hat.isnan().all())
    assert found.effective.tolist() == [8, 8]
    assert found.verdicts == (GOOD,) * 2


def test_noise_of_which_no_level_is_known_is_not_judged() -> None:
    own = _operator("denoise")
    y = measure(_images(2), own, NOISES["salt-and-pepper"](p=0.9), seed=0)
    found = restore(_prior(), y, own.physics, DRAWN_EIGHT, fidelity=L1())
    assert found.verdicts == (NOT_JUDGED,) * 2


def test_photon_counts_have_a_scale_that_is_known() -> None:
    """Even where the prior is wrong about images, so that they look noisier than counts can be."""
    own = _operator("denoise")
    y = measure(1 - _images(2), own, NOISES["poisson"](gain=0.01), seed=0)
    found = restore(_prior(), y, own.physics, DRAWN_EIGHT, fidelity=FIDELITIES["poisson"](gain=0.01))
    assert found.weight.tolist() == [1, 1]
