"""Distances of sets of features: closed forms, and the definition taken literally."""

import pytest
import torch

from genprior.evaluation import distances as fidelity
from genprior.evaluation.distances import frechet_distance, frechet_distances, kernel_distances
from genprior.seeding import derived_generator


def _normal(count: int, size: int, index: int = 0) -> torch.Tensor:
    return torch.randn(count, size, dtype=torch.float64, generator=derived_generator(0, "fidelity test", index))


def _kernel_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    kept = [torch.ones(1, len(each), dtype=torch.bool) for each in (x, y)]
    return float(kernel_distances(x, y, *kept))


def test_the_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    x = _normal(500, 3)
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T  # mean 0, covariance 1, exactly
    scales, shift = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 0.0, 4.0]).double()
    expected = 25 + float((scales - 1).square().sum())
    assert frechet_distance(x, x * scales + shift) == pytest.approx(expected, rel=1e-6)


def test_the_kernel_distance_is_its_definition() -> None:
    x, y = _normal(7, 4).tolist(), _normal(5, 4, 1).tolist()

    def k(a: list[float], b: list[float]) -> float:
        return (sum(p * q for p, q in zip(a, b, strict=True)) / 4 + 1) ** 3

    within_x = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    within_y = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    between = sum(k(a, b) for a in x for b in y) / 35
    expected = within_x + within_y - 2 * between
    assert _kernel_distance(torch.tensor(x), torch.tensor(y)) == pytest.approx(expected, rel=1e-5)


def test_the_kernel_distance_of_one_distribution_is_0_on_average() -> None:
    found = torch.tensor([_kernel_distance(_normal(20, 8, 2 * i), _normal(20, 8, 2 * i + 1)) for i in range(400)])
    assert abs(float(found.mean())) < 3 * float(found.std()) / 20
    assert float(found.min()) < 0


def test_the_kernel_distance_of_shifted_gaussians_is_the_closed_form() -> None:
    # One dimension, N(0, 1) and N(2, 1): the kernel is sum_j C(3, j) (x y)^j, so MMD^2 = sum_j C(3, j) (m_j - n_j)^2
    # with the moments m of one and n of the other: 0, 1, 0 and 2, 5, 14.
    found = [_kernel_distance(_normal(1000, 1, 2 * i), 2 + _normal(1000, 1, 2 * i + 1)) for i in range(20)]
    expected = 3 * 2**2 + 3 * (5 - 1) ** 2 + 14**2
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.05)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _normal(23, 4), _normal(17, 4, 1)
    whole = _kernel_distance(x, y)
    monkeypatch.setattr(fidelity, "ROWS", 5)
    assert _kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


def test_distances_of_subsets_are_those_of_the_images_that_are_kept() -> None:
    x, y = _normal(20, 3), 1 + _normal(16, 3, 1)
    a, b = (torch.rand(4, n, generator=derived_generator(0, "kept", n)) < 0.6 for n in (20, 16))
    for of_subsets, of_two in ((frechet_distances, frechet_distance), (kernel_distances, _kernel_distance)):
        expected = torch.tensor([of_two(x[first], y[second]) for first, second in zip(a, b, strict=True)])
        torch.testing.assert_close(of_subsets(x, y, a, b).float(), expected, rtol=1e-5, atol=1e-6)
