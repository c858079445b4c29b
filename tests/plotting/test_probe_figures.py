"""Figures of experiments on a run: any number of ages, and what is not known, can be drawn."""

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from genprior.diagnosis.one_player import Agreement, Descended, InnerMoment, Judgement, Opposed, OuterMoment
from genprior.plotting.drawing import BLUE, GREY, ORANGE, SHADES
from genprior.plotting.probe_figures import Panel, write_angle, write_inner, write_outer, write_saturation
from pixels import pixels_of


def _inner(value: float = 0.0) -> Descended:
    moments = (
        InnerMoment(step=0, modes=8, diversity=1.0, fake_logit=value),
        InnerMoment(step=5, modes=None, diversity=value, fake_logit=value),
    )
    return Descended(images_seen=0, real_logit=value, best_real_logit=value, moments=moments)


def _outer(value: float = 0.5) -> Opposed:
    known = Judgement(accuracy=0.5, value=-1.4, error=0.1)
    found = {"width 1": Judgement(accuracy=value, value=value, error=0.1), "width 2": known, "again": known}
    cosines = {"width 1": Agreement(weights=value, images=value), "again": Agreement(weights=0.9, images=0.9)}
    moments = (OuterMoment(step=step, discriminators=found, cosines_with_strong=cosines) for step in (0, 5))
    return Opposed(images_seen=0, strong="width 2", moments=tuple(moments))


@pytest.mark.parametrize(("count", "value"), [(1, 0.5), (2, math.nan)])
def test_any_number_of_ages_and_what_is_not_finite_can_be_drawn(tmp_path: Path, count: int, value: float) -> None:
    paths = [tmp_path / "new" / name for name in ("inner.png", "angle.png", "outer.png")]
    write_inner([_inner(value)] * count, paths[0])
    write_angle([_outer(value)] * count, paths[1])
    write_outer(_outer(value), paths[2])
    assert all(path.stat().st_size > 5000 for path in paths)


def test_no_legend_lies_on_curves_or_leaves_the_figure(tmp_path: Path, figures: list[Figure]) -> None:
    for count in (1, 2, 3, 5):
        write_inner([_inner()] * count, tmp_path / "inner.png")
        figure = figures[-1]
        assert not [axis for axis in figure.axes if axis.get_legend()]
        (legend,) = figure.legends
        texts = [each.get_text() for each in legend.get_texts()]
        assert {"variance over that of real images", "modes, over those of the first step", "fakes, mean"} <= {*texts}
        assert len(texts) == len(set(texts))
        assert legend.get_window_extent().x0 >= 0
        assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_discriminator_keeps_its_colour_from_figure_to_figure(tmp_path: Path, figures: list[Figure]) -> None:
    write_outer(_outer(), tmp_path / "outer.png")
    write_angle([_outer()], tmp_path / "angle.png")
    for figure in figures:
        colours = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
        assert (colours["width 1"], colours["width 2 again"]) == (SHADES[0], GREY)


@pytest.mark.parametrize("panels", [1, 3, 6])
def test_a_panel_is_drawn_for_each_age(tmp_path: Path, panels: int) -> None:
    norms = {"saturating": [[1.0, 0.1], [1.0, 0.2]], "non-saturating": [[1.0, 2.0], [1.0, 3.0]]}
    path = tmp_path / "new" / "figure.png"
    write_saturation([Panel(str(i), [0, 1], norms) for i in range(panels)], path)
    for colour in (ORANGE, BLUE):
        assert pixels_of(path, colour) > 100 * panels


def test_what_is_zero_or_unknown_leaves_a_gap(tmp_path: Path, figures: list[Figure]) -> None:
    norms = {"saturating": [[None, 0.0]], "non-saturating": [[math.nan, 0.0]]}
    write_saturation([Panel("ill", [0, 1], norms)], tmp_path / "figure.png")
    assert figures[0].axes[0].get_yscale() == "linear"
    assert (tmp_path / "figure.png").stat().st_size > 1000
