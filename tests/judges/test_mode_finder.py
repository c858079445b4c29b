"""What counts modes is made for points, labelled images and stacks, and refuses what has neither modes nor labels."""

from pathlib import Path

import pytest
import torch

from genprior.data import Dataset, load_data
from genprior.data.dataset import Modes
from genprior.errors import GenpriorError
from genprior.judges import mode_finder as module
from genprior.judges.mode_finder import ClassFinder, GaussianFinder, mode_finder
from genprior.progress import result_of


def test_points_are_counted_around_their_centres() -> None:
    data = load_data("grid:count=3000")
    finder = result_of(mode_finder(data))
    assert isinstance(finder, GaussianFinder)
    found = finder(data.images)
    assert (found.found, found.of) == (25, 25)


def test_labelled_images_are_counted_by_their_classes(root: Path) -> None:
    data = load_data("digits", size=8)
    finder = result_of(mode_finder(data, data_root=root))
    assert isinstance(finder, ClassFinder)
    found = finder(data.take(torch.arange(1000)))
    assert (found.found, found.of, found.found_surely) == (10, 10, 10)
    assert found.high_quality == pytest.approx(found.ceiling, abs=0.1)
    assert data.labels is not None
    one = finder(data.take(torch.where(data.labels == 3)[0]))
    assert one.found <= 2  # one, and another by mistakes


def test_images_without_labels_are_counted_by_the_judge_that_is_named(root: Path) -> None:
    named = Dataset("photos", load_data("digits[:200]", size=8).images)
    finder = result_of(mode_finder(named, judge="digits", data_root=root))
    assert finder(named.take(torch.arange(200))).of == 10


def _stacks(count: int) -> Dataset:
    """Stacks of three 8 x 8 digits."""
    digits = load_data("digits", size=8)
    triples = torch.randint(len(digits), (count, 3), generator=torch.Generator().manual_seed(3))
    assert digits.labels is not None
    labels = digits.labels[triples] @ torch.tensor([100, 10, 1])
    return Dataset("stacked-mnist", digits.images[triples, 0], labels, Modes(1000))


def test_stacks_are_judged_channel_by_channel(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIGITS", "digits")
    data = _stacks(3000)
    finder = result_of(mode_finder(data, data_root=root))
    assert isinstance(finder, ClassFinder)
    assert finder.apart
    assert float(finder.spread.sum()) == pytest.approx(1)
    x = data.take(torch.arange(3000))
    found = finder(x)
    assert found.of == 1000
    assert found.found == pytest.approx(950, abs=30)  # 1000 (1 - e^-3)
    assert found.ceiling < result_of(mode_finder(load_data("digits", size=8), data_root=root))(x[:, :1]).ceiling
    assert data.labels is not None
    same = data.labels == data.labels[0]
    assert finder(x[same]).found <= 2  # one, or another by a mistake


def test_the_digits_of_stacks_tell_how_they_are_spread() -> None:
    share = module._of_triples(torch.tensor([0, 111, 11]), 10)  # 0: 4 of 9 digits, 1: 5 of 9
    assert float(share[0]) == pytest.approx((4 / 9) ** 3)
    assert float(share[110]) == pytest.approx(5 / 9 * 5 / 9 * 4 / 9)
    assert float(share[222]) == 0


def test_data_without_modes_or_labels_are_refused() -> None:
    photos = Dataset("photos", torch.zeros(10, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(GenpriorError, match=r"neither known modes nor labels.*ring, grid.*--judge") as told:
        result_of(mode_finder(photos))
    assert told.value.argument == "data"
