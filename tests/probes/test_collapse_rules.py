"""Rules and words of the probe of min and max: what is confirmed, what is not, and what cannot be told."""

import json
import math

import pytest

from genprior.diagnosis.one_player import Agreement, Descended, InnerMoment, Judgement, Opposed, OuterMoment
from genprior.probes.collapse_rules import AGAIN, CollapseResult, CollapseSettings, InnerProblem, lines

SIZES = ("width 8", "width 32", "width 64")
LOG4 = math.log(4)


def _found(
    inner: list[Descended] | None = None,
    outer: list[Opposed] | None = None,
    inner_planned: list[int] | None = None,
    outer_planned: list[int] | None = None,
) -> CollapseResult:
    """All that was to be measured, unless more was planned."""
    inner, outer = inner or [], outer or []
    ages = ([each.images_seen for each in found] or [0] for found in (inner, outer))
    planned = [given or measured for given, measured in zip((inner_planned, outer_planned), ages, strict=True)]
    return CollapseResult(
        settings=CollapseSettings(run="run"),
        batch_size=8,
        loss="non-saturating",
        held_out="others",
        samples=600,
        judged_on=1200,
        latents_of_gradients=120,
        images_of_a_logit=1,
        sizes=SIZES,
        own_size="width 32",
        inner=InnerProblem(planned=planned[0], ages=inner),
        generators_planned=planned[1],
        generators=outer,
    )


# Inner problem.


def _inner(age: int, *moments: tuple[int | None, float]) -> Descended:
    steps = [
        InnerMoment(step=i, modes=modes, diversity=spread, fake_logit=3.0 * i)
        for i, (modes, spread) in enumerate(moments)
    ]
    return Descended(images_seen=age, real_logit=0.5, best_real_logit=2.0, moments=steps)


FELL, STAYED, ALIKE = _inner(7, (8, 1.0), (1, 0.1)), _inner(48, (8, 1.0), (8, 0.9)), _inner(9, (1, 0.1), (1, 0.0))
YOUNG = _inner(4, (8, 0.134), (1, 0.002))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([FELL], "The statement that the inner optimum collapses is confirmed on this run, D at 7."),
        ([STAYED], "run, D at 48. Diversity was still falling at the last step: try more --steps."),
        ([FELL, STAYED], "depends on D's age: it does at 7 images, not at 48. Diversity was still falling"),
        ([FELL, YOUNG], "is confirmed on this run, D at 7, 4."),
        ([FELL, ALIKE], "is confirmed on this run, D at 7. Not counted, images being alike before the first step or"),
        ([FELL, ALIKE], "not finite: D at 9."),
        ([ALIKE], "cannot be told. Not counted, images being alike before the first step or not finite: D at 9."),
    ],
)
def test_the_inner_verdict_is_by_the_ages_that_had_something_to_lose_and_names_them(
    found: list[Descended], expected: str
) -> None:
    assert expected in lines(_found(found))[0]


def test_the_inner_paragraph_tells_modes_diversity_and_logits() -> None:
    text = lines(_found([FELL]))[0]
    assert "modes went from 8 to 1, half of them were gone at step 1, diversity went from 1.000 to 0.100" in text
    assert "rose from 0.00 to 3.00, that of real images is 0.50, the best of them has 2.00." in text
    far = FELL.model_copy(update={"best_real_logit": 5.0})
    assert "that one image for every z would be better, the optimum was not reached" in lines(_found([far]))[0]


# Outer problem, in nats of divergence.


def _outer(
    small: float,
    strong: float,
    again: float | None = None,
    *,
    rise: float = 0.0,
    error: float = 0.005,
    together: int = 1,
    age: int = 48,
) -> Opposed:
    """Discriminators that rise by `rise` nats in the last fifth of the steps, and end at these."""

    def judged(divergence: float) -> Judgement:
        return Judgement(accuracy=0.7, value=2 * divergence - LOG4, error=error, together=together)

    last = {"width 8": small, "width 32": small, "width 64": strong, AGAIN: strong if again is None else again}
    none = dict.fromkeys(["width 8", "width 32", AGAIN], Agreement(weights=math.nan, images=math.nan))
    moments = [
        OuterMoment(
            step=step,
            discriminators={name: judged(value - (step < 9) * rise) for name, value in last.items()},
            cosines_with_strong=none,
        )
        for step in (0, 5, 10)
    ]
    return Opposed(images_seen=age, strong="width 64", moments=moments)


