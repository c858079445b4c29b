"""Counts of modes have closed forms: exact samples, samples of one mode, and a classifier that knows nothing."""

import math

import pytest
import torch
from torch import Tensor

from genprior.data.toy import grid_centres, ring_centres
from genprior.evaluation.mode_counts import (
    GAUSSIAN_CEILING,
    ModeCount,
    count_class_modes,
    count_gaussian_modes,
    modes_of,
)
from genprior.seeding import derived_generator

SIGMA = 0.01


def _points(centres: Tensor, count: int, sigma: float = SIGMA, seed: int = 0) -> Tensor:
    generator = derived_generator(seed, "points")
    chosen = centres[torch.randint(len(centres), (count,), generator=generator)]
    return (chosen + sigma * torch.randn(count, 2, generator=generator))[:, :, None, None]


def _count(x: Tensor, centres: Tensor, sigma: float = SIGMA) -> ModeCount:
    return count_gaussian_modes(x, centres, sigma, derived_generator(0, "floor"))


@pytest.mark.parametrize("centres", [ring_centres(), grid_centres()], ids=["ring", "grid"])
def test_exact_samples_reach_the_ceiling_all_modes_and_the_floor(centres: Tensor) -> None:
    found = _count(_points(centres, 2500), centres)
    assert found.found == found.of == found.found_surely == len(centres)
    assert found.ceiling == pytest.approx(1 - math.exp(-9 / 2))
    assert found.high_quality == pytest.approx(GAUSSIAN_CEILING, abs=4 * math.sqrt(0.989 * 0.011 / 2500))
    uniform = found.divergences["uniform"]
    assert uniform is not None
    assert abs(uniform.raw - uniform.floor) < 4 * uniform.floor_spread
    assert abs(uniform.debiased) < 4 * uniform.floor_spread
    assert found.perfect == pytest.approx((len(centres) - 1) / (2 * 0.989 * 2500), rel=0.1)
    assert found.note is None


def test_samples_of_one_mode_diverge_by_log_of_the_modes() -> None:
    found = _count(_points(ring_centres()[:1], 500), ring_centres())
    assert (found.found, found.of) == (1, 8)
    uniform = found.divergences["uniform"]
    assert uniform is not None
    assert uniform.raw == pytest.approx(math.log(8))
    assert uniform.debiased == pytest.approx(math.log(8))  # one mode was observed: nothing to correct


def test_one_good_point_makes_a_mode_and_a_bad_one_none() -> None:
    x = ring_centres()[:, :, None, None].clone()
    x[0] *= 1 + 2.99 * SIGMA
    x[1] *= 1 + 3.01 * SIGMA
    found = _count(x, ring_centres())
    assert found.counts.tolist() == [1, 0, 1, 1, 1, 1, 1, 1]
    assert found.high_quality == 7 / 8


def test_without_a_good_point_there_is_no_divergence() -> None:
    x = torch.zeros(10, 2, 1, 1)
    x[0] = torch.nan
    found = _count(x, ring_centres())
    assert (found.found, found.high_quality, found.divergences) == (0, 0.0, {"uniform": None})
    assert found.note is not None
    assert "no point" in found.note


def _certain(classes: list[int], of: int = 10) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), of).float()


def _classes(probabilities: Tensor, real: Tensor, least: float) -> ModeCount:
    return count_class_modes(probabilities, real, 0.98, least, derived_generator(0, "floor"))


def test_a_class_counts_from_a_tenth_of_its_share_on() -> None:
    samples = [0] * 991 + [1] * 10 + [2] * 9  # a tenth of their share of 101 is 10.1
    found = _classes(_certain(samples), torch.ones(10), 0.1)
    assert found.counts.tolist()[:3] == [991, 10, 9]
    assert found.found == 1
    found = _classes(_certain([0] * 889 + [1] * 11 + [2] * 100), torch.ones(10), 0.1)
    assert found.found == 3
    assert _classes(_certain(samples), torch.ones(10), 0.0).found == 3


def test_classes_of_three_channels_are_the_digits_of_a_mode() -> None:
    stacks = torch.stack([_certain([1, 9]), _certain([2, 9]), _certain([3, 9])], 1)  # (2, 3, 10)
    sure, mode = modes_of(stacks)
    assert mode.tolist() == [123, 999]
    assert sure.tolist() == [True, True]
    found = _classes(stacks, torch.ones(1000), 0.0)
    assert (found.found, found.of) == (2, 1000)
    uniform = found.divergences["uniform"]
    assert uniform is not None
    assert uniform.raw == pytest.approx(math.log(500))


def test_one_unsure_channel_makes_a_stack_unsure() -> None:
    stacks = torch.stack([_certain([1, 1]), _certain([2, 2]), _certain([3, 3])], 1)
    stacks[1, 2] = torch.tensor([0.15, 0, 0, 0.85, 0, 0, 0, 0, 0, 0])
    assert modes_of(stacks)[0].tolist() == [True, False]


def test_a_classifier_that_is_unsure_is_told_beside_the_published_count() -> None:
    noise = torch.full((100, 10), 0.05)
    noise[torch.arange(100), torch.arange(100) % 10] = 0.55
    found = _classes(torch.cat([noise, _certain([0])]), torch.ones(10), 0.1)
    assert found.found == 10
    assert found.found_surely == 1
    assert found.high_quality == pytest.approx(1 / 101)
    assert found.note is not None
    assert "10 modes count by the published protocol, 1 among samples" in found.note


def test_classes_that_the_data_lack_are_no_modes() -> None:
    real = torch.tensor([5, 5, 0])
    found = _classes(_certain([0, 1, 2], 3), real, 0.0)
    assert (found.found, found.of) == (2, 2)
    assert found.divergences["data"] is None  # infinite
    assert found.divergences["uniform"] is not None


def test_the_same_samples_give_the_same_numbers() -> None:
    x = _points(ring_centres(), 100)
    first, second = _count(x, ring_centres()), _count(x, ring_centres())
    assert first.divergences == second.divergences
