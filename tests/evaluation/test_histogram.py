"""How samples are spread over classes: tests with known answers."""

import math

import pytest
import torch

from genprior.evaluation.histogram import class_counts, expected_counts, homogeneity, modes_found


def test_chi_square_is_that_of_the_textbook() -> None:
    # Rows (30, 70) and (50, 50): expected 40, 60 in both; 4 terms of 100 / 40 or 100 / 60.
    found = homogeneity(torch.tensor([30, 70]), torch.tensor([50, 50]))
    assert found.statistic == pytest.approx(2 * 100 / 40 + 2 * 100 / 60)
    assert found.degrees == 1
    assert found.p_value == pytest.approx(math.erfc(math.sqrt(found.statistic / 2)))  # of one degree of freedom


def test_many_real_images_make_it_the_test_against_known_frequencies() -> None:
    counts, real = torch.tensor([30, 50, 20]), torch.tensor([4, 4, 2]) * 10_000_000
    expected = expected_counts(counts, real)
    assert expected.tolist() == pytest.approx([40, 40, 20])
    plain = float(((counts - expected).square() / expected).sum())
    assert homogeneity(counts, real).statistic == pytest.approx(plain, rel=1e-4)


def test_p_values_of_one_distribution_are_uniform() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.2])
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> torch.Tensor:
        return class_counts(torch.multinomial(probabilities, count, replacement=True, generator=generator), 3)

    p = torch.tensor([homogeneity(draw(300), draw(600)).p_value for _ in range(200)])
    assert float((p < 0.05).float().mean()) == pytest.approx(0.05, abs=0.04)
    assert float(p.mean()) == pytest.approx(0.5, abs=0.08)


def test_classes_that_nobody_has_are_left_out() -> None:
    found = homogeneity(torch.tensor([10, 0, 20]), torch.tensor([12, 0, 18]))
    assert found.degrees == 1
    assert homogeneity(torch.tensor([0, 5]), torch.tensor([0, 7])).p_value == 1


def test_a_class_that_real_images_lack_is_no_division_by_zero() -> None:
    found = homogeneity(torch.tensor([50, 50]), torch.tensor([100, 0]))
    assert math.isfinite(found.statistic)
    assert found.p_value < 1e-9


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([25, 25, 25, 25], (4, 4)),
        ([100, 0, 0, 0], (1, 4)),
        ([95, 3, 2, 0], (2, 4)),  # a tenth of 25 is 2.5
        ([0, 0, 0, 0], (0, 4)),
    ],
)
def test_a_mode_is_found_with_a_tenth_of_its_share(counts: list[int], expected: tuple[int, int]) -> None:
    assert modes_found(torch.tensor(counts), torch.tensor([30, 30, 30, 30])) == expected


def test_classes_without_real_images_are_no_modes() -> None:
    assert modes_found(torch.tensor([10, 10, 10]), torch.tensor([50, 50, 0])) == (2, 2)


def test_classes_are_counted_up_to_the_last() -> None:
    assert class_counts(torch.tensor([0, 2, 2]), 4).tolist() == [1, 0, 2, 0]
