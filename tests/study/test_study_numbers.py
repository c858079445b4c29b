"""Intervals of numbers over seeds, formulas, and two studies side by side."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from genprior.study.comparing_studies import compared, differs
from genprior.study.mathml import mathml, plain
from genprior.study.statements import STATEMENTS
from genprior.study.study_evidence import StudyEvidence
from genprior.study.study_page import study_page
from genprior.study.study_record import JudgedStatement, StudyResult
from genprior.study.study_results import (
    CONFIRMED,
    REFUTED,
    StudyFinding,
    StudyNumber,
    mean_of,
    number_of,
    percent,
    rounded,
    share_of,
    shown,
)
from genprior.study.study_settings import StudySettings
from genprior.study.study_text import study_text


def test_over_seeds_the_interval_is_that_of_student() -> None:
    values = (1.0, 2.0, 4.0)
    low, high = number_of("n", values, []).interval
    mean, error = sum(values) / 3, math.sqrt(((1 - 7 / 3) ** 2 + (2 - 7 / 3) ** 2 + (4 - 7 / 3) ** 2) / 2 / 3)
    assert (low, high) == pytest.approx(t.interval(0.95, 2, loc=mean, scale=error))


@pytest.mark.parametrize(("of_training", "of_images"), [(1, 0.0), (1, 0.3), (1, 1), (0.5, 1), (0, 1)])
def test_intervals_of_three_seeds_hold_what_they_promise(of_training: float, of_images: float) -> None:
    """All seeds are judged on the same images, so their means share what is due to these."""
    generator, held, count = np.random.default_rng(0), 0, 3000
    for _ in range(count):
        values = of_images * generator.standard_normal() + of_training * generator.standard_normal(3)
        low, high = StudyNumber(title="n", values=tuple(values), errors=(of_images,) * 3).interval
        held += low <= 0 <= high
    assert 0.94 < held / count < 0.985


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("of_training", "of_images"), [(1, 0.0), (1, 0.3), (1, 1), (0, 1)])
def test_equal_studies_differ_beyond_chance_as_seldom_as_promised(
    of_training: float, of_images: float, seeds: int
) -> None:
    """One in twenty by promise; a t distribution of so few degrees is wide, so that it may be less."""
    random = np.random.default_rng(seeds)

    def study() -> StudyNumber:
        values = random.normal(0, of_training or 1e-9, seeds) + random.normal(0, of_images or 1e-9)
        return StudyNumber(title="n", values=tuple(values), errors=(of_images,) * seeds)

    share = np.mean([differs(study(), study()) for _ in range(3000)])
    assert 0.01 < share < 0.065


def test_a_number_that_cannot_be_negative_has_no_interval_below_0() -> None:
    values = (1.0, 2.0, 9.0)
    assert number_of("n", values, []).interval[0] < 0
    assert number_of("n", values, [], is_positive=True).interval == (0.0, number_of("n", values, []).interval[1])


def test_of_one_seed_the_interval_is_over_images() -> None:
    number = mean_of("n", [[1.0, 2.0, 3.0]], [])
    assert number.interval == pytest.approx((2 - 1.96 / math.sqrt(3), 2 + 1.96 / math.sqrt(3)))
    assert number.is_surely(above=0.8)
    assert not number.is_surely(above=1.0)


def test_the_interval_of_a_share_ends_at_0_and_1() -> None:
    assert share_of("n", [[0.0, 0.0, 1.0]], []).interval[0] == 0.0
    assert share_of("n", [[1.0, 1.0, 0.0]], []).interval[1] == 1.0
    assert math.isnan(share_of("n", [[1.0]], []).interval[0])


@pytest.mark.parametrize(("right", "of", "wilson"), [(11, 11, (0.74, 1.0)), (4, 32, (0.05, 0.28)), (0, 8, (0.0, 0.32))])
def test_where_all_images_agree_others_may_not(right: int, of: int, wilson: tuple[float, float]) -> None:
    """Ends are at least as far out as those of Wilson's interval (1927), and one of them is it."""
    low, high = share_of("n", [[1.0] * right + [0.0] * (of - right)], []).interval
    assert low <= wilson[0] + 0.005
    assert high >= wilson[1] - 0.005
    assert min(abs(low - wilson[0]), abs(high - wilson[1])) < 0.005


def test_what_is_the_same_in_all_seeds_has_no_interval() -> None:
    assert number_of("n", [10.0, 10.0, 10.0], []).text == "10"
    assert "[" in number_of("n", [10.0, 10.0, 9.0], []).text


def test_one_seed_alone_has_no_interval() -> None:
    number = number_of("n", [3.0], [])
    assert math.isnan(number.interval[0])
    assert number.text == "3"
    assert number.is_surely(above=2.0, below=4.0)


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (16.04, 0.15, "16.0 [15.7, 16.3]"),
        (0.00103, 0.0061, "0.001 [\N{MINUS SIGN}0.011, 0.013]"),
        (-0.0001, 0.01, "0.000 [\N{MINUS SIGN}0.020, 0.020]"),
        (0.9997, 0.00005, "0.9997 [0.9996, 0.9998]"),
        (7.1e-17, 5e-19, "7.10 [7.00, 7.20] \N{MULTIPLICATION SIGN} 10⁻¹⁷"),
        (600513.0, 5.0, "600,513 [600,503, 600,523]"),
    ],
)
def test_a_mean_and_its_interval_have_equally_many_decimals(mean: float, error: float, text: str) -> None:
    assert StudyNumber(title="n", values=(mean,), errors=(error,)).text == text


