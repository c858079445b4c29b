"""Verdicts: each by a residual that deserves it, and by no other."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genprior.restoration.result import (
    ADVICE,
    DISAGREEMENT,
    GOOD,
    NOT_JUDGED,
    NOT_MIXED,
    OVERFITTED,
    RANGE,
    RANGE_TOLERANCE,
    STUCK,
    VERDICTS,
    is_poor,
    verdicts,
)

SIGMA, COUNT, LATENTS = 0.2, 400.0, torch.tensor(20)
ALONE = 1.0  # one try
ALLOWED = math.hypot(SIGMA, RANGE_TOLERANCE)


def _one(error: float, ratio: float = ALONE, level: float | None = SIGMA, count: float = COUNT) -> str:
    rows = (torch.tensor([value], dtype=torch.float64) for value in (error, ratio, count))
    return verdicts(*rows, LATENTS, None if level is None else torch.tensor([level], dtype=torch.float64))[0]


CASES = {
    GOOD: [(SIGMA, ALONE), (0.99 * ALLOWED, ALONE), (0.99 * ALLOWED, 9.0)],
    RANGE: [(1.01 * ALLOWED, 1.01), (3.0, 0.99 * DISAGREEMENT), (3.0, ALONE)],
    STUCK: [(1.01 * ALLOWED, 1.01 * DISAGREEMENT), (0.5, 10.0)],
    OVERFITTED: [(0.0, ALONE), (0.5 * SIGMA, ALONE), (0.5 * SIGMA, 9.0)],
}


def test_every_verdict_has_a_case_and_words() -> None:
    # draws tell the one: test_estimates.py; the other follows from what is not known, whatever the residual
    assert CASES.keys() | {NOT_MIXED, NOT_JUDGED} == VERDICTS.keys()
    assert all(VERDICTS.values())
    assert ADVICE.keys() == VERDICTS.keys()
    assert all(told.endswith(".") and len(told.split()) < 26 for told in ADVICE.values())
    page = (Path(__file__).parents[2] / "docs" / "restoration.md").read_text(encoding="utf-8")
    assert [told for told in ADVICE.values() if told not in page] == []


@pytest.mark.parametrize(
    ("verdict", "error", "ratio"), [(verdict, *case) for verdict, cases in CASES.items() for case in cases]
)
def test_a_residual_gets_the_verdict_that_it_deserves(verdict: str, error: float, ratio: float) -> None:
    assert _one(error, ratio) == verdict


@pytest.mark.parametrize("error", [0.0, 0.1, 5.0])
def test_of_unknown_noise_no_residual_is_good_or_bad(error: float) -> None:
    assert _one(error, 9.0, None) == NOT_JUDGED
    assert not bool(is_poor(torch.tensor([error]), None))


@pytest.mark.parametrize("error", [0.0, 0.5 * RANGE_TOLERANCE])
def test_a_close_fit_without_noise_is_good(error: float) -> None:
    assert _one(error, level=0.0) == GOOD


def test_as_many_latents_as_measurements_may_explain_all_noise() -> None:
    assert _one(0.0, count=float(LATENTS)) == GOOD
    assert _one(0.0, count=1.0) == GOOD


def test_true_noise_is_hardly_ever_called_over_fitted() -> None:
    """Residuals of a least-squares fit: chi-square with as many degrees of freedom as are left."""
    chi = torch.distributions.Chi2((COUNT - LATENTS).double())
    error = SIGMA * (chi.sample((2000,)) / COUNT).sqrt()
    found = verdicts(
        error, torch.full_like(error, ALONE), torch.full_like(error, COUNT), LATENTS, torch.full_like(error, SIGMA)
    )
    assert found.count(OVERFITTED) < 20
    assert found.count(OVERFITTED) + found.count(GOOD) == 2000


def test_images_are_judged_one_by_one() -> None:
    rows = [case for cases in CASES.values() for case in cases]
    error, ratio = (Tensor(column).double() for column in zip(*rows, strict=True))
    together = verdicts(error, ratio, torch.full_like(error, COUNT), LATENTS, torch.full_like(error, SIGMA))
    assert list(together) == [verdict for verdict, cases in CASES.items() for _ in cases]
