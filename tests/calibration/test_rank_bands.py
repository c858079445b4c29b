"""Simultaneous bands: even ranks stay inside as often as said, and the published example is met."""

import pytest
import torch

from genprior.calibration.rank_bands import LEVEL, band, ecdf, places


@pytest.mark.parametrize(("count", "members"), [(100, 65), (50, 20), (250, 101)])
def test_even_ranks_stay_in_the_band_as_often_as_said(count: int, members: int) -> None:
    low, high = (torch.tensor(each)[:, None] for each in band(count, members))
    ranks = torch.randint(members, (count, 1000), generator=torch.Generator().manual_seed(1))
    share = ecdf(ranks, members)
    is_inside = ((share >= low - 1e-6) & (share <= high + 1e-6)).all(0).double().mean()
    assert is_inside == pytest.approx(LEVEL, abs=0.03)  # steps of binomials make the band a little wide


def test_ranks_that_crowd_in_the_middle_leave_it() -> None:
    low, high = (torch.tensor(each) for each in band(100, 65))
    share = ecdf(torch.arange(100) % 33 + 16, 65)
    assert bool(((share < low) | (share > high)).any())


def test_the_band_holds_the_even_distribution_and_is_wider_than_a_single_interval() -> None:
    low, high = (torch.tensor(each) for each in band(100, 65))
    t = places(65) / 65
    assert bool(((low <= t) & (t <= high)).all())
    middle = len(t) // 2
    assert float(high[middle] - low[middle]) > 2 * 1.96 * (0.25 / 100) ** 0.5
