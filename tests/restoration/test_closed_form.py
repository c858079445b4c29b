"""Restoring by a posterior: what becomes the image, other data terms, unknown noise, candidates, and when to search."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import genprior
from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.priors.mixture_prior import MixturePrior
from genprior.restoration.closed_form import APPROXIMATE, EXACT
from genprior.restoration.fidelity import FIDELITIES, L2, Clipped
from genprior.restoration.gaussian_term import as_gaussian
from genprior.restoration.noise import NOISES, measure, stacked
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoration.restore import invert, restore
from genprior.restoration.search_settings import SearchSettings
from mixtures import image_mixture
from small import data_term

SHAPES = ((1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64))
SPECS = {
    "denoise": {},
    "inpaint": {"random": 0.5},
    "downsample": {"factor": 2},
    "blur": {"sigma": 1},
    "compressed-sensing": {"m": 30},
}
SHAPE = (1, 6, 6)


def _operator(name: str, shape: tuple[int, int, int]) -> Operator:
    return OPERATORS[name](image_shape=shape, seed=0, **SPECS[name])


def _prior(shape: tuple[int, int, int] = SHAPE, components: int = 3) -> MixturePrior:
    return MixturePrior(image_mixture(shape, components), shape)


def _error(x: Tensor, truth: Tensor) -> float:
    return float((x - truth).square().mean().sqrt())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_undone_better_than_by_the_mean_of_the_prior(name: str, shape: tuple[int, int, int]) -> None:
    prior, operator = _prior(shape), _operator(name, shape)
    x = prior.sample(2, seed=1)
    y = measure(x, operator, NOISES["gaussian"](sigma=0.05), seed=0)
    found = restore(prior, y, operator.physics, parameters=stacked(operator, range(2)), noise_level=0.05)
    assert found.images.shape == x.shape
    assert set(found.stopped) == {EXACT}
    assert _error(found.images, x) < 0.9 * _error(prior.decode(torch.zeros(2, prior.latent_size)), x)
    torch.testing.assert_close(prior.decode(found.latents), found.images)


@pytest.mark.parametrize("name", ["inpaint", "blur"])
def test_images_do_not_depend_on_those_beside_them(name: str) -> None:
    prior, operator = _prior(), _operator(name, SHAPE)
    y = measure(prior.sample(3), operator, NOISES["poisson"](gain=0.01), seed=0)
    own = stacked(operator, range(3))
    settings = SearchSettings(candidates=2)
    together = restore(prior, y, operator.physics, settings, parameters=own, fidelity=data_term("poisson", gain=0.01))
    for i in range(3):
        one = {key: value[i : i + 1] for key, value in own.items()}
        alone = restore(
            prior, y[i : i + 1], operator.physics, settings, parameters=one, fidelity=data_term("poisson", gain=0.01)
        )
        torch.testing.assert_close(alone.images, together.images[i : i + 1])


@pytest.mark.parametrize(("fidelity", "level"), [("l1", 0.05), ("l1", None), ("clipped", 0.3)])
def test_each_image_settles_alone_where_all_share_an_operator(fidelity: str, level: float | None) -> None:
    prior, operator = _prior(), _operator("downsample", SHAPE)
    y = measure(prior.sample(4), operator, NOISES["gaussian"](sigma=0.05), seed=0)
    y[1:3] = (torch.tensor([2.0, 5.0]).view(2, 1, 1, 1) * (y[1:3] - 0.45)).clamp(0, 1)  # clipped, the others are not
    term = Clipped(0.3) if fidelity == "clipped" else FIDELITIES[fidelity]()

    def found(some: slice) -> genprior.Restoration:
        settings = SearchSettings(draws=8, first=some.start)
        return restore(prior, y[some], operator.physics, settings, fidelity=term, noise_level=level)

    together, apart = found(slice(0, 4)), [found(slice(i, i + 1)) for i in range(4)]
    torch.testing.assert_close(genprior.Restoration.joined(apart).images, together.images)
    torch.testing.assert_close(genprior.Restoration.joined(apart).draws, together.draws, atol=1e-3, rtol=0)
    assert tuple(each.stopped[0] for each in apart) == together.stopped
    assert [int(each.iterations[0]) for each in apart] == together.iterations.tolist()
    assert (fidelity != "clipped") or set(together.stopped) == {EXACT, APPROXIMATE}
    assert len(set(together.iterations.tolist())) > 1  # so that neighbours could have been waited for


def test_under_gaussian_noise_the_image_is_the_posterior_mean() -> None:
    prior, operator = _prior(), _operator("downsample", SHAPE)
    y = measure(prior.sample(3), operator, NOISES["gaussian"](sigma=0.05), seed=0)
    found = restore(prior, y, operator.physics, fidelity=L2(), noise_level=0.05)
    expected = prior.posterior(y, operator.physics.A, 0.05).mean.clamp(0, 1)
    torch.testing.assert_close(found.images, expected)


@pytest.mark.parametrize("level", [0.02, 0.1, 0.3])
def test_noise_that_is_not_known_is_found_from_the_evidence(level: float) -> None:
    shape = (1, 20, 20)
    prior, operator = _prior(shape), _operator("denoise", shape)
    y = measure(prior.sample(2), operator, NOISES["gaussian"](sigma=level), seed=0)
    found = restore(prior, y, operator.physics, fidelity=L2())
    levels = torch.logspace(-2, 0, 100)
    evidence = torch.stack([prior.posterior(y, operator.physics.A, float(each)).log_evidence for each in levels], 1)
    best = levels[evidence.argmax(1)]
    torch.testing.assert_close((found.weight.sqrt() / best).log(), torch.zeros(2), atol=0.2, rtol=0)  # half a step
    truth = prior.posterior(y, operator.physics.A, level).log_evidence
    assert bool((evidence.amax(1) - truth < 3).all())


def test_noise_that_is_not_known_is_drawn_with_the_image() -> None:
    """Few measurements leave the level open: the mean is that over a fine grid of levels."""
    prior, operator = _prior(), _operator("downsample", SHAPE)
    y = measure(prior.sample(1), operator, NOISES["gaussian"](sigma=0.2), seed=0)
    levels = torch.logspace(-2, 0, 60).tolist()
    parts = [prior.posterior(y, operator.physics.A, each) for each in levels]
    shares = torch.softmax(torch.stack([each.log_evidence for each in parts], 1), 1)[0]
    assert float(shares.max()) < 0.2  # no level is sure
    expected = sum(share * part.mean for share, part in zip(shares, parts, strict=True))
    settings = SearchSettings(draws=3000, candidates=1)
    found = restore(prior, y, operator.physics, settings, fidelity=L2())
    sure = restore(prior, y, operator.physics, settings, fidelity=L2(), noise_level=0.05)
    torch.testing.assert_close(found.images, expected.clamp(0, 1), atol=0.03, rtol=0)  # type: ignore[union-attr]
    assert float(found.draws.std(1).mean()) > 1.2 * float(sure.draws.std(1).mean())


@pytest.mark.parametrize("noise", ["poisson", "salt-and-pepper", "uniform"])
def test_what_fits_other_noise_restores_better_than_what_does_not(noise: str) -> None:
    shape = (1, 16, 16)
    prior, operator = _prior(shape), _operator("denoise", shape)
    x = prior.sample(8).clamp(0, 1)
    model = NOISES[noise]()
    y = measure(x, operator, model, seed=0)
    operator.physics.set_noise_model(model)
    found = restore(prior, y, operator.physics)
    other = restore(prior, y, operator.physics, fidelity=L2(), noise_level=0.1)
    assert _error(found.images, x) < _error(other.images, x)
    assert set(found.stopped) == {EXACT if noise == "uniform" else APPROXIMATE}


def test_clipped_noise_is_told_from_dark_pixels() -> None:
    shape = (1, 16, 16)
    own = image_mixture(shape)
    dark = FactorAnalysers(own.weights, 0.3 * own.means, own.factors, own.noise)
    prior = MixturePrior(dark, shape)
    x = prior.sample(6).clamp(0, 1)
    y = (x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    operator = _operator("denoise", shape)
    found = restore(prior, y, operator.physics, fidelity=Clipped(0.3), noise_level=0.3)
    plain = restore(prior, y, operator.physics, fidelity=L2(), noise_level=0.3)
    assert _error(found.images, x) < 0.92 * _error(plain.images, x)
    assert set(found.stopped) == {APPROXIMATE}


@pytest.mark.parametrize("name", FIDELITIES)
def test_a_data_term_is_replaced_by_one_of_its_slope(name: str) -> None:
    term = data_term(name)
    p = torch.linspace(0.02, 0.98, 40)[None].double().requires_grad_()
    y = torch.tensor([0.0, 0.3, 0.5, 1.0]).double().repeat(10)[None]
    (slope,) = torch.autograd.grad(term(p, y).sum(), p)
    centre, weight = as_gaussian(term, p.detach(), y)
    assert bool((weight > 0).all())
    pull = weight * (p.detach() - centre)
    is_dark = (p < 0.05) & (name == "poisson")  # there the weight would grow without end
    torch.testing.assert_close(pull[~is_dark], slope[~is_dark])
    assert bool((pull * slope > 0)[is_dark].all())
    assert bool((pull.abs() <= slope.abs())[is_dark].all())
    if name != "clipped":  # least at y, whatever y is
        torch.testing.assert_close(centre, y)


def test_photon_counts_draw_dark_predictions_to_what_was_counted_and_not_beyond() -> None:
    p = torch.tensor([[0.02, 0.1, 0.3]])
    y = torch.tensor([[0.05, 1.5, 1.0]])
    centre, _ = as_gaussian(data_term("poisson", gain=0.05), p, y)
    torch.testing.assert_close(centre, y)


@pytest.mark.parametrize("y", [0.0, 0.05, 0.5, 1.5])
@pytest.mark.parametrize("name", FIDELITIES)
def test_what_replaces_a_data_term_changes_little_with_the_prediction(name: str, y: float) -> None:
    p = torch.linspace(-0.1, 1.1, 12_001).double()[None]
    if name == "clipped":  # flat beyond a bound: nothing there says how far
        p = p.clamp(0.01, 0.99)
    centre, weight = as_gaussian(data_term(name), p, torch.full_like(p, y))
    assert float(weight.diff().abs().max() / weight.max()) < 0.03
    assert float(centre.diff().abs().max()) < 0.01


def test_dark_images_of_photon_counts_do_not_depend_on_those_beside_them() -> None:
    shape = (1, 16, 16)
    own = image_mixture(shape)
    prior = MixturePrior(FactorAnalysers(own.weights, 0.1 * own.means - 0.02, 0.5 * own.factors, own.noise), shape)
    operator = _operator("denoise", shape)
    y = measure(prior.sample(8).clamp(0, 1), operator, NOISES["poisson"](gain=0.1), seed=0)

    def found(y: Tensor) -> Tensor:
        return restore(prior, y, operator.physics, fidelity=data_term("poisson", gain=0.1)).images

    rounding = 1e-6 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    assert float((found(y + rounding) - found(y)).abs().max()) < 1e-3


@pytest.mark.parametrize("settings", [{"estimate": "map"}, {"energy_weight": 0.0}], ids=str)
@pytest.mark.parametrize("name", ["inpaint", "downsample"])
def test_draws_are_exact_where_the_image_is_searched_for(name: str, settings: dict[str, Any]) -> None:
    prior, operator = _prior(), _operator(name, SHAPE)
    own = stacked(operator, range(2))
    y = measure(prior.sample(2), operator, NOISES["gaussian"](sigma=0.05), seed=0)

    def found(**changes: Any) -> genprior.Restoration:  # noqa: ANN401
        kind = SearchSettings(**changes)
        return restore(prior, y, operator.physics, kind, parameters=own, fidelity=L2(), noise_level=0.05)

    searched = found(draws=12, **settings)
    torch.testing.assert_close(searched.draws, found(draws=12).draws)
    assert searched.r_hat.tolist() == [1.0, 1.0]
    image = searched.draws.mean(1).clamp(0, 1) if "estimate" not in settings else found(**settings).images
    torch.testing.assert_close(searched.images, image)


def test_draws_are_exact_beside_the_latents_of_an_image() -> None:
    prior = _prior()
    x = prior.sample(2)
    found = invert(prior, x, SearchSettings(draws=12, estimate="map"), noise_level=0.05)
    torch.testing.assert_close(found.draws, invert(prior, x, SearchSettings(draws=12), noise_level=0.05).draws)


def test_candidates_are_kinds_of_images_that_differ() -> None:
    model = image_mixture(SHAPE)
    apart = FactorAnalysers(
        torch.tensor([0.5, 0.3, 0.2]),
        torch.tensor([0.2, 0.5, 0.8])[:, None].expand_as(model.means),
        model.factors,
        model.noise,
    )
    prior, operator = MixturePrior(apart, SHAPE), _operator("compressed-sensing", SHAPE)
    y = torch.zeros(1, 30)
    found = restore(prior, y, operator.physics, SearchSettings(candidates=4), noise_level=1e3)
    assert int(found.candidate_counts) == 3  # the mean stands for the kind in the middle
    assert torch.equal(found.candidates[:, 0], found.images)
    levels = found.candidates.mean((2, 3, 4))[0, :3]
    torch.testing.assert_close(levels, torch.tensor([0.41, 0.2, 0.8]), rtol=0, atol=0.05)


def test_whole_images_come_back_as_they_are() -> None:
    prior = _prior()
    x = prior.sample(3).clamp(0, 1)
    found = invert(prior, x)
    torch.testing.assert_close(found.images, x, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.latents, prior.encode(x), rtol=0, atol=0.05)


def test_a_weight_of_the_energy_or_an_operator_that_is_not_linear_asks_for_a_search() -> None:
    from deepinv.physics import Physics

    class Squared(Physics):  # type: ignore[misc]  # deepinv has no types
        def A(self, x: Tensor, **_: object) -> Tensor:
            return x.square()

    prior, operator = _prior(), _operator("denoise", SHAPE)
    y = prior.sample(1).clamp(0, 1)
    by_weight = restore(prior, y, operator.physics, SearchSettings(energy_weight=0.1))
    squared = restore(prior, y.square(), Squared(), SearchSettings(iterations=100), noise_level=0.01)
    assert not {*by_weight.stopped, *squared.stopped} & {EXACT, APPROXIMATE}
    assert _error(squared.images, y) < 0.1


def test_leaving_its_range_is_refused() -> None:
    prior, operator = _prior(), _operator("denoise", SHAPE)
    with pytest.raises(GenpriorError, match="beyond: goes with priors that make some images only"):
        restore(prior, prior.sample(1).clamp(0, 1), operator.physics, SearchSettings(beyond=True))


def test_many_images_are_restored_in_parts_that_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, operator = _prior(), _operator("blur", SHAPE)
    y = measure(prior.sample(5), operator, NOISES["gaussian"](sigma=0.1), seed=0)
    expected = restore(prior, y, operator.physics, noise_level=0.1)
    monkeypatch.setattr("genprior.restoration.closed_form.NUMBERS_AT_ONCE", 2 * 3 * math.prod(SHAPE))
    torch.testing.assert_close(restore(prior, y, operator.physics, noise_level=0.1).images, expected.images)


def test_deepinv_takes_it_as_a_reconstruction_model() -> None:
    prior, operator = _prior(), _operator("inpaint", SHAPE)
    y = measure(prior.sample(2), operator, NOISES["none"](), seed=0)
    found = genprior.PriorReconstructor(prior, noise_level=0.05)(y, operator.physics)
    assert torch.equal(found, restore(prior, y, operator.physics, noise_level=0.05).images)
