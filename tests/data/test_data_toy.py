"""Distributions whose modes are known."""

import math
from pathlib import Path

import pytest
import torch

from genprior.data import Dataset, Modes, load_data


def known(dataset: Dataset) -> tuple[torch.Tensor, Modes]:
    assert dataset.labels is not None
    assert dataset.modes is not None
    return dataset.labels, dataset.modes


@pytest.mark.parametrize(("name", "count", "sigma"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_points_lie_around_the_centre_of_their_label(name: str, count: int, sigma: float) -> None:
    dataset = load_data(name)
    labels, modes = known(dataset)
    assert dataset.images.shape == (100_000, 2, 1, 1)
    assert modes.centres is not None
    assert (modes.count, modes.sigma, modes.centres.shape) == (count, sigma, (count, 2))
    offsets = dataset.images.flatten(1) - modes.centres[labels]
    assert offsets.std().item() == pytest.approx(sigma, rel=0.02)
    assert offsets.mean().abs().item() < sigma / 50
    shares = labels.bincount(minlength=count) / len(labels)
    assert (shares * count - 1).abs().max() < 0.1


def test_ring_is_eight_points_of_the_unit_circle() -> None:
    _, modes = known(load_data("ring:count=1"))
    assert modes.centres is not None
    assert torch.allclose(modes.centres.norm(dim=1), torch.ones(8))
    gaps = (modes.centres - modes.centres.roll(1, 0)).norm(dim=1)
    assert torch.allclose(gaps, torch.full((8,), 2 * math.sin(math.pi / 8)))


def test_grid_is_five_by_five() -> None:
    _, modes = known(load_data("grid:count=1"))
    assert modes.centres is not None
    ticks = {-4.0, -2.0, 0.0, 2.0, 4.0}
    assert {tuple(c) for c in modes.centres.tolist()} == {(a, b) for a in ticks for b in ticks}


def test_count_counts() -> None:
    assert len(load_data("ring:count=5000")) == 5000
    assert len(load_data("grid:count=7[2:]")) == 5


def test_stacked_mnist_is_three_digits_of_mnist(copies: Path) -> None:
    dataset, mnist = load_data("stacked-mnist:count=200", root=copies), load_data("mnist", root=copies)
    labels, modes = known(dataset)
    assert modes == Modes(1000)
    assert dataset.images.shape == (200, 3, 28, 28)
    assert mnist.labels is not None
    place = {image.numpy().tobytes(): label for image, label in zip(mnist.images, mnist.labels, strict=True)}
    for channel, power in enumerate((100, 10, 1)):
        digits = [place[image.numpy().tobytes()] for image in dataset.images[:, channel]]
        assert (labels // power % 10).tolist() == [int(digit) for digit in digits]


def test_stacked_mnist_reaches_its_modes_by_default(copies: Path) -> None:
    dataset = load_data("stacked-mnist", root=copies)
    labels, _ = known(dataset)
    assert len(dataset) == 128_000
    assert len(set(labels.tolist())) == 1000


def test_stacked_mnist_takes_a_split(copies: Path) -> None:
    train, test = (load_data(f"stacked-mnist:count=20,{split}", root=copies) for split in ("train", "test"))
    assert train.fingerprint() != test.fingerprint()
    assert train.fingerprint() == load_data("stacked-mnist:count=20", root=copies).fingerprint()
