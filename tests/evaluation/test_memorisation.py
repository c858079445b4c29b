"""Copies of training images are found, new real images and typical ones are not."""

import pytest
import torch
from torch import Tensor

from genprior.evaluation import distances
from genprior.evaluation.distances import closeness, copied_share
from genprior.seeding import derived_generator

SIZE = 6


def _real(count: int, index: int) -> Tensor:
    return torch.randn(count, SIZE, generator=derived_generator(0, "memorisation test", index))


TRAINING, HELD_OUT = _real(1500, 0), _real(1500, 1)


def _share(samples: Tensor) -> float:
    return float(copied_share(closeness(HELD_OUT, TRAINING), closeness(samples, TRAINING)))


def test_new_real_images_are_no_copies() -> None:
    assert _share(_real(1500, 2)) == pytest.approx(0.01, abs=0.008)


def test_copies_are_found_all() -> None:
    assert _share(TRAINING[:500]) == 1


def test_copies_with_a_little_noise_are_found() -> None:
    assert _share(TRAINING[:500] + 0.01 * _real(500, 3)) > 0.95


def test_a_tenth_of_copies_makes_a_tenth() -> None:
    mixed = torch.cat([TRAINING[:100], _real(900, 4)])
    assert _share(mixed) == pytest.approx(0.1 + 0.9 * 0.01, abs=0.01)


def test_typical_samples_are_no_copies_though_they_are_near() -> None:
    # Half as far from the middle as real images, where training images are dense.
    typical = 0.5 * _real(1500, 5)
    nearest = [torch.cdist(x, TRAINING).amin(1).mean() for x in (typical, HELD_OUT)]
    assert nearest[0] < 0.8 * nearest[1]
    assert _share(typical) < 0.03


def test_closeness_is_its_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "ROWS", 2)
    training = torch.tensor([[0.0], [3.0], [10.0], [10.0]])
    x = torch.tensor([[0.0], [1.0], [4.0], [11.0], [10.0]])
    expected = torch.tensor([0.0, 1 / 4, 1 / 4, 1.0, 0.0])  # a training image that is there twice has its own twin
    torch.testing.assert_close(closeness(x, training), expected)


def test_copies_count_even_where_held_out_images_are_copies_too() -> None:
    held_out = torch.tensor([0.0] * 10 + [0.5] * 90)
    assert float(copied_share(held_out, torch.tensor([0.0, 0.0, 0.3, 0.5]))) == 0.5
