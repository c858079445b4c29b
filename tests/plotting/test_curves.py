"""Curves of runs: axes in common, few points of many, and how they are drawn."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genprior.families import GANConfig, GLOConfig
from genprior.families.glow import GlowConfig
from genprior.plotting.curves import (
    MOST_POINTS,
    WIDTH,
    Plot,
    curves_svg,
    draw_plot,
    on_common_axes,
    thinned,
    values_outside,
)
from genprior.plotting.drawing import BLUE, FONT, ORANGE, PALETTE, new_figure, save
from genprior.report.page import rows_of
from genprior.report.record_plots import SATURATION, plots_of
from genprior.runs.best_weights import ScoredAge
from pixels import pixels_of
from reported import Row, gan_rows, made_up


def _plots(rows: list[Row] | None = None, loss: str = "non-saturating") -> dict[str, Plot]:
    config = GANConfig(data="digits[:64]", size=8, loss=loss)
    return {plot.title: plot for plot in plots_of(made_up(config=config, rows=rows))}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("non-saturating", (math.log(4), math.log(2))),
        ("saturating", (math.log(4), -math.log(2))),
        ("least-squares", (0.25, 0.125)),
        ("hinge", (2.0, 0.0)),
    ],
)
def test_losses_stand_beside_their_values_at_equilibrium(loss: str, expected: tuple[float, float]) -> None:
    levels = [level for level, _, _ in _plots(loss=loss)["Losses of both players"].levels]
    assert levels == pytest.approx(expected)


def test_the_loss_of_the_run_is_solid_and_all_others_dashed() -> None:
    curves = {curve.label: curve for curve in _plots(loss="saturating")[SATURATION[0]].curves}
    assert curves.keys() == {"saturating (this run)", "non-saturating", "hinge"}
    assert [label for label, curve in curves.items() if not curve.is_dashed] == ["saturating (this run)"]


def test_a_loss_keeps_its_colour_from_run_to_run() -> None:
    own = _plots(loss="saturating")[SATURATION[0]].curves[0]
    others = _plots(loss="hinge")[SATURATION[0]].curves
    assert own.colour == next(curve.colour for curve in others if curve.label == "saturating")


def test_runs_without_factors_say_how_to_record_them() -> None:
    old = made_up(rows=gan_rows(is_old=True))
    assert not set(SATURATION) & {plot.title for plot in plots_of(old)}
    (saturation,) = [row for row in rows_of([old]) if row.title == "Saturation"]
    assert "older than these numbers; `genprior train gan` records them" in saturation.cells[0].missing


def test_a_glow_shows_the_density_of_held_out_images() -> None:
    row: Row = {"step": 1, "images_seen": 100, "bits_per_dim": 2.0, "gradient_norm": 1.0, "round_trip_error": 1e-5}
    ages = tuple(
        ScoredAge(step=i, images_seen=100 * i, seconds=1.0, bits_per_dim=(bits, bits), took=0.1)
        for i, bits in ((1, 2.0), (2, 1.5))
    )
    plain = made_up(config=GlowConfig(data="digits[:64]"), rows=[row])
    scored = replace(plain, scored=ages)
    plot = {each.title: each for each in plots_of(scored)}["Density of held-out images"]
    np.testing.assert_allclose(plot.curves[0].values, [2.0, 1.5])
    gan = replace(made_up(), scored=(ScoredAge(step=1, images_seen=1, seconds=1.0, psnr=(20.0, 20.0), took=0.1),))
    titles = {each.title: each.cells for each in rows_of([scored, plain, gan])}
    assert "No weights of this run were scored" in titles["Density of held-out images"][1].missing
    assert titles["Restoration of held-out images"][0].missing == "Runs of the family glow have no such figure."


def test_other_families_show_the_curves_of_their_config() -> None:
    rows: list[Row] = [
        {"step": i, "images_seen": 100 * i, "reconstruction_error": 0.1, "gradient_norm": 1.0} for i in (1, 2)
    ]
    glo = made_up(config=GLOConfig(data="digits[:64]"), rows=rows)
    assert [plot.title for plot in plots_of(glo)] == [curves.title for curves in GLOConfig.CURVES.values()]
    titles = {row.title: row.cells for row in rows_of([made_up(), glo])}
    assert titles["Losses of both players"][1].missing == "Runs of the family glo have no such figure."
    assert titles["Gradients"][0].missing == "Runs of the family gan have no such figure."


def test_thinning_loses_no_spike() -> None:
    values = np.zeros(100_000)
    values[77_777], values[1] = 9.0, -9.0
    found = thinned(np.arange(100_000.0), values)
    assert len(found.images) == MOST_POINTS
    assert (found.high.max(), found.low.min()) == (9.0, -9.0)
    assert not found.median.any()


@pytest.mark.parametrize("count", [1, 2, 299, 300, 301, 1563])
def test_thinning_keeps_a_straight_line(count: int) -> None:
    images = np.arange(count, dtype=float)
    found = thinned(images, images)
    assert len(found.images) == min(count, MOST_POINTS)
    assert found.images[-1] == count - 1
    assert np.abs(found.median - found.images).max() <= 2 + count / 50
    assert (found.low <= found.high).all()


def test_thinning_leaves_holes_where_nothing_is_known() -> None:
    values = np.array([1.0, np.nan, np.inf, 4.0])
    found = thinned(np.arange(4.0), values)
    assert np.isnan(found.low[1:3]).all()
    assert (found.low[0], found.high[3]) == (1.0, 4.0)


def test_runs_side_by_side_have_equal_axes() -> None:
    title = "Gradients of both players"
    short, long = _plots(gan_rows(10, generator_gradient_norm=1e-4))[title], _plots(gan_rows(20))[title]
    a, b = on_common_axes([short, long])
    assert a.limits == b.limits
    assert a.images == b.images == 384 * 20
    assert a.limits is not None
    assert a.limits[0] < 1e-4 < 2.0 < a.limits[1]


def test_a_run_many_times_as_long_does_not_hide_a_short_one() -> None:
    title = "Gradients of both players"
    a, b = on_common_axes([_plots(gan_rows(10))[title], _plots(gan_rows(100))[title]])
    assert (a.images, b.images) == (3840, 38400)


def test_losses_of_different_games_keep_their_own_scales() -> None:
    title = "Losses of both players"
    saturating, same, squares = (
        _plots(gan_rows(generator_loss=value), loss=loss)[title]
        for loss, value in (("saturating", -0.7), ("saturating", -5.0), ("least-squares", 0.1))
    )
    a, b, c = on_common_axes([saturating, same, squares])
    assert a.limits == b.limits != c.limits


def test_values_outside_the_axes_are_counted() -> None:
    rows = [*gan_rows(199), {**gan_rows(200)[-1], "generator_loss": 1000.0}]
    (plot,) = on_common_axes([_plots(rows)["Losses of both players"]])
    assert values_outside(plot) == (1, 400)


# Drawings.


ODD_ROWS: dict[str, list[Row]] = {
    "one": gan_rows(1),
    "nothing finite": gan_rows(3, **dict.fromkeys(gan_rows(1)[0].keys() - {"step", "images_seen"})),
    "zeros": gan_rows(3, generator_gradient_norm=0.0, discriminator_gradient_norm=0.0, loss_factor=0.0),
    "many": gan_rows(2000),
}


@pytest.mark.parametrize("rows", ODD_ROWS)
def test_drawings_fit_any_page(rows: str) -> None:
    """Their colours come from the page's style sheet, and letters are at least 9 pixels at 400 pixels' width."""
    for plot in _plots(ODD_ROWS[rows]).values():
        (fitted,) = on_common_axes([plot])
        svg = curves_svg(fitted, "f7")
        assert svg.startswith("<svg viewBox=")
        assert not re.search("http|<!--|<style|font-family|#[0-9a-f]{6}", svg)
        assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(PALETTE)
        assert all(name.startswith("f7-") for name in re.findall(r'(?:\bid="|href="#|url\(#)([^")]*)', svg))
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
        assert min(sizes) * (400 - 60) / (72 * WIDTH) >= 9
        assert len(svg) < 80_000


def test_letters_have_the_size_that_is_asked_for() -> None:
    svg = curves_svg(on_common_axes([_plots()["Share of the batch that teaches"]])[0], "f1")
    assert {float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)} == {FONT}


def test_drawing_changes_no_setting_of_matplotlib() -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    curves_svg(_plots()["Losses of both players"], "f1")
    assert dict(rcParams) == before


def _plot(value: float | None, count: int = 40, hole: int | None = None) -> Plot:
    rows = gan_rows(count, d_real=0.7, d_fake=value)
    if hole is not None:
        rows[hole]["d_fake"] = None
    return _plots(rows)["The discriminator's opinion"]


def _pixels(plot: Plot, colour: str, path: Path) -> int:
    """Number of pixels of about that colour in the figure as a file."""
    with new_figure(5, 4) as figure:
        draw_plot(figure, plot)
        save(figure, path)
    return pixels_of(path, colour)


def test_the_same_plot_is_drawn_into_a_page_and_into_a_file(tmp_path: Path) -> None:
    for name, colour in (("blue", BLUE), ("orange", ORANGE)):
        assert f"var(--{name})" in curves_svg(_plot(0.3), "f1")
        assert _pixels(_plot(0.3), colour, tmp_path / "plot.png") > 500


def test_a_single_step_can_be_seen(tmp_path: Path) -> None:
    one, none = (_pixels(_plot(value, count=1), ORANGE, tmp_path / "plot.png") for value in (0.3, None))
    assert one > none


def test_a_hole_costs_no_more_than_its_neighbourhood(tmp_path: Path) -> None:
    hole, whole = (_pixels(_plot(0.3, hole=at), ORANGE, tmp_path / "plot.png") for at in (20, None))
    assert 0.85 * whole < hole < whole


def test_zeros_alone_are_shown_on_a_linear_axis() -> None:
    zeros = _plots(gan_rows(3, generator_gradient_norm=0.0, discriminator_gradient_norm=0.0))
    with new_figure(5, 4) as figure:
        draw_plot(figure, zeros["Gradients of both players"])
    assert figure.axes[0].get_yscale() == "linear"
