"""Gaussian noise is taken out in one evaluation, clipped noise in a few, and all else takes more."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.restoration.fidelity import L1, L2, Clipped
from genprior.restoration.noise import NOISES, measure
from genprior.restoration.one_evaluation import APPROXIMATELY, ONCE, ROUNDS, unclipped
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoration.restore import restore
from genprior.restoration.search_settings import SEARCHES
from velocities import gaussian_field, made_gaussian

SHAPE = (1, 6, 6)
SIGMA = 0.2
QUICK = replace(SEARCHES["default"], iterations=2, starts=1, second_try=False)


def _prior(mean: float = 0.5) -> FlowMatchingPrior:
    return FlowMatchingPrior(gaussian_field(SHAPE, mean, 0.1).float(), SHAPE)


def _images(count: int, mean: float = 0.5) -> Tensor:
    own, variance = (each.float() for each in made_gaussian(SHAPE))
    noise = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(5))
    return mean + 0.1 * (own + variance.sqrt() * noise)


def _operator(name: str = "denoise", **options: float) -> Operator:
    return OPERATORS[name](image_shape=SHAPE, seed=0, **options)


def _measured(x: Tensor, sigma: float = SIGMA) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(6))


def test_the_restored_image_is_the_posterior_mean() -> None:
    prior, x = _prior(), _images(3)
    y = _measured(x)
    found = restore(prior, y, _operator().physics, fidelity=L2(), noise_level=SIGMA)
    assert found.stopped == (ONCE,) * 3
    assert found.iterations.tolist() == [1, 1, 1]
    torch.testing.assert_close(found.images, prior.denoise(y, SIGMA).clamp(0, 1))
    assert float((found.images - x).square().mean()) < 0.3 * float((y - x).square().mean())
    alone = restore(prior, y[1:2], _operator().physics, fidelity=L2(), noise_level=SIGMA)
    torch.testing.assert_close(alone.images, found.images[1:2])


def test_it_costs_one_evaluation_of_the_network() -> None:
    prior, rows = _prior(), list[int]()
    prior.field.network.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    found = restore(prior, _measured(_images(3)), _operator().physics, fidelity=L2(), noise_level=SIGMA)
    assert rows == [3]
    assert found.latents.shape == (3, 0)  # they would cost many more
    assert bool(found.energy.isnan().all())


def test_clipped_noise_is_told_from_dark_images() -> None:
    """Noise that was clipped at 0 is on average above it: taken for plain noise it brightens what is dark."""
    prior, x = _prior(mean=0.2), _images(2000, mean=0.2)
    y = _measured(x, 0.3).clamp(0, 1)
    found = restore(prior, y, _operator().physics, noise_level=0.3)
    plain = restore(prior, y, _operator().physics, fidelity=L2(), noise_level=0.3)
    assert set(found.stopped) == {APPROXIMATELY}
    assert int(found.iterations.max()) == ROUNDS
    assert float((plain.images - x).mean()) > 1.5e-3
    assert abs(float((found.images - x).mean())) < 0.6 * 1.5e-3


def test_hidden_values_are_expected_where_the_rest_of_the_noise_puts_them() -> None:
    """E[y | y < 0] of y ~ N(p, sigma^2), by sampling."""
    p = torch.tensor([[0.02, 0.1, 0.5]])
    noisy = p + SIGMA * torch.randn(400_000, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([noisy[noisy[:, i] < 0, i].mean() for i in range(2)])
    y = torch.tensor([[0.0, 0.0, 0.6]])
    found = unclipped(Clipped(SIGMA), p, y)
    torch.testing.assert_close(found[0, :2], expected, atol=2e-3, rtol=0)
    assert float(found[0, 2]) == pytest.approx(0.6)
    assert torch.equal(unclipped(L2(), p, y), y)


@pytest.mark.parametrize("case", ["other term", "other operator", "unknown noise", "weighted"])
def test_all_else_takes_more(case: str) -> None:
    operator = _operator("inpaint", box=2) if case == "other operator" else _operator()
    settings = replace(QUICK, energy_weight=1.0) if case == "weighted" else QUICK
    found = restore(
        _prior(),
        measure(_images(2), operator, NOISES["gaussian"](sigma=SIGMA), seed=0),
        operator.physics,
        settings,
        fidelity=L1() if case == "other term" else L2(),
        noise_level=None if case == "unknown noise" else SIGMA,
    )
    assert not set(found.stopped) & {ONCE, APPROXIMATELY}
    assert torch.isfinite(found.images).all()


def test_there_is_one_candidate() -> None:
    found = restore(
        _prior(), _measured(_images(2)), _operator().physics, replace(QUICK, candidates=3), noise_level=SIGMA
    )
    assert found.candidates.shape == (2, 3, *SHAPE)
    assert found.candidate_counts.tolist() == [1, 1]


def test_nothing_lies_beyond_a_density_of_all_images() -> None:
    with pytest.raises(GenpriorError, match="this one has a density of all"):
        restore(_prior(), _measured(_images(2)), _operator().physics, replace(QUICK, beyond=True), noise_level=SIGMA)
