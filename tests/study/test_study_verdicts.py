"""Each statement is fed made-up numbers by which it holds, and others by which it does not."""

import math

import numpy as np
import pytest
from made_up import (
    IMAGES,
    SEEDS,
    around,
    collapse,
    curves,
    evidence,
    factors,
    inversion,
    noisy,
    probabilities,
    quality,
    restored,
    saturated,
    saturation,
    scores,
)

from genprior.settings import Model
from genprior.study.comparing_studies import COUNTED
from genprior.study.measured_models import (
    ClassProbabilities,
    DefaultInversion,
    Likelihoods,
    NetworkSizes,
    PriorScores,
    RestoredTask,
    SampleQuality,
)
from genprior.study.statements import STATEMENTS
from genprior.study.study_evidence import CurvesOf, FigureOf, IntervalsOf, StripsOf, StudyEvidence, TableOf
from genprior.study.study_figures import figure_of
from genprior.study.study_results import CONFIRMED, DEPENDS, REFUTED, TOO_LITTLE, Outcome
from genprior.study.study_settings import StudySettings

OWN, SHORT = "non-saturating", curves(steps=100)
POOR, FAR = quality(distance=100), quality(distance=700, modes=4)
NO_DENSITY = Likelihoods(bits_per_dim=around(3.0), how="made up", first_bits_per_dim=5.0)
COLOUR = NetworkSizes(parameters={"generator": 1, "discriminator": 2}, image_shape=(3, 28, 28))
OTHER = COLOUR.model_copy(update={"image_shape": (1, 28, 28)})
EVEN = restored(noise=noisy(l2=16, classical=17))
BAD = restored(noise=noisy(l2=15, classical=17, mean_image=14))
HARD_STROKES = tuple(0.2 if i % 10 in (1, 7) else 0.01 for i in range(IMAGES))
HOLE = restored().hole
NO_LOOP_HARD = restored(
    hole=HOLE.model_copy(update={"hidden_error": tuple(0.05 if i % 10 in (1, 7) else 0.12 for i in range(IMAGES))})
)
LOOPS_EASY = restored(
    hole=HOLE.model_copy(update={"hidden_error": tuple(0.3 if i % 10 in (2, 3, 5) else 0.05 for i in range(IMAGES))})
)
WITHIN_CHANCE = restored(  # one of two is surely so, the other neither way
    noise=noisy(l2=18, classical=15).model_copy(update={"classical": around(18)[::-1]}),
    outliers=RestoredTask(seen=around(12), l2=around(15), l1=around(15)[::-1]),
)
UNTOLD = collapse(narrow=0.1, again=0.2)  # two wide discriminators have no way in common
EASY = restored(hole=HOLE.model_copy(update={"hidden_error": around(0.001)}))
STROKES = restored(hole=HOLE.model_copy(update={"hidden_error": HARD_STROKES}))
NEITHER = restored(
    noise=noisy(l2=15, classical=12),
    outliers=RestoredTask(seen=around(12), l2=around(18), l1=around(12)),
)
UNSURE = PriorScores(inversion=around(0.02), denoising=around(18.1)[::-1], filling=around(15), seconds=0.1)
NEARLY_AS_GOOD = PriorScores(
    inversion=around(0.0101)[::-1], denoising=around(17.9)[::-1], filling=around(17.9)[::-1], seconds=0.1
)
UNSURE_DETAILS = inversion().model_copy(update={"bands_of": ((0.05, 0.1), (0.05, 0.9)) * (IMAGES // 2)})
ONE_FAILURE = inversion().model_copy(update={"bands_of": (*((0.05, 0.05),) * (IMAGES - 1), (0.05, 5.0))})
FEW_AMBIGUOUS = probabilities(count=30).model_copy(
    update={"probabilities": ((0.6, 0.4), (0.7, 0.3), (0.8, 0.2)) + ((1.0, 0.0),) * 27}
)
L2_ALONE = restored(outliers=RestoredTask(seen=around(12), l2=around(18), l1=around(12)))


CERTAIN = probabilities(top=1.0)


def details(high: float) -> Model:
    """Images inverted by the default search, a share of whose high frequencies is wrong."""
    return inversion(DefaultInversion, high=high)


CASES: list[tuple[str, Outcome, list[tuple[str, Model | list[Model]]]]] = [
    ("networks", REFUTED, [(OWN, OTHER)]),
    ("networks", DEPENDS, [(OWN, COLOUR)]),
    ("saturating", REFUTED, [("saturating", curves()), ("saturating", quality())]),
    ("saturating", DEPENDS, [("saturating", [saturated(), saturated(), saturated(loss_factor=(0.4,) * 20)])]),
    ("saturating", DEPENDS, [("saturating", saturated(loss_factor=(0.4,) * 20)), ("saturating", quality())]),
    ("saturating", TOO_LITTLE, [(OWN, FAR)]),
    ("non-saturating", REFUTED, [(OWN, FAR)]),
    ("non-saturating", DEPENDS, [(OWN, [quality(), quality(), FAR])]),
    ("non-saturating", TOO_LITTLE, [(OWN, FAR), (OWN, SHORT)]),
    ("equilibrium", REFUTED, [(OWN, curves(accuracy=(0.9,) * 20))]),
    ("equilibrium", REFUTED, [(OWN, curves(accuracy_real=(0.02,) * 20, accuracy_fake=(0.98,) * 20))]),
    ("equilibrium", REFUTED, [(OWN, quality(modes=1))]),
    ("equilibrium", DEPENDS, [(OWN, curves(accuracy=tuple(0.99 - 0.02 * i for i in range(20))))]),
    ("equilibrium", TOO_LITTLE, [(OWN, curves(accuracy=(0.9,) * 20, steps=100))]),
    ("equilibrium", DEPENDS, [(OWN, [curves(), curves(), curves(accuracy=(0.9,) * 20)])]),
    ("equilibrium", DEPENDS, [(OWN, [quality(), quality(), quality(modes=1)])]),
    ("least-squares", REFUTED, [("least-squares", FAR)]),
    ("least-squares", TOO_LITTLE, [("least-squares", FAR), ("least-squares", SHORT)]),
    ("larger-discriminator", REFUTED, [("larger-d", POOR)]),
    ("larger-discriminator", DEPENDS, [("larger-d", [POOR, POOR, quality(modes=1)])]),
    ("larger-discriminator", TOO_LITTLE, [("larger-d", POOR), ("larger-d", SHORT)]),
    ("larger-discriminator", TOO_LITTLE, [(OWN, quality(modes=1))]),
    ("lambda", REFUTED, [("weight-decay", quality())]),
    ("lambda", TOO_LITTLE, [(OWN, FAR), (OWN, SHORT)]),
    ("inversion", REFUTED, [(OWN, inversion(high=0.05))]),
    ("inversion", DEPENDS, [(OWN, inversion(error=0.07))]),
    ("inversion", TOO_LITTLE, [(OWN, ONE_FAILURE)]),
    ("inversion", TOO_LITTLE, [(OWN, inversion(error=0.07)), (OWN, SHORT)]),
    ("stronger-later", REFUTED, [("later-larger", inversion(high=0.6))]),
    ("stronger-later", REFUTED, [("later-larger", inversion(high=0.5))]),  # surely no change
    ("stronger-later", TOO_LITTLE, [("later-larger", UNSURE_DETAILS)]),
    ("stronger-later", DEPENDS, [("later-larger", inversion(high=0.3, error=0.02))]),
    ("stronger-later", TOO_LITTLE, [("later-larger", inversion(high=0.5)), (OWN, SHORT)]),
    ("stronger-later", TOO_LITTLE, [(OWN, SHORT)]),  # a contest: nothing is confirmed either
    ("recipe", TOO_LITTLE, [("recipe", SHORT)]),
    ("denoising", DEPENDS, [(OWN, EVEN)]),
    ("denoising", REFUTED, [(OWN, BAD)]),
    ("denoising", TOO_LITTLE, [(OWN, BAD), (OWN, SHORT)]),
    ("denoising", TOO_LITTLE, [(OWN, WITHIN_CHANCE)]),
    ("data-terms", TOO_LITTLE, [(OWN, WITHIN_CHANCE)]),
    ("two-dangers", TOO_LITTLE, [(OWN, [collapse(), UNTOLD, UNTOLD])]),
    ("inpainting", REFUTED, [(OWN, EASY)]),
    ("strokes-and-loops", REFUTED, [(OWN, STROKES)]),
    ("strokes-and-loops", REFUTED, [(OWN, LOOPS_EASY)]),  # than digits with neither, and as hard as strokes
    ("strokes-and-loops", DEPENDS, [(OWN, NO_LOOP_HARD)]),  # simple digits are told from others, not loops
    ("strokes-and-loops", TOO_LITTLE, [(OWN, restored(labels=()))]),
    ("ambiguous", DEPENDS, [("flow", probabilities(top=1.0))]),
    ("ambiguous", TOO_LITTLE, [(cell, FEW_AMBIGUOUS) for cell in ("mixture", "flow")]),
    ("ambiguous", REFUTED, [("mixture", probabilities(top=1.0)), ("flow", probabilities(top=1.0))]),
    ("ambiguous", TOO_LITTLE, [(cell, probabilities(top=1.0, count=8)) for cell in ("mixture", "flow")]),
    ("data-terms", REFUTED, [(OWN, NEITHER)]),
    ("data-terms", DEPENDS, [(OWN, L2_ALONE)]),
    ("likelihood", REFUTED, [("glo", NO_DENSITY)]),
    ("likelihood", TOO_LITTLE, [("glow", NO_DENSITY.model_copy(update={"first_bits_per_dim": 2.0}))]),
    ("gradient-factors", REFUTED, [(OWN, factors(off=0.1))]),
    ("gradient-factors", DEPENDS, [(OWN, saturation(falls=0.1))]),
    ("gradient-factors", DEPENDS, [(OWN, saturation(falls=1.2))]),  # less than a factor of ten more
    ("min-max", REFUTED, [(OWN, collapse(last=0.9))]),
    ("min-max", DEPENDS, [(OWN, [collapse(), collapse(last=0.9), collapse()])]),
    ("two-dangers", REFUTED, [(OWN, collapse(narrow=0.85))]),
    ("recipe", REFUTED, [("recipe", quality(distance=30))]),
    ("recipe", DEPENDS, [("recipe", [quality(distance=8), quality(distance=30), quality(distance=8)])]),
    ("priors", REFUTED, [("recipe", scores(0.001, 25))]),
    ("priors", DEPENDS, [("flow", scores(0.001, 25))]),
    ("priors", TOO_LITTLE, [("recipe", UNSURE)]),
    ("priors", TOO_LITTLE, [("recipe", NEARLY_AS_GOOD)]),
    ("probabilities", REFUTED, [(cell, probabilities(top=0.95, right=0.1)) for cell in ("mixture", "flow")]),
    ("probabilities", DEPENDS, [("flow", probabilities(top=0.95, right=0.1))]),
    ("probabilities", TOO_LITTLE, [("flow", probabilities(top=0.95, right=0.9, count=20))]),
    ("probabilities", TOO_LITTLE, [("mixture", probabilities(0.9, 0.85)), ("flow", probabilities(0.95, 0.9, 20))]),
    ("probabilities", DEPENDS, [("mixture", probabilities(0.9, 0.85)), ("flow", probabilities(0.95, 0.1))]),
    ("limits", DEPENDS, [(OWN, details(0.2)), ("recipe", details(0.1)), ("glo", details(0.05))]),
    ("limits", REFUTED, [("recipe", details(0.45))]),
    ("limits", REFUTED, [("recipe", details(0.48)), ("glo", details(0.1))]),  # surely some, and less than a tenth
    ("limits", REFUTED, [(OWN, details(0.6)), ("recipe", details(0.7)), ("glo", details(0.8))]),
    ("limits", TOO_LITTLE, [("recipe", [details(0.3), details(0.6), details(0.9)]), ("glo", details(0.8))]),
]


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_confirmed_by_numbers_of_which_it_holds(name: str) -> None:
    finding = STATEMENTS[name].finding(evidence())
    assert finding.outcome == CONFIRMED, finding.because
    assert finding.numbers
    assert all(len(number.values) == SEEDS for number in finding.numbers if name != "networks")


@pytest.mark.parametrize(
    ("name", "outcome", "changes"), CASES, ids=[f"{name}-{out}-{i}" for i, (name, out, _) in enumerate(CASES)]
)
def test_a_statement_is_not_confirmed_by_other_numbers(
    name: str, outcome: Outcome, changes: list[tuple[str, Model | list[Model]]]
) -> None:
    finding = STATEMENTS[name].finding(evidence(*changes))
    assert finding.outcome == outcome, finding.because
    assert bool(finding.depends_on) == (outcome == DEPENDS)


def test_every_statement_is_fed_numbers_of_either_kind() -> None:
    assert {name for name, _, _ in CASES} == set(STATEMENTS)


@pytest.mark.parametrize("name", STATEMENTS)
def test_what_is_not_measured_is_too_little_to_say(name: str) -> None:
    cells = {cell for cell, _ in STATEMENTS[name].needs}
    finding = STATEMENTS[name].finding(StudyEvidence({}, dict.fromkeys(cells, "the disk is full")))
    assert finding.outcome == TOO_LITTLE


@pytest.mark.parametrize("measured", [{0}, {2}, {0, 1}])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_judged_while_one_of_its_measures_lacks_seeds(name: str, measured: set[int]) -> None:
    whole, statement = evidence(), STATEMENTS[name]
    for cell, kind in statement.needs:
        key = cell, kind.__name__
        part = [one if seed in measured else None for seed, one in enumerate(whole.found[key])]
        part_of = StudyEvidence({**whole.found, key: part}, {})
        finding = statement.finding(part_of)
        assert finding.outcome in (CONFIRMED, TOO_LITTLE), finding.because
        for figure in statement.figures:
            figure_of(figure, part_of, finding, StudySettings(size="full"), "f1")


def test_a_seed_whose_training_failed_leaves_no_verdict_of_all() -> None:
    whole = evidence()
    key = "least-squares", SampleQuality.__name__
    part = {**whole.found, key: (None, *whole.found[key][1:])}
    failed = {"least-squares": "least-squares ended with values that are not finite"}
    finding = STATEMENTS["least-squares"].finding(StudyEvidence(part, failed))
    assert finding.outcome == DEPENDS
    assert finding.depends_on == "the seed: the training of some failed"
    assert "least-squares has 2 of 3 seeds: least-squares ended with values that are not finite." in finding.because
    going_on = STATEMENTS["least-squares"].finding(StudyEvidence(part, {}))
    assert going_on.outcome == CONFIRMED
    assert "least-squares has 2 of 3 seeds: more are to come." in going_on.because


@pytest.mark.parametrize("draws", [2, 8, 32])
def test_draws_of_which_the_truth_is_one_more_are_called_true_however_few(draws: int) -> None:
    random = np.random.default_rng(0)
    named = random.integers(0, 2, (4000, draws + 1))  # two digits, equally probable: the last one is the truth
    shares = tuple((1 - share, share) + (0.0,) * 8 for share in named[:, :-1].mean(1).tolist())
    model = ClassProbabilities(probabilities=shares, truth=tuple(named[:, -1].tolist()), real_accuracy=0.99)
    found = evidence(("mixture", model), ("flow", model))
    finding = STATEMENTS["probabilities"].finding(StudyEvidence(found.found, {}, draws=draws))
    gap = finding.numbers[0]
    assert "how often two draws agree" in gap.title
    assert abs(gap.mean) < 3 * gap.error < 0.03


@pytest.mark.parametrize(
    ("name", "changes", "on"),
    [
        ("saturating", [("saturating", quality(distance=450))], "what counts"),  # saturated, and not all noise
        ("saturating", [("saturating", saturated(loss_factor=(0.5,) * 20))], "when one looks"),
        ("saturating", [("saturating", [quality(), FAR, FAR])], "the seed"),
        ("lambda", [(OWN, quality(distance=100))], "what is asked"),
        ("lambda", [(OWN, [quality(), quality(), quality(distance=100)])], "the seed"),
    ],
)
def test_a_verdict_says_what_it_depends_on(name: str, changes: list[tuple[str, Model | list[Model]]], on: str) -> None:
    finding = STATEMENTS[name].finding(evidence(*changes))
    assert finding.outcome == DEPENDS
    assert finding.depends_on.startswith(on)


@pytest.mark.parametrize("name", ["ambiguous", "probabilities"])
def test_nothing_is_refuted_of_posteriors_after_a_brief_training(name: str) -> None:
    unlike = probabilities(top=1.0) if name == "ambiguous" else probabilities(top=0.95, right=0.1)
    found = evidence(("mixture", unlike), ("flow", unlike)).found
    alone = {key: each for key, each in found.items() if key[0] in ("mixture", "flow")}  # no GAN is asked for
    assert STATEMENTS[name].finding(StudyEvidence(alone, {})).outcome == REFUTED
    brief = STATEMENTS[name].finding(StudyEvidence(alone, {}, is_brief=True))
    assert brief.outcome == TOO_LITTLE
    assert "So short a training" in brief.because


def test_numbers_of_a_statement_are_told_apart_whatever_their_images() -> None:
    for name, statement in STATEMENTS.items():
        told = [COUNTED.sub("", number.title) for number in statement.finding(evidence()).numbers]
        assert len(set(told)) == len(told), name


@pytest.mark.parametrize(("name", "cell"), [("non-saturating", OWN), ("least-squares", "least-squares")])
def test_samples_are_not_called_good_by_features_without_labels(name: str, cell: str) -> None:
    unlabelled = quality().model_copy(update={"of": 0, "modes": 0})
    finding = STATEMENTS[name].finding(evidence((cell, unlabelled)))
    assert finding.outcome == TOO_LITTLE
    assert "no labels" in finding.because


def test_a_gradient_that_vanished_altogether_fell() -> None:
    finding = STATEMENTS["gradient-factors"].finding(evidence((OWN, saturation(falls=math.inf))))
    assert finding.outcome == CONFIRMED
    (fall,) = (n for n in finding.numbers if "trained G: factor by which the saturating" in n.title)
    assert fall.mean > 30


@pytest.mark.parametrize("untrained", [2.0, 1.0, math.nan])
def test_where_there_is_no_way_to_real_images_nothing_is_said_of_it(untrained: float) -> None:
    nowhere = quality().model_copy(update={"untrained": untrained})
    for name in ("saturating", "non-saturating", "least-squares", "larger-discriminator", "lambda", "recipe"):
        cells = [cell for cell, kind in STATEMENTS[name].needs if kind is SampleQuality]
        finding = STATEMENTS[name].finding(evidence(*((cell, nowhere) for cell in cells)))
        assert finding.outcome == TOO_LITTLE
        assert "the way from the untrained generator" in finding.because


def test_images_that_are_all_alike_say_nothing_of_inversion() -> None:
    alike = inversion().model_copy(update={"constant_error": (0.0,) * IMAGES})
    finding = STATEMENTS["inversion"].finding(evidence((OWN, alike)))
    assert finding.outcome == TOO_LITTLE
    assert "the error of the mean image is 0" in finding.because


def test_what_is_measured_in_all_seeds_is_whole() -> None:
    found, needs = evidence(), STATEMENTS["saturating"].needs
    assert found.is_whole(needs, SEEDS)
    assert not found.is_whole(needs, SEEDS + 1)
    assert not StudyEvidence({}, {}).is_whole(needs, SEEDS)
    assert StudyEvidence({}, dict.fromkeys(("saturating", OWN), "cannot be trained")).is_whole(needs, SEEDS)


def test_a_seed_is_compared_with_itself_where_another_lacks_a_run() -> None:
    ours, theirs = (tuple(quality().model_copy(update={"distance": d}) for d in each) for each in ((9, 4), (1, 10, 8)))
    whole = evidence()
    kind = SampleQuality.__name__
    found = {**whole.found, ("recipe", kind): (None, *ours), (OWN, kind): theirs}
    finding = STATEMENTS["recipe"].finding(StudyEvidence(found, {}))
    assert finding.outcome == CONFIRMED
    assert finding.numbers[0].values == (0.9, 0.5)


@pytest.mark.parametrize("name", ["strokes-and-loops", "ambiguous", "probabilities"])
def test_statements_on_digits_say_nothing_of_other_images(name: str) -> None:
    finding = STATEMENTS[name].finding(evidence(has_digits=False))
    assert finding.outcome == TOO_LITTLE
    assert "no digits" in finding.because


def test_a_statement_asks_for_all_that_it_is_judged_by() -> None:
    whole = evidence()
    for name, statement in STATEMENTS.items():
        asked = {(cell, kind.__name__) for cell, kind in statement.needs}
        found = {key: each for key, each in whole.found.items() if key in asked}
        assert statement.finding(StudyEvidence(found, {})).outcome == CONFIRMED, name


DRAWN = [(name, each) for name, one in STATEMENTS.items() for each in one.figures if not isinstance(each, StripsOf)]


@pytest.mark.parametrize(("name", "figure"), DRAWN, ids=[f"{name}-{each.title}" for name, each in DRAWN])
def test_what_a_figure_shows_is_measured(name: str, figure: FigureOf) -> None:
    whole = evidence()
    finding = STATEMENTS[name].finding(whole)
    found = figure_of(figure, whole, finding, StudySettings(size="full"), "f1")
    assert found is not None
    assert found.svg or (isinstance(figure, TableOf) and found.table)
    if isinstance(figure, IntervalsOf):
        nothing = finding.model_copy(update={"numbers": finding.numbers[:1]})
        assert figure_of(figure, whole, nothing, StudySettings(size="full"), "f1") is None


def test_curves_of_all_seeds_are_drawn_and_named_once() -> None:
    (figure,) = (each for each in STATEMENTS["least-squares"].figures if isinstance(each, CurvesOf))
    seeds = [curves(generator_loss=(value,) * 20) for value in (1.0, 2.0, 3.0)]
    finding = STATEMENTS["least-squares"].finding(evidence())
    drawn = {}
    for count in (1, SEEDS):
        found = figure_of(figure, evidence(("least-squares", seeds[:count])), finding, StudySettings(), "f1")
        assert found is not None
        assert found.svg.count(">least squares of the probability<") == 1
        assert f"least squares of the probability {'1' if count == 1 else '(1, 2, 3)'}" in found.alt
        drawn[count] = found.svg.count("stroke: var(--teal)")
    assert drawn[SEEDS] == drawn[1] + SEEDS - 1
