"""The birthday test against supports of known size."""

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.evaluation.birthday import birthday, collisions, duplicate_threshold, poisson_interval, support
from genprior.seeding import derived_generator


def _draws(points: int, count: int, seed: int = 0) -> Tensor:
    generator = derived_generator(seed, "points")
    places = torch.randn(points, 16, generator=generator)
    return places[torch.randint(points, (count,), generator=generator)]


@pytest.mark.parametrize("points", [10, 100, 1000])
def test_equally_likely_points_are_counted(points: int) -> None:
    found = support(_draws(points, 400), 0.0)
    assert found.size is not None
    assert found.high is not None
    assert found.low < points < found.high
    assert found.size == pytest.approx(points, rel=0.25)


def test_points_that_are_not_equally_likely_count_as_the_inverse_of_their_squared_shares() -> None:
    share = torch.tensor([0.5, 0.25, 0.25])
    chosen = torch.multinomial(share, 1000, True, generator=derived_generator(0, "points"))
    found = support(torch.eye(3)[chosen], 0.0)
    assert found.size == pytest.approx(1 / float(share.square().sum()), rel=0.05)


def test_collisions_are_pairs() -> None:
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.05], [9.0]])
    assert collisions(x, 0.0) == 3
    assert collisions(x, 0.1) == 4
    assert collisions(x, 10.0) == 15


def test_without_collisions_there_is_a_lower_bound() -> None:
    found = support(torch.arange(101.0)[:, None], 0.5)
    assert (found.collisions, found.size, found.high) == (0, None, None)
    assert found.low == pytest.approx(101 * 100 / 2 / 2.9957, rel=1e-3)  # the rule of three


def test_the_interval_covers_as_often_as_it_says() -> None:
    mean = 7.0
    counts = torch.poisson(torch.full((2000,), mean), generator=derived_generator(0, "counts")).int().tolist()
    bounds = {count: poisson_interval(count) for count in set(counts)}
    covered = sum(bounds[count][0] <= mean <= bounds[count][1] for count in counts) / len(counts)
    assert 0.94 <= covered <= 0.99  # exact, so rather more than 95 %


def test_a_generator_of_few_images_stands_out_beside_real_ones() -> None:
    real = torch.randn(2000, 8, generator=derived_generator(0, "real"))
    few = real[:20][torch.randint(20, (500,), generator=derived_generator(0, "few"))]
    many = torch.randn(2000, 8, generator=derived_generator(0, "many"))
    found, healthy = birthday(few, real), birthday(many, real)
    assert found.generated.size == pytest.approx(20, rel=0.2)
    assert found.real == healthy.real
    assert found.real.low > 1000
    assert healthy.generated.low < (found.real.high or 0)
    assert (healthy.generated.high or 1e9) > found.real.low


def test_the_threshold_is_a_quantile_of_nearest_neighbours() -> None:
    first, second = torch.zeros(5, 1), torch.arange(1.0, 6.0)[:, None]
    assert duplicate_threshold(first, second, 0.5) == pytest.approx(1.0)
    spread = torch.tensor([[0.0], [10.0], [20.0], [30.0]])
    others = torch.tensor([[1.0], [12.0], [23.0], [34.0]])
    assert duplicate_threshold(spread, others, 1 / 3) == pytest.approx(2.0)


def test_the_same_seed_gives_the_same_halves() -> None:
    real, made = torch.randn(100, 4), torch.randn(50, 4)
    assert birthday(made, real, 1) == birthday(made, real, 1)
    assert birthday(made, real, 1).threshold != birthday(made, real, 2).threshold


def test_too_few_and_shares_out_of_range_are_refused() -> None:
    with pytest.raises(GenpriorError, match="at least 4 real images, got 3"):
        birthday(torch.zeros(5, 1), torch.zeros(3, 1))
    with pytest.raises(GenpriorError, match="at least 2 samples, got 1"):
        support(torch.zeros(1, 1), 1.0)
    with pytest.raises(GenpriorError, match="above 0 and below 1, got 0"):
        duplicate_threshold(torch.zeros(2, 1), torch.zeros(2, 1), 0)
