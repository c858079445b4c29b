"""Problems: measurements as flat numbers, what they see, gradients, rows that never influence each other."""

import math

import pytest
import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration import problem as problem_module
from genprior.restoration.fidelity import FIDELITIES, L2
from genprior.restoration.problem import Problem, flat_measurement, make_problem
from small import data_term

SHAPE, LATENTS = (1, 4, 4), 5


class _Curved(LatentPrior):
    """A small nonlinear prior in float64."""

    latent_size, image_shape = LATENTS, SHAPE

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(9)
        self.weights = torch.randn(LATENTS, 16, generator=generator, dtype=torch.float64)

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid((z[:, :, None] * self.weights).sum(1)).view(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        return self.decode(self.start(count, torch.Generator().manual_seed(seed)))


class _Flat(_Curved):
    """A prior without preferences."""

    def energy(self, z: Tensor) -> Tensor:
        return torch.zeros(len(z), dtype=z.dtype)


def _inpainting(masks: Tensor) -> object:
    from deepinv.physics import Inpainting

    return Inpainting(img_size=SHAPE, mask=masks)


def _masks(count: int) -> Tensor:
    return (torch.rand(count, 1, 4, 4, dtype=torch.float64) < 0.6).double()


def _some(count: int, fidelity: str = "l2") -> Problem:
    """Inpainting with a mask of its own for each image."""
    prior, masks = _Curved(), _masks(count)
    y = prior.sample(count) * masks
    return make_problem(prior, y, _inpainting(masks[:1]), data_term(fidelity), {"mask": masks})


# Flat measurements.


def test_real_numbers_are_laid_flat() -> None:
    y = torch.randn(3, 2, 4, 5)
    assert torch.equal(flat_measurement(y), y.reshape(3, 40))


def test_a_complex_number_is_two_real_ones() -> None:
    y = torch.randn(3, 2, 4, dtype=torch.complex128)
    flat = flat_measurement(y)
    assert (flat.shape, flat.dtype) == ((3, 16), torch.float64)
    assert torch.equal(flat.view(3, 2, 4, 2)[..., 0], y.real)
    assert torch.equal(flat.view(3, 2, 4, 2)[..., 1], y.imag)
    assert torch.equal(flat_measurement(y.conj()), flat_measurement(y.conj().clone()))


def test_several_measurements_stand_side_by_side() -> None:
    from deepinv.utils import TensorList

    a, b, c = torch.randn(3, 4), torch.randn(3, 1, 2, 2), torch.randn(3, 2, dtype=torch.complex64)
    flat = torch.cat([a, b.flatten(1), torch.view_as_real(c).flatten(1)], 1)
    assert torch.equal(flat_measurement(TensorList([a, b, c])), flat)
    assert torch.equal(flat_measurement([a, TensorList([b, c])]), flat)


# What measurements see.


def test_numbers_that_are_blank_for_every_image_are_not_seen() -> None:
    problem, masks = _some(6), None
    torch.manual_seed(0)
    masks = _masks(6)
    assert torch.equal(problem.seen, masks.flatten(1))
    assert torch.equal(problem.counts, masks.sum((1, 2, 3)))


def test_a_measurement_that_sees_nothing_counts_as_one() -> None:
    problem = make_problem(_Curved(), torch.zeros(2, *SHAPE), _inpainting(torch.zeros(1, 1, 4, 4)), L2())
    assert problem.counts.tolist() == [1, 1]
    assert not problem.seen.any()


def test_images_are_seen_whole() -> None:
    problem = make_problem(_Curved(), torch.zeros(3, *SHAPE), None, L2())
    assert problem.seen.all()
    assert problem.counts.tolist() == [16] * 3


# Values and gradients.


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_values_are_the_sums_that_they_say(fidelity: str) -> None:
    problem, who = _some(4, fidelity), torch.tensor([2, 0, 2, 3, 1])
    z = torch.randn(5, LATENTS, dtype=torch.float64)
    misfit, energy, _, _ = problem.evaluate(z, who)
    term = data_term(fidelity)
    for row, image in enumerate(who.tolist()):
        prediction, y, seen = problem.prior.decode(z[row : row + 1]).flatten(), problem.y[image], problem.seen[image]
        expected = term(prediction[seen > 0][None], y[seen > 0][None]).sum()
        assert float(misfit[row]) == pytest.approx(float(expected), rel=1e-12)
    torch.testing.assert_close(energy, 0.5 * z.square().sum(1))


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_slopes_are_those_of_differences(fidelity: str) -> None:
    problem, who = _some(3, fidelity), torch.tensor([0, 1, 2])
    z = torch.randn(3, LATENTS, dtype=torch.float64)
    _, _, misfit_slope, energy_slope = problem.evaluate(z, who)
    step = 1e-5
    for i in range(LATENTS):
        unit = torch.eye(LATENTS, dtype=torch.float64)[i] * step
        above, below = problem.evaluate(z + unit, who), problem.evaluate(z - unit, who)
        torch.testing.assert_close((above[0] - below[0]) / (2 * step), misfit_slope[:, i], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close((above[1] - below[1]) / (2 * step), energy_slope[:, i], rtol=1e-5, atol=1e-6)


def test_an_energy_that_knows_no_latents_has_no_slope() -> None:
    problem = make_problem(_Flat(), torch.zeros(2, *SHAPE, dtype=torch.float64), None, L2())
    _, energy, _, slope = problem.evaluate(torch.randn(2, LATENTS, dtype=torch.float64), torch.arange(2))
    assert not energy.any()
    assert not slope.any()
    assert slope.shape == (2, LATENTS)


def test_slopes_are_known_where_gradients_are_off() -> None:
    problem, z = _some(2), torch.randn(2, LATENTS, dtype=torch.float64)
    expected = problem.evaluate(z, torch.arange(2))
    with torch.no_grad():
        found = problem.evaluate(z, torch.arange(2))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert not any(value.requires_grad for value in found)
    assert not z.requires_grad


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_rows_never_influence_each_other(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    problem, who = _some(4), torch.tensor([0, 0, 1, 2, 3, 3, 3])
    z = torch.randn(7, LATENTS, dtype=torch.float64)
    one_by_one = [problem.evaluate(z[i : i + 1], who[i : i + 1]) for i in range(7)]
    expected = [torch.cat(each) for each in zip(*one_by_one, strict=True)]
    monkeypatch.setattr(problem_module, "ROWS_AT_ONCE", at_once)
    for value, wanted in zip(problem.evaluate(z, who), expected, strict=True):
        assert torch.equal(value, wanted)


@pytest.mark.parametrize("at_once", [1, 2])
def test_what_is_seen_does_not_depend_on_how_many_are_asked_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    masks = _masks(5)
    y, physics = torch.zeros(5, *SHAPE), _inpainting(masks[:1])
    expected = make_problem(_Curved(), y, physics, L2(), {"mask": masks}).seen
    monkeypatch.setattr(problem_module, "ROWS_AT_ONCE", at_once)
    assert torch.equal(make_problem(_Curved(), y, physics, L2(), {"mask": masks}).seen, expected)


@pytest.mark.parametrize("blank", [-3.0, 1e3, 1e30, math.inf])
def test_what_stands_where_nothing_is_seen_has_no_influence(blank: float) -> None:
    prior, masks = _Curved(), _masks(3)
    y = prior.sample(3) * masks
    other = torch.where(masks > 0, y, blank)
    z, who = torch.randn(3, LATENTS, dtype=y.dtype), torch.arange(3)
    for name in FIDELITIES:
        values = [
            make_problem(prior, each, _inpainting(masks[:1]), data_term(name), {"mask": masks}).evaluate(z, who)
            for each in (y, other)
        ]
        for a, b in zip(*values, strict=True):
            assert torch.equal(a, b)
