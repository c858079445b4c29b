"""Pictures of restored images: sizes, colours and labels, read back from the files and from the figures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from genprior.plotting.drawing import DPI
from genprior.plotting.restoration_figures import (
    CELL,
    LABEL,
    MARGIN,
    MOST_DRAWS,
    MOST_ROWS,
    TOP,
    Solutions,
    write_candidates,
    write_draws,
    write_pairs,
)


def words(figure: Figure) -> list[str]:
    shown = [text.get_text() for text in figure.texts]
    for axis in figure.axes:
        shown += [axis.get_title(), axis.get_ylabel(), *(text.get_text() for text in axis.texts)]
    return [text for text in shown if text]


def images_in(figure: Figure) -> int:
    return sum(bool(axis.images) for axis in figure.axes)


def assert_nothing_overlaps(figure: Figure) -> None:
    """No two texts share a place, and none leaves the picture."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [*figure.texts, *(t for axis in figure.axes for t in (*axis.texts, axis.title)), *_ticks(figure)]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    for i, box in enumerate(boxes):
        assert figure.bbox.padded(1).containsx(box.x0)
        assert figure.bbox.padded(1).containsx(box.x1)
        assert figure.bbox.padded(1).containsy(box.y0)
        assert figure.bbox.padded(1).containsy(box.y1)
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
    pictures = [axis.get_window_extent(renderer) for axis in figure.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(pictures) for b in pictures[i + 1 :])
    assert not any(box.overlaps(picture) for box in boxes for picture in pictures)


def _ticks(figure: Figure) -> list[object]:
    bars = [axis for axis in figure.axes if not axis.images]
    return [
        label
        for axis in bars
        for place, label in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)
        if min(axis.get_ylim()) <= place <= max(axis.get_ylim())  # others are not drawn
    ]


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (10, 1), (3, 3)])
def test_pairs(tmp_path: Path, figures: list[Figure], count: int, channels: int) -> None:
    x, y = torch.rand(count, channels, 28, 28), torch.rand(count, channels, 14, 14)
    rows = {"truth": x, "damaged": y, "restored": 0.9 * x, "difference": -0.1 * x}
    notes = {"restored": ["21.3 dB"] * count}
    write_pairs(rows, notes, ["a/long-name-of-an-image"] * count, tmp_path / "a" / "pairs.png")
    (figure,) = figures
    assert images_in(figure) == 4 * count
    assert {"truth", "damaged", "restored", "difference", "21.3 dB"} < set(words(figure))
    assert words(figure).count("21.3 dB") == count
    assert_nothing_overlaps(figure)
    with Image.open(tmp_path / "a" / "pairs.png") as picture:
        assert picture.size[1] > 4 * 150


def test_pixels_are_sharp_squares(tmp_path: Path) -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[..., 1, 2] = 1
    write_pairs({"restored": x}, {}, ["a"], tmp_path / "p.png")
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("L"))
    top, left, side = (round(DPI * inches) for inches in (TOP, LABEL + MARGIN, CELL))
    inside = pixels[top + 3 : top + side - 3, left + 3 : left + side - 3]
    assert (inside == 0).mean() == pytest.approx(15 / 16, abs=0.02)
    assert np.isin(inside, (0, 255)).mean() > 0.99


def test_images_with_more_pixels_than_there_is_room_for_are_averaged(tmp_path: Path) -> None:
    stripes = (torch.arange(1000) % 2).float().expand(1, 1, 1000, 1000)
    write_pairs({"restored": stripes}, {}, ["a"], tmp_path / "p.png")
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("L"))
    assert pixels[100, 200] == pytest.approx(127, abs=20)


def test_differences_have_a_scale_of_their_own(tmp_path: Path, figures: list[Figure]) -> None:
    difference = torch.zeros(2, 1, 8, 8)
    difference[0, 0, 0, 0] = -0.2
    write_pairs({"difference": difference}, {}, ["a", "b"], tmp_path / "p.png")
    limits = [axis.images[0].get_clim() for axis in figures[0].axes if axis.images]
    assert limits == [pytest.approx((-0.2, 0.2))] * 2


