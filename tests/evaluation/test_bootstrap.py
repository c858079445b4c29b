"""Intervals hold what they say, and distances of resampled sets are not shifted."""

from functools import partial

import pytest
import torch
from torch import Tensor

from genprior.evaluation.distances import frechet_distance, frechet_distances, kernel_distances
from genprior.evaluation.scores import half_sampled, resampled
from genprior.seeding import derived_generator


def _normal(count: int, index: int, shift: float = 0.0, size: int = 2) -> Tensor:
    return shift + torch.randn(count, size, generator=derived_generator(0, "bootstrap test", index))


def _mean(values: Tensor) -> Tensor:
    return values.mean(-1)


def test_the_interval_of_a_mean_holds_it_in_95_of_100_sets() -> None:
    held = 0
    for i in range(200):
        found = resampled(_mean, _normal(100, i, size=1)[:, 0], generator=derived_generator(1, "r", i), resamples=200)
        held += found.low <= 0 <= found.high
    assert 180 <= held <= 199


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error() -> None:
    values = _normal(2000, 0, size=1)[:, 0]
    found = resampled(_mean, values, generator=derived_generator(0, "r"))
    assert found.value == pytest.approx(float(values.mean()))
    assert found.high - found.low == pytest.approx(2 * 1.96 * float(values.std()) / 2000**0.5, rel=0.15)


def test_parts_are_drawn_independently() -> None:
    values = _normal(400, 0, size=1)[:, 0]
    found = resampled(lambda a, b: a.mean(-1) - b.mean(-1), values, values, generator=derived_generator(0, "r"))
    assert found.value == 0
    assert found.high - found.low == pytest.approx(2 * 1.96 * float(values.std()) * (2 / 400) ** 0.5, rel=0.2)


def test_the_interval_of_a_frechet_distance_is_as_wide_as_its_spread_over_new_sets() -> None:
    count = 200
    new = torch.tensor(
        [frechet_distance(_normal(count, 2 * i), _normal(count, 2 * i + 1, shift=1.0)) for i in range(40)]
    )
    statistic = partial(frechet_distances, _normal(count, 500), _normal(count, 501, shift=1.0))
    found = half_sampled(statistic, (count, count), derived_generator(0, "halves"), least=0.0)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(float(new.std()), rel=0.4)
    assert found.low <= float(new.mean()) <= found.high


def test_the_interval_of_a_kernel_distance_holds_its_known_mean() -> None:
    held = 0
    for i in range(60):  # two sets of one distribution: 0 on average
        statistic = partial(kernel_distances, _normal(60, 2 * i), _normal(60, 2 * i + 1))
        found = half_sampled(statistic, (60, 60), derived_generator(2, "halves", i))
        held += found.low <= 0 <= found.high
    assert held >= 55


def test_halves_add_nothing_where_an_ordinary_bootstrap_does() -> None:
    # Images drawn twice move a distance of two sets of one distribution far from 0; halves do not.
    x, y = _normal(100, 0, size=20), _normal(100, 1, size=20)
    generator = derived_generator(0, "duplicates")
    twice = [
        frechet_distance(x[torch.randint(100, (100,), generator=generator)], y[torch.randperm(100)]) for _ in range(20)
    ]
    found = half_sampled(partial(frechet_distances, x, y), (100, 100), derived_generator(0, "h"), least=0.0)
    assert min(twice) > found.value
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("value", "least", "low"), [(0.0, 0.0, 0.0), (0.0, None, -1.0)])
def test_an_interval_never_reaches_below_the_least_value(value: float, least: float | None, low: float) -> None:
    def statistic(first: Tensor, _: Tensor) -> Tensor:
        other = torch.where(torch.arange(len(first)) % 2 == 0, 1.0, -1.0)
        return torch.cat([torch.tensor([value]), other[1:]])

    found = half_sampled(statistic, (4, 4), derived_generator(0, "h"), halves=20, least=least)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(1.0)


def test_half_of_each_set_is_kept_and_the_first_row_keeps_all() -> None:
    def statistic(first: Tensor, second: Tensor) -> Tensor:
        assert first.sum(1).tolist() == [7, 3, 3, 3]
        assert second.sum(1).tolist() == [4, 2, 2, 2]
        return torch.zeros(4)

    half_sampled(statistic, (7, 4), derived_generator(0, "h"), halves=3)


def test_the_same_generator_gives_the_same_interval() -> None:
    first, second = (
        resampled(_mean, _normal(50, 0, size=1)[:, 0], generator=derived_generator(4, "same"), resamples=50)
        for _ in range(2)
    )
    assert first == second
