"""The energy's weight: found from the noise, larger where noise is being fitted, never in jumps."""

import pytest
import torch

from genprior.restoration.fidelity import FASTEST, FIDELITIES, L2, SMALLEST, UNKNOWN, noise_scale, weight_from_noise
from small import data_term

COUNTS = torch.tensor([50.0, 800.0], dtype=torch.float64)
SIGMA = 0.2
every_fidelity = pytest.mark.parametrize("name", FIDELITIES)


def levels(level: float | None) -> torch.Tensor | None:
    return None if level is None else torch.full_like(COUNTS, level)


def _settled(level: float | None, misfit: torch.Tensor, looks: int = 200) -> torch.Tensor:
    """The weight that a residual of this misfit ends with where it never changes."""
    weight, weigh = weight_from_noise(L2(), COUNTS, levels(level))
    weights = weight
    for _ in range(looks):
        weights = weigh(torch.arange(2), misfit, weights)
    return weights


def test_the_first_weight_is_the_variance_of_known_noise() -> None:
    assert weight_from_noise(L2(), COUNTS, levels(SIGMA))[0].tolist() == pytest.approx([SIGMA**2] * 2)
    assert weight_from_noise(L2(), COUNTS, None)[0].tolist() == pytest.approx(
        [float(noise_scale(L2(), torch.tensor([UNKNOWN])))] * 2
    )


@pytest.mark.parametrize("level", [None, 0.01, SIGMA])
def test_a_residual_beyond_the_noise_acts_as_noise(level: float | None) -> None:
    """The posterior's weight for noise of the variance that is shown."""
    misfit = COUNTS * 0.3**2 / 2
    torch.testing.assert_close(_settled(level, misfit), torch.full_like(COUNTS, 0.3**2))


def test_a_residual_of_the_noise_keeps_the_weight_of_the_noise() -> None:
    weights = _settled(SIGMA, COUNTS * SIGMA**2 / 2)
    torch.testing.assert_close(weights, torch.full_like(COUNTS, SIGMA**2))


@every_fidelity
def test_the_weight_grows_while_known_noise_is_fitted(name: str) -> None:
    weight, weigh = weight_from_noise(data_term(name), COUNTS, levels(SIGMA))
    weights = weight
    grown = weigh(torch.arange(2), COUNTS * 1e-6, weights)
    if name == "poisson":  # counts alone do not tell that they were fitted
        assert (grown >= weights).all()
    else:
        assert (grown > weights).all()


@every_fidelity
@pytest.mark.parametrize("level", [None, 0.0, 0.01, 0.5])
@pytest.mark.parametrize("mean", [0.0, 1e-12, 1e-3, 1.0, 1e9, float("inf")])
def test_weights_are_positive_finite_and_change_by_no_more_than_they_may(
    name: str, level: float | None, mean: float
) -> None:
    weight, weigh = weight_from_noise(data_term(name), COUNTS, levels(level))
    weights = weight
    for _ in range(20):
        new = weigh(torch.arange(2), COUNTS * mean, weights)
        assert torch.isfinite(new).all()
        assert (new >= SMALLEST * 0.99).all()
        assert (new <= weights * FASTEST * (1 + 1e-9)).all()
        assert (new >= weights / FASTEST * (1 - 1e-9)).all()
        weights = new


def test_each_search_is_weighed_by_the_measurements_of_its_own_image() -> None:
    _, weigh = weight_from_noise(L2(), COUNTS, None)
    who = torch.tensor([1, 0, 1])
    misfit = COUNTS[who] * torch.tensor([0.02, 0.03, 0.04])
    together = weigh(who, misfit, torch.full((3,), 0.05, dtype=torch.float64))
    torch.testing.assert_close(together, 2 * torch.tensor([0.02, 0.03, 0.04], dtype=torch.float64))


@pytest.mark.parametrize("power", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("factor", [2.0, 10.0, 300.0])
def test_a_search_that_answers_the_weight_ends_at_the_noise(power: float, factor: float) -> None:
    """Discrepancy principle: the misfit grows with the weight, and is that of the noise at `factor` times its scale."""
    weight, weigh = weight_from_noise(L2(), COUNTS, levels(SIGMA))
    weights = weight
    balanced = factor * SIGMA**2
    for _ in range(100):
        misfit = COUNTS * SIGMA**2 / 2 * (weights / balanced) ** power
        weights = weigh(torch.arange(2), misfit, weights)
    torch.testing.assert_close(weights, torch.full_like(COUNTS, balanced), rtol=0.05, atol=0)
