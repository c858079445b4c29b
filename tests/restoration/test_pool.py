"""Pools of searches: sorted, joined, and the distinct solutions among them."""

import pytest
import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration.minimise import DISTINCT, EQUAL_SHARE, REASONS, Searches, distinct

SHAPE = (1, 2, 2)


class _Constant(LatentPrior):
    """z (B, 1) -> an image that is z everywhere: distances of images are those of latents."""

    latent_size, image_shape = 1, SHAPE

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(count, 1)

    def decode(self, z: Tensor) -> Tensor:
        return z[:, :, None, None].expand(-1, *SHAPE)

    def energy(self, z: Tensor) -> Tensor:
        return 0.5 * z.square().sum(1)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        return torch.zeros(count, *SHAPE)


def _found(misfit: list[list[float]], z: list[list[float]] | None = None) -> tuple[Searches, int]:
    """Searches whose energy, weight and iterations tell which they are."""
    values = torch.tensor(misfit)
    count = values.numel()
    latents = torch.arange(float(count)) if z is None else torch.tensor(z).flatten()
    number = torch.arange(count)
    found = Searches(latents[:, None], values.flatten(), number + 0.5, number + 0.25, number + 100, number % 4)
    return found, len(misfit)


def _pool(misfit: list[list[float]], z: list[list[float]] | None = None) -> Searches:
    found, images = _found(misfit, z)
    return found.by_image(images, len(misfit[0]))


def _numbers(pool: Searches) -> list[list[int]]:
    """Which searches they are, where all their values say the same."""
    numbers = pool.iterations - 100
    there = pool.iterations > 0
    assert torch.equal(torch.where(there, pool.energy, 0.5), torch.where(there, numbers + 0.5, 0.5))
    assert torch.equal(torch.where(there, pool.weight, 0.25), torch.where(there, numbers + 0.25, 0.25))
    assert torch.equal(torch.where(there, pool.z[..., 0], 0), torch.where(there, numbers.float(), 0))
    assert torch.equal(torch.where(there, pool.reason, 0), torch.where(there, numbers % len(REASONS), 0))
    return torch.where(there, numbers, -1).tolist()


def test_the_best_come_first_with_all_that_belongs_to_them() -> None:
    found, images = _found([[3.0, 1.0, 2.0], [5.0, torch.inf, 4.0]])
    assert _numbers(found.by_image(images, 3)) == [[1, 2, 0], [5, 3, 4]]
    assert _numbers(found.by_image(images, 2)) == [[1, 2], [5, 3]]
    assert found.by_image(images, 1).misfit.tolist() == [[1.0], [4.0]]


def test_equal_ones_keep_their_order() -> None:
    assert _numbers(_pool([[2.0, 1.0, 1.0, 2.0]])) == [[1, 2, 0, 3]]


def test_what_is_no_number_comes_last() -> None:
    assert _numbers(_pool([[torch.nan, 7.0, torch.inf, 3.0]]))[0][:2] == [3, 1]


def test_more_are_wanted_than_there_are() -> None:
    assert _pool([[2.0, 1.0]]).best(5).misfit.tolist() == [[1.0, 2.0]]


def test_others_are_joined_to_the_images_that_they_belong_to() -> None:
    pool, other = _pool([[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]), _pool([[1.0, 9.0], [7.5, 2.0]])
    joined = pool.joined(other, torch.tensor([2, 0]))
    assert joined.misfit.tolist() == [
        [3.0, 4.0, 2.0, 7.5],
        [5.0, 6.0, torch.inf, torch.inf],
        [7.0, 8.0, 1.0, 9.0],
    ]
    assert _numbers(joined.best(3)) == [[3, 0, 1], [2, 3, -1], [0, 4, 5]]
    assert torch.equal(pool.misfit, _pool([[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]).misfit)


# Distinct solutions.


def _distinct(z: list[float], misfit: list[float], slack: float = 0.0, count: int = 3) -> list[int]:
    pool = _pool([misfit], [z])
    chosen, counts = distinct(pool, _Constant(), torch.tensor([slack]), count)
    assert chosen.shape == (1, count)
    there = int(counts[0])
    assert chosen[0, there:].tolist() == [0] * (count - there)
    return chosen[0, :there].tolist()


FAR, NEAR = 1.01 * DISTINCT, 0.99 * DISTINCT


def test_solutions_that_look_the_same_are_one() -> None:
    assert _distinct([0.0, NEAR, -NEAR, FAR], [1.0, 1.01, 1.02, 1.03]) == [0, 3]
    assert _distinct([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]) == [0]


def test_each_differs_from_all_before_it() -> None:
    assert _distinct([0.0, FAR, FAR + NEAR, 2 * FAR], [1.0, 1.01, 1.02, 1.03]) == [0, 1, 3]


def test_no_more_are_found_than_are_wanted() -> None:
    assert _distinct([0.0, 1.0, 2.0, 3.0], [1.0, 1.01, 1.02, 1.03], count=2) == [0, 1]
    assert _distinct([0.0, 1.0, 2.0, 3.0], [1.0, 1.01, 1.02, 1.03], count=1) == [0]


def test_a_solution_explains_as_well_as_the_best_up_to_share_and_noise() -> None:
    limit = EQUAL_SHARE * 1.0
    assert _distinct([0.0, 1.0, 2.0], [1.0, 0.99 * limit, 1.01 * limit]) == [0, 1]
    assert _distinct([0.0, 1.0, 2.0], [1.0, 0.99 * limit, 1.01 * limit], slack=0.1) == [0, 1, 2]
    assert _distinct([0.0, 1.0], [0.0, 1e-3]) == [0]


@pytest.mark.parametrize("missing", [torch.inf, torch.nan])
def test_places_without_a_search_are_no_solutions(missing: float) -> None:
    assert _distinct([0.0, 1.0, 0.0], [1.0, missing, missing], slack=9.0) == [0]


def test_where_every_search_failed_there_is_one_solution() -> None:
    assert _distinct([1.0, 0.0], [torch.inf, torch.inf]) == [0]


def test_images_do_not_influence_each_other() -> None:
    z, misfit = [[0.0, 1.0, 0.5], [0.0, NEAR, 0.5], [3.0, 3.0, 3.0]], [[1.0, 1.01, 1.02]] * 3
    pool = _pool(misfit, z)
    chosen, counts = distinct(pool, _Constant(), torch.zeros(3), 3)
    assert counts.tolist() == [3, 2, 1]
    assert chosen.tolist() == [[0, 1, 2], [0, 2, 0], [0, 0, 0]]
