"""Precision, recall, density and coverage against their definitions, ties included."""

import pytest
import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.evaluation import distances as module
from genprior.evaluation.distances import expected_coverage, neighbours, radii
from genprior.seeding import derived_generator


def _normal(count: int, size: int, index: int = 0) -> Tensor:
    return torch.randn(count, size, generator=derived_generator(0, "neighbours test", index))


def _grid(count: int, index: int) -> Tensor:
    """Points on few places: nearly all distances are tied, and many points coincide."""
    return torch.randint(0, 3, (count, 2), generator=derived_generator(0, "grid", index)).float()


def _literally(x: Tensor, y: Tensor, k: int) -> dict[str, list[float]]:
    """Image by image, on squared distances, which are whole numbers on a grid."""

    def squared(a: Tensor, b: Tensor) -> float:
        return float((a.double() - b.double()).square().sum())

    def radius(points: Tensor, i: int) -> float:
        return sorted(squared(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    real, fake = [radius(x, i) for i in range(len(x))], [radius(y, j) for j in range(len(y))]
    inside = [[squared(x[i], y[j]) <= real[i] for j in range(len(y))] for i in range(len(x))]
    return {
        "precise": [float(any(row[j] for row in inside)) for j in range(len(y))],
        "recalled": [float(any(squared(a, y[j]) <= fake[j] for j in range(len(y)))) for a in x],
        "density": [sum(row[j] for row in inside) / k for j in range(len(y))],
        "covered": [float(any(row)) for row in inside],
    }


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", ["normal", "grid"])
def test_each_image_contributes_what_the_definition_says(kind: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 7)
    x, y = (_normal(25, 3), 0.7 + _normal(18, 3, 1)) if kind == "normal" else (_grid(25, 0), 1 + _grid(18, 1))
    found = neighbours(x, y, k)
    for name, expected in _literally(x, y, k).items():
        torch.testing.assert_close(getattr(found, name), torch.tensor(expected).double())
        assert 0 < sum(expected) < 10 * len(expected)


def test_a_radius_is_the_distance_to_the_kth_other_point() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0], [3.0]])
    torch.testing.assert_close(radii(x, 1), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(radii(x, 2), torch.tensor([3.0, 2.0, 2.0, 2.0]))


def test_a_set_lies_in_itself() -> None:
    x = torch.relu(_normal(60, 128)) * 10
    found = neighbours(x, x.clone())
    for part in (found.precise, found.recalled, found.covered):
        assert float(part.min()) == 1
    # Each ball holds its centre and the k nearest, of which the last lies on its border.
    assert float(found.density.mean()) == pytest.approx(6 / 5)


@pytest.mark.parametrize(("real", "generated"), [(300, 300), (300, 100)])
def test_coverage_and_density_of_one_distribution_are_the_expected_ones(real: int, generated: int) -> None:
    found = [neighbours(_normal(real, 4, 2 * i), _normal(generated, 4, 2 * i + 1)) for i in range(20)]
    coverage = sum(float(each.covered.mean()) for each in found) / 20
    assert coverage == pytest.approx(expected_coverage(real, generated), abs=0.01)
    assert sum(float(each.density.mean()) for each in found) / 20 == pytest.approx(1, abs=0.05)


def test_sets_far_apart_share_nothing() -> None:
    found = neighbours(_normal(20, 3), 100 + _normal(20, 3, 1))
    for part in (found.precise, found.recalled, found.density, found.covered):
        assert float(part.sum()) == 0


def test_as_many_images_as_neighbours_are_too_few() -> None:
    with pytest.raises(GenpriorError, match="more than 5 images of each kind are needed, got 5 and 20"):
        neighbours(_normal(5, 2), _normal(20, 2))