@pytest.mark.parametrize("has_damaged", [True, False])
def test_candidates(tmp_path: Path, figures: list[Figure], has_damaged: bool) -> None:
    candidates, counts = torch.rand(9, 4, 1, 28, 28), torch.tensor([4, 1, 2, 3, 4, 4, 4, 4, 4])
    before = ("damaged", torch.rand(9, 3, 28, 28)) if has_damaged else None
    unknown = torch.full((9, 4), torch.nan)
    solutions = Solutions(candidates, counts, torch.rand(9, 4), unknown)
    write_candidates(before, solutions, candidates.std(1), tmp_path / "c.png")
    (figure,) = figures
    assert images_in(figure) == int(counts[:MOST_ROWS].sum()) + MOST_ROWS * (1 + has_damaged)
    assert ("damaged" in words(figure)) == has_damaged
    assert sum(word.startswith("error ") for word in words(figure)) == int(counts[:MOST_ROWS].sum())
    assert words(figure).count("one solution alone") == 1
    assert "spread" in words(figure)
    assert_nothing_overlaps(figure)


def test_kinds_of_draws_have_their_probabilities(tmp_path: Path, figures: list[Figure]) -> None:
    candidates, counts = torch.rand(2, 3, 1, 28, 28), torch.tensor([3, 1])
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [1.0, 1.0, 1.0]])
    solutions = Solutions(candidates, counts, torch.rand(2, 3), probabilities)
    write_candidates(None, solutions, candidates.std(1), tmp_path / "c.png")
    (figure,) = figures
    assert [word for word in words(figure) if word.startswith("probability")] == [
        "probability 0.50",
        "probability 0.30",
        "probability 0.20",
        "probability 1.00",
    ]
    assert "deviation" in words(figure)
    assert "one solution alone" not in words(figure)
    assert_nothing_overlaps(figure)


@pytest.mark.parametrize(("shape", "has_damaged"), [((1, 28, 28), True), ((3, 32, 48), True), ((1, 28, 28), False)])
def test_draws_stand_beside_their_mean(
    tmp_path: Path, figures: list[Figure], shape: tuple[int, ...], has_damaged: bool
) -> None:
    draws = torch.rand(8, 16, *shape)
    write_draws(("damaged", torch.rand(8, *shape)) if has_damaged else None, draws, tmp_path / "d.png")
    (figure,) = figures
    titles = [f"draw {k + 1}" for k in range(MOST_DRAWS)]
    assert [word for word in words(figure) if word.startswith("draw")] == titles
    assert images_in(figure) == MOST_ROWS * (2 + has_damaged + MOST_DRAWS)
    mean = np.asarray(figure.axes[int(has_damaged)].images[0].get_array())
    expected = draws[0].mean(0).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(mean.reshape(expected.shape), expected, atol=1e-6)
    spread = figure.axes[has_damaged + 1 + MOST_DRAWS].images[0].get_array()
    np.testing.assert_allclose(np.asarray(spread), draws[0].std(0).mean(0).numpy(), atol=1e-6)
    assert_nothing_overlaps(figure)


def test_deviations_have_a_scale_of_their_own(tmp_path: Path, figures: list[Figure]) -> None:
    x = torch.rand(2, 1, 28, 28)
    write_pairs({"restored": x, "deviation": 0.2 * x, "difference": x - 0.5}, {}, ["a", "b"], tmp_path / "p.png")
    (figure,) = figures
    assert {"restored", "deviation", "difference"} < set(words(figure))
    assert_nothing_overlaps(figure)


def test_images_that_agree_still_have_a_scale(tmp_path: Path) -> None:
    same = torch.full((1, 2, 1, 8, 8), 0.5)
    solutions = Solutions(same, torch.tensor([2]), torch.zeros(1, 2), torch.full((1, 2), torch.nan))
    write_candidates(None, solutions, torch.zeros(1, 1, 8, 8), tmp_path / "c.png")
    write_pairs({"difference": torch.zeros(1, 1, 8, 8)}, {}, ["a"], tmp_path / "p.png")
    assert (tmp_path / "c.png").exists()
