"""Exact tests of truths among draws: right draws pass as often as said, wrong ones fail, whatever is wrong."""

import pytest
import torch

from gaussian_toy import ranked_toy
from genprior.calibration.exchange_test import exchanged
from genprior.calibration.rank_statistics import Ranked


def test_exact_draws_pass() -> None:
    assert exchanged(ranked_toy(), seed=0).together > 0.05


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
def test_draws_of_wrong_deviation_fail_in_each_kind_of_test(factor: float) -> None:
    found = exchanged(ranked_toy(factor=factor), seed=0)
    assert found.together < 0.002
    assert found.p["pixels in intervals"] < 0.002
    for group in ("projections", "balls", "random points"):
        assert found.p[f"{group}: not too far out"] < 0.05, group
        assert found.p[f"{group}: evenly spread"] < 0.05, group


def test_draws_off_to_one_side_fail() -> None:
    found = exchanged(ranked_toy(offset=0.5), seed=0)
    assert found.together < 0.002
    assert found.p["pictures: evenly spread"] < 0.002


def test_all_tests_together_call_right_draws_wrong_as_often_as_said() -> None:
    """Of 150 cases at 10 %, 15 are expected and 26 are three deviations away; many tests are corrected for."""
    p = [exchanged(ranked_toy(30, seed, draws=15), seed, replicates=300).together for seed in range(150)]
    assert 4 <= sum(each <= 0.1 for each in p) <= 26
    assert sum(each <= 0.01 for each in p) <= 5


def test_the_rate_is_kept_where_all_pixels_are_one() -> None:
    """Nothing is assumed of how pixels depend on each other."""
    alarms = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        inside = torch.rand(20, 12, 1, generator=generator).round().expand(-1, -1, 4)
        ranks = torch.rand(20, 12, 1, generator=generator).argsort(1).expand(-1, -1, 5)
        alarms += exchanged(Ranked({"one": ranks}, inside, (0.5, 0.5, 0.5, 0.5)), seed, replicates=300).together <= 0.05
    assert alarms <= 12


def test_the_same_seed_gives_the_same_numbers() -> None:
    found = ranked_toy(20)
    assert exchanged(found, seed=1) == exchanged(found, seed=1) != exchanged(found, seed=2)