def test_numbers_become_text_without_exponents_and_signs_of_nothing() -> None:
    assert [shown(value) for value in (-0.0, 0.9997, 7.1e-17, -3.25, 0.5)] == [
        "0",
        "0.9997",
        "7.1 \N{MULTIPLICATION SIGN} 10⁻¹⁷",
        "\N{MINUS SIGN}3.25",
        "0.5",
    ]
    assert rounded(-0.004, 2) == "0.00"
    assert [percent(share) for share in (0.245, 0.125, -0.001)] == ["25 %", "13 %", "0 %"]


def test_a_formula_becomes_mathml() -> None:
    fraction = "<mfrac><mrow><msub><mi>a</mi><mi>i</mi></msub></mrow><mrow><mn>2</mn></mrow></mfrac>"
    scripts = "<msubsup><mi>x</mi><mi>a</mi><mi>b</mi></msubsup><mo>&lt;</mo><mn>1</mn>"
    assert mathml("frac{a_i}{2}") == f'<math displaystyle="true">{fraction}</math>'
    assert mathml("x_a^b < 1") == f'<math displaystyle="true">{scripts}</math>'
    assert 'form="prefix"' in mathml("s = -1")
    assert "prefix" not in mathml("s - 1")
    assert "mspace" in mathml("log s")
    assert plain("frac{a}{b} = -s_{i}") == "(a)/(b) = \N{MINUS SIGN}s_i"
    with pytest.raises(ValueError, match="not closed"):
        mathml("frac{a}{b")


@pytest.mark.parametrize(
    ("formula", "part"),
    [
        ("a_{1, 2}", "<mn>1</mn><mo>,</mo><mn>2</mn>"),
        ("P(x) dx", '<mspace width="0.2em"></mspace><mrow><mi>d</mi><mi>x</mi></mrow>'),
        ("frac{dL}{da}", "<mi>d</mi><mi>L</mi>"),
        ("log 4", '<mi>log</mi><mspace width="0.2em"></mspace><mn>4</mn>'),
        ("min_z D", '<munder><mo movablelimits="false">min</mo><mi>z</mi></munder>'),
        ("sum_{i}^k a_i", '<munderover><mo movablelimits="false">∑</mo>'),
        ("a → -∞", '<mo form="prefix" lspace="0" rspace="0">\N{MINUS SIGN}</mo><mo>∞</mo>'),
        ("||r||_1", '<mi>r</mi><msub><mo stretchy="false">‖</mo><mn>1</mn></msub>'),
    ],
)
def test_a_formula_is_set_as_in_print(formula: str, part: str) -> None:
    assert part in mathml(formula)


@pytest.mark.parametrize("name", STATEMENTS)
def test_all_formulas_can_be_shown(name: str) -> None:
    lines = STATEMENTS[name].theory
    assert 1 <= len(lines) <= 3
    for line in lines:
        assert mathml(line.formula).startswith("<math ")


def _study(outcome: str, number: StudyNumber, seed: int = 0) -> StudyResult:
    finding = StudyFinding(outcome=outcome, because="so it is", numbers=(number,))
    judged = JudgedStatement(name="networks", title="The networks", claim="c", finding=finding, advice="a")
    return StudyResult(settings=StudySettings(data="digits", out=Path("s"), seed=seed), data="d", statements=(judged,))


def test_studies_differ_by_more_than_chance_or_not() -> None:
    near, far = mean_of("n", [[1.0, 1.1, 0.9]], []), mean_of("n", [[2.0, 2.1, 1.9]], [])
    assert differs(near, far) is True
    assert differs(near, mean_of("n", [[1.05, 1.15, 0.95]], [])) is False
    assert differs(number_of("n", [1.0], []), number_of("n", [2.0], [])) is None
    assert differs(number_of("n", [1.0], []), number_of("n", [1.0], [])) is False


def test_two_studies_stand_side_by_side() -> None:
    near, far = mean_of("n", [[1.0, 1.1, 0.9]], []), mean_of("n", [[2.0, 2.1, 1.9]], [])
    found = compared(_study(CONFIRMED, near), _study(REFUTED, far, seed=4))
    assert found.verdicts == (("networks", CONFIRMED, REFUTED),)
    assert found.numbers[0].is_beyond_chance
    assert "seed 4" in found.other
    text = study_text(_study(CONFIRMED, near).model_copy(update={"comparison": found}))
    assert "1 of 1 numbers differ beyond chance" in text
    assert "## The networks: confirmed" in text


def test_page_and_text_say_what_weakens_them_and_what_letters_mean() -> None:
    study = _study(CONFIRMED, number_of("n", [1.0], []))
    text, page = study_text(study), study_page(study, StudyEvidence({}, {}, True), is_linked=False)
    assert "seed 0." in text
    for made in (text, page):
        assert "What weakens this study" in made
        assert "a = D(x)" in made
