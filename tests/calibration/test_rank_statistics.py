"""Ranks of truths among draws: known answers, independence of the batch, and ties."""

import pytest
import torch

from gaussian_toy import SHAPE, misfits, ranked_toy, toy
from genprior.calibration.rank_statistics import Ranked, ranked, ranks_of


def test_ranks_are_places_and_ties_go_by_the_given_order() -> None:
    values = torch.tensor([[[3.0], [1.0], [1.0], [2.0]]])
    assert ranks_of(values, torch.tensor([[0, 1, 2, 3]])).flatten().tolist() == [3, 0, 1, 2]
    assert ranks_of(values, torch.tensor([[2, 3, 1, 0]])).flatten().tolist() == [3, 1, 0, 2]


def test_a_truth_that_equals_its_draws_has_any_rank() -> None:
    x = torch.zeros(400, *SHAPE)
    found = ranked(x, x[:, None].expand(-1, 9, -1, -1, -1), torch.rand(400, *SHAPE), torch.zeros(400, 10), seed=0)
    for ranks in found.ranks.values():
        mean = ranks[:, 0].double().mean()
        assert mean == pytest.approx(4.5, abs=0.6)


def test_exact_draws_hold_as_many_truths_as_they_promise() -> None:
    found = ranked_toy(2000)
    # 32,000 independent pixels: three deviations are below 0.009.
    assert found.inside[:, 0].mean(0).tolist() == pytest.approx(list(found.nominal), abs=0.009)
    for ranks in found.ranks.values():
        assert (ranks[:, 0].double() + 0.5).mean() / found.members == pytest.approx(0.5, abs=0.03)


def test_levels_that_few_draws_cannot_tell_apart_stand_once() -> None:
    found = ranked_toy(20, draws=9)
    assert found.nominal == (0.6, 0.8)  # 90 and 95 % would leave less than a member on either side
    assert found.inside.shape == (20, 10, 2)
    assert ranked_toy(20, draws=199).nominal == (0.5, 0.8, 0.9, 0.95)


def test_intervals_of_wrong_width_hold_what_a_normal_truth_says() -> None:
    normal = torch.distributions.Normal(0.0, 1.0)
    found = ranked_toy(600, factor=1.5, draws=200)
    for nominal, inside in zip(found.nominal, found.inside[:, 0].mean(0).tolist(), strict=True):
        half = 1.5 * float(normal.icdf(torch.tensor((1 + nominal) / 2)))
        assert inside == pytest.approx(2 * float(normal.cdf(torch.tensor(half))) - 1, abs=0.012)


def test_ranks_do_not_depend_on_the_batch() -> None:
    x, y, draws = toy(6)
    reference = torch.rand(6, *SHAPE)
    misfit = misfits(x, y, draws)
    whole = ranked(x, draws, reference, misfit, seed=3)
    pairs = [slice(i, i + 2) for i in (0, 2, 4)]
    parts = [ranked(x[i], draws[i], reference[i], misfit[i], seed=3, first=i.start) for i in pairs]
    again = Ranked.joined(parts)
    assert torch.equal(whole.inside, again.inside)
    assert all(torch.equal(ranks, again.ranks[name]) for name, ranks in whole.ranks.items())


def test_members_share_all_ranks() -> None:
    found = ranked_toy(3)
    for ranks in found.ranks.values():
        assert torch.equal(ranks.sort(1).values, torch.arange(33)[None, :, None].expand_as(ranks))
