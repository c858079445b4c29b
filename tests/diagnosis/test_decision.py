"""From signs and samples to a verdict."""

import pytest
import torch

from genprior.diagnosis.health_verdict import HEALTHY, VERDICTS, Episode, Sampled, decide, diversity
from genprior.diagnosis.signs import SIGNS

WELL = Sampled(0.9, (10, 10), 1.0, copies=0.01)
OVER = Episode("saturated", "it was", 0, 500)


def test_every_sign_has_its_remedy() -> None:
    assert VERDICTS.keys() == SIGNS.keys() | {"collapsed", "poor samples", "memorising", "not known", HEALTHY}
    assert all(VERDICTS.values())


def test_nothing_wrong_is_healthy() -> None:
    found = decide([], 1000, WELL)
    assert (found.verdict, found.is_ill, found.evidence) == (HEALTHY, False, [])


def test_what_is_over_is_told_and_not_held_against_it() -> None:
    found = decide([OVER], 1000, WELL)
    assert (found.verdict, found.evidence) == (HEALTHY, ["was saturated from 0 to 500 images"])


def test_what_lasts_to_the_end_decides() -> None:
    found = decide([OVER, Episode("generator wins", "it does", 600, 1000)], 1000, Sampled(0.0))
    assert (found.verdict, found.since_images) == ("generator wins", 600)
    vary = "the samples vary 0.0 % as much as real images"
    assert found.evidence == ["it does", vary, "was saturated from 0 to 500 images"]


@pytest.mark.parametrize(
    ("sampled", "verdict", "told"),
    [
        (Sampled(0.001), "collapsed", "vary 0.1 % as much"),
        (Sampled(0.9, is_finite=False), "non-finite", "samples have values that are not finite"),
        (Sampled(0.001, is_young=True), HEALTHY, "vary 0.1 % as much as real images: too early to tell"),
        (Sampled(0.9, (3, 10), 1.0, is_young=True), HEALTHY, "3 of 10 classes: too early to tell"),
        (Sampled(0.9, is_young=True), HEALTHY, ""),
        (Sampled(0.9, (9, 10), 0.8, copies=0.01), "collapsed", "9 of 10 classes"),
        (
            Sampled(0.9, (8, 10), 0.3, copies=0.01),
            HEALTHY,
            "8 of 10 classes, poor ones counted with the nearest, and 30 %",
        ),
        (Sampled(0.9, (5, 10), 0.3, copies=0.01), "collapsed", "5 of 10 classes, poor ones counted with the nearest"),
        (Sampled(0.9, (10, 10), 1.0, copies=0.6), "memorising", "60 % of the samples"),
        (Sampled(0.001, (1, 10), 1.0, copies=1.0), "collapsed", "vary 0.1 %"),
        (
            Sampled(0.001, (1, 8), mode="mode"),
            "collapsed",
            "and the samples hold 1 of 8",
        ),
        (Sampled(0.9, (3, 25), mode="mode"), "collapsed", "3 of 25 modes"),
        (Sampled(0.9, (989, 1000), mode="mode"), "collapsed", "989 of 1000 modes"),
        (Sampled(0.9, (990, 1000), mode="mode"), HEALTHY, ""),
        (Sampled(1.0, (25, 25), 0.02, mode="mode"), HEALTHY, "2 % as many of them as of real ones lie among real ones"),
        (Sampled(0.9), HEALTHY, ""),
        (Sampled(0.9, None, 0.9, 0.02, is_finished=True), "poor samples", "near 2 % as many real images as other real"),
        (Sampled(0.9, None, 0.9, 0.02), HEALTHY, "near 2 % as many real images as other real ones do: not learned yet"),
        (Sampled(0.9, None, 0.9, 0.02, is_young=True), HEALTHY, "other real ones do: too early to tell"),
        (Sampled(0.9, None, 0.9, 0.02, is_young=True, is_finished=True), "poor samples", "near 2 % as many"),
        (Sampled(0.1, None, 0.9, 0.02, is_young=True, is_finished=True), "collapsed", "vary 10.0 % as much"),
        (Sampled(0.9, None, 0.9, 0.4, is_finished=True), HEALTHY, ""),
        (Sampled(0.9, (10, 10), 0.9, 0.02, is_finished=True), HEALTHY, ""),
        (Sampled(0.9, None, 1.0, 0.02, 0.6, is_finished=True), "memorising", "60 % of the samples"),
        (Sampled(0.9, (10, 10), 1.0, copies=0.15), HEALTHY, ""),
    ],
)
def test_samples_decide_where_the_record_is_well(sampled: Sampled, verdict: str, told: str) -> None:
    found = decide([], 1000, sampled)
    assert found.verdict == verdict
    assert told in " ".join(found.evidence)


def test_a_sign_that_lasts_does_not_hide_a_collapse() -> None:
    swings = Episode("oscillating", "it swings", 0, 1000)
    found = decide([swings], 1000, Sampled(0.9, (3, 10), 1.0))
    assert (found.verdict, found.evidence) == ("oscillating", ["it swings", "the samples hold 3 of 10 classes"])
    assert decide([swings], 1000, WELL).evidence == ["it swings"]


def test_values_that_are_not_finite_come_first() -> None:
    found = decide([Episode("saturated", "it is", 0, 1000)], 1000, WELL, stopped="step 5 was not finite")
    assert (found.verdict, found.evidence[0]) == ("non-finite", "step 5 was not finite")


def test_diversity_of_equal_and_of_like_images() -> None:
    x = torch.rand(4000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert diversity(x[:1].expand(100, -1, -1, -1), x) == pytest.approx(0, abs=1e-12)
    assert diversity(x[:2000], x[2000:]) == pytest.approx(1, abs=0.03)
    assert diversity(0.5 * x, x) == pytest.approx(0.25)


def test_remedies_of_models_without_players_name_no_player() -> None:
    with_players, without = (decide([], 1000, Sampled(0.0), has_players=each) for each in (True, False))
    assert "discriminator" in with_players.remedy
    assert "discriminator" not in without.remedy


def test_nobody_is_healthy_on_a_damaged_record() -> None:
    fault = "steps.jsonl ends at step 3"
    found = decide([], 1000, WELL, fault=fault)
    assert (found.verdict, found.is_ill, found.evidence) == ("not known", True, [fault])
    ill = decide([], 1000, Sampled(0.001), fault=fault)
    assert (ill.verdict, ill.evidence[-1]) == ("collapsed", fault)


def test_images_that_are_all_alike_tell_nothing() -> None:
    found = decide([], 1000, Sampled(1e30, is_flat=True, is_young=True))
    assert (found.verdict, found.is_ill) == ("not known", True)
