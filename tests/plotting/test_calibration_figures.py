"""Pictures of a calibration, read back from the figures: one panel for each group, one picture for each kind."""

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from genprior.plotting.calibration_figures import DRAWS, Kept, Ranks, write_examples, write_ranks, write_reliability

T = [0.25, 0.5, 0.75]
RANKS = Ranks(T, [[0.1, 0.0, -0.1], [0.0, 0.05, 0.0]], [-0.1, -0.15, -0.1], [0.1, 0.15, 0.1])


def test_ranks_have_a_panel_for_each_group_and_kind_of_truth(tmp_path: Path, figures: list[Figure]) -> None:
    levels = {"own": {"balls": RANKS, "pictures": RANKS}, "held-out": {"balls": RANKS, "pictures": RANKS}}
    write_ranks(levels, "calibrated", tmp_path / "ranks.png")
    (figure,) = figures
    assert [axis.get_title() for axis in figure.axes] == ["balls", "pictures", "", ""]
    assert len(figure.axes[0].lines) == 3  # even ranks, and two features
    assert list(figure.axes[0].lines[1].get_ydata()) == [0.0, 0.1, 0.0, -0.1, 0.0]


def test_reliability_shows_what_is_held_over_what_is_promised(tmp_path: Path, figures: list[Figure]) -> None:
    kept = Kept([0.5, 0.9], [0.45, 0.88], [0.01, 0.01], [0.4, 0.8], [0.5, 0.9])
    write_reliability({"own": kept, "held-out": kept}, tmp_path / "reliability.png")
    (figure,) = figures
    (legend,) = figure.legends
    assert {"as promised", "balls around the mean"} < {text.get_text() for text in legend.get_texts()}
    assert all(axis.get_ylim()[0] < 0.4 for axis in figure.axes)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48)])
def test_examples_have_a_row_for_each_image(tmp_path: Path, figures: list[Figure], shape: tuple[int, int, int]) -> None:
    rows = [(torch.rand(shape), torch.rand(shape), torch.rand(5, *shape)) for _ in range(2)]
    write_examples(rows, tmp_path / "examples.png")
    (figure,) = figures
    assert sum(bool(axis.images) for axis in figure.axes) == 2 * (4 + DRAWS)