@pytest.mark.parametrize(
    ("found", "outcome", "words"),
    [
        (_outer(0.10, 0.20), "confirmed", "width 64 tells 0.100 nats more than width 8; chance makes up to 0.014."),
        (_outer(0.10, 0.11), "not confirmed", "that a good G asks for a large D (telling 0.05 nats more) is not conf"),
        (_outer(0.40, 0.50), "cannot be told", "this G is not good, width 64 tells it from the data by more than 0.3"),
        (
            _outer(0.10, 0.20, rise=0.02),
            "cannot be told",
            "still rose by 0.020 nats in the last fifth of the steps: try",
        ),
        (_outer(0.10, 0.20, rise=0.005), "confirmed", "is confirmed on this run."),
        (_outer(0.001, 0.014), "cannot be told", "even width 64 tells less than 0.05 nats; either G is nearly perfect"),
        (_outer(0.10, 0.16), "cannot be told", "0.05 nats lie within what chance does to the difference"),
        (_outer(0.10, 0.20, 0.13), "cannot be told", "0.05 nats lie within what chance does to the difference"),
        (_outer(0.10, 0.20, error=0.03), "cannot be told", "0.05 nats lie within what chance does to the difference"),
        (_outer(math.nan, 0.20), "cannot be told", "values are not finite"),
        (_outer(0.30, 0.50, together=4), "confirmed", "width 64 70.0 % right, 0.500 ± 0.005 nats (of images at least"),
    ],
)
def test_a_large_d_is_asked_for_only_where_that_can_be_told(found: Opposed, outcome: str, words: str) -> None:
    statement = _found(outer=[found]).outer
    assert statement.outcome == outcome
    assert words in statement.told


def test_the_last_generator_alone_is_the_good_one() -> None:
    both = [_outer(0.10, 0.20, age=4), _outer(0.10, 0.11, age=48)]
    assert _found(outer=both).outer.outcome == "not confirmed"
    assert _found(outer=both[:1], outer_planned=[4, 48]).outer.outcome is None


# Direction.


def _angles(age: int, cosine: float, reference: float) -> Opposed:
    agreement = {
        name: Agreement(weights=weights, images=images)
        for name, weights, images in (("width 8", cosine, 0.1), ("width 32", 0.5, 0.2), (AGAIN, reference, 0.3))
    }
    judged = dict.fromkeys([*SIZES, AGAIN], Judgement(accuracy=0.6, value=-1.2, error=0.0))
    moments = [OuterMoment(step=step, discriminators=judged, cosines_with_strong=agreement) for step in (0, 1)]
    return Opposed(images_seen=age, strong="width 64", moments=moments)


AWAY, ALONG = _angles(4, 0.1, 0.8), _angles(48, 0.7, 0.8)


@pytest.mark.parametrize(
    ("found", "outcome", "words"),
    [
        ([AWAY], "confirmed", "is confirmed on this run, G at 4."),
        ([ALONG], "not confirmed", "is not confirmed on this run, G at 48."),
        ([AWAY, ALONG], "depends", "depends on G's age: it does at 4 images, not at 48."),
        ([_angles(4, -0.44, 0.04)], "cannot be told", "Not counted, two strong D's agreeing by less than 0.3"),
        ([_angles(4, math.nan, 0.8)], "cannot be told", "or a gradient being 0: 4."),
        ([_angles(4, 0.1, math.nan)], "cannot be told", "or a gradient being 0: 4."),
        ([_angles(4, -0.44, 0.04), ALONG], "not confirmed", "on this run, G at 48. Not counted, two strong D's"),
    ],
)
def test_a_way_is_another_one_only_where_two_strong_ones_have_one_in_common(
    found: list[Opposed], outcome: str, words: str
) -> None:
    statement = _found(outer=found).direction
    assert statement.outcome == outcome
    assert words in statement.told


# What is saved.


def test_nothing_is_said_to_hold_before_all_that_it_rests_on_is_measured() -> None:
    found = _found([FELL], [AWAY], [7, 48], [4, 48])
    assert (found.inner.outcome, found.outer.outcome, found.direction.outcome) == (None, None, None)
    text = lines(found)
    assert "Not all is measured yet: 1 of 2 ages." in text[0]
    assert text[1] == "Outer problem. Not measured yet."
    assert "averaged" not in "".join(text)


def test_numbers_that_are_not_finite_are_null() -> None:
    found = _found([_inner(0, (None, math.nan), (None, math.inf))], [_angles(4, math.nan, 1.0)])
    saved = json.loads(found.model_dump_json(), parse_constant=pytest.fail)
    assert saved["inner"]["ages"][0]["moments"][0]["diversity"] is None
    assert saved["generators"][0]["moments"][0]["cosines_with_strong"]["width 8"]["weights"] is None
    assert saved["inner"]["outcome"] == "cannot be told"
