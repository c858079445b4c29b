"""The moving average of weights against its closed form."""

import math

import pytest
import torch
from torch import nn

from genprior.training.optimisation import WeightAverage


def _constant(value: float) -> nn.Module:
    network = nn.Linear(2, 1).double()
    _set(network, value)
    return network


def _set(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def _values(average: WeightAverage) -> list[float]:
    return torch.cat([p.flatten() for p in average.network.parameters()]).tolist()


def _kept(images: int, half_life: float, steps: range) -> float:
    """Share of the old value that is left after these steps, each of `images`."""
    return math.prod(0.5 ** (images / min(half_life, 0.1 * images * step)) for step in steps)


def test_the_average_of_constant_weights_is_that_constant() -> None:
    network = _constant(3.0)
    average = WeightAverage(network, half_life=50)
    for step in range(1, 20):
        average.update(10, 10 * step)
    assert _values(average) == [3.0] * 3


@pytest.mark.parametrize("half_life", [1.0, 50.0, 1e6])
def test_after_a_jump_the_average_follows_its_closed_form(half_life: float) -> None:
    network = _constant(2.0)
    average = WeightAverage(network, half_life)
    for step in range(1, 6):
        average.update(10, 10 * step)
    _set(network, 5.0)
    for step in range(6, 30):
        average.update(10, 10 * step)
        expected = 5 - 3 * _kept(10, half_life, range(6, step + 1))
        assert _values(average) == pytest.approx([expected] * 3, rel=1e-12)


def test_a_half_life_of_images_halves_the_distance() -> None:
    network = _constant(1.0)
    average = WeightAverage(network, half_life=40)
    _set(network, 0.0)
    for step in range(4):
        average.update(10, images_seen=10_000 + 10 * step)
    assert _values(average) == pytest.approx([0.5] * 3, rel=1e-12)


def test_the_first_random_weights_are_soon_forgotten() -> None:
    network = _constant(1.0)
    average = WeightAverage(network, half_life=1e6)
    _set(network, 0.0)
    for step in range(1, 11):
        average.update(10, 10 * step)
    assert 0 < _values(average)[0] < 2**-10


def test_running_statistics_are_averaged_and_counts_are_not() -> None:
    network = nn.BatchNorm2d(2).double()
    average = WeightAverage(network, half_life=40)
    network.running_mean.fill_(8.0)
    network.num_batches_tracked.fill_(7)
    for step in range(4):
        average.update(10, images_seen=10_000 + 10 * step)
    assert average.network.running_mean.tolist() == pytest.approx([4.0, 4.0], rel=1e-12)
    assert average.network.running_var.tolist() == [1.0, 1.0]
    assert int(average.network.num_batches_tracked) == 0


def test_the_average_is_a_frozen_copy_for_evaluation() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    average = WeightAverage(network, half_life=40)
    _set(network, 9.0)
    assert network.training
    assert not any(module.training for module in average.network.modules())
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(p.requires_grad for p in network.parameters())
    assert not any(bool((p == 9).any()) for p in average.network.parameters())
