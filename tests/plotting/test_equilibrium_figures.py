"""The figure of a run's distance from equilibrium shows what is known, and says what is not."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from genprior.plotting.drawing import BLUE, GREY, ORANGE, TEAL
from genprior.plotting.probe_figures import AdversaryCurve, EquilibriumPicture, write_equilibrium
from pixels import pixels_of

CURVE = AdversaryCurve([0, 1, 2], [-1.4, -1.2, -1.0], [-1.4, -1.1, -0.9], 2)
SHARES = {"training": 0.0, "fakes": 0.9}
ERRORS = dict.fromkeys(SHARES, 0.01)


def _picture(paying: AdversaryCurve | None = CURVE, cosines: tuple[float, ...] = ()) -> EquilibriumPicture:
    alphas = [0.0, 1.1][: len(cosines)]
    return EquilibriumPicture("close", CURVE, CURVE, paying, -1.386, alphas, cosines, "no age", SHARES, ERRORS)


@pytest.mark.parametrize("paying", [None, CURVE])
@pytest.mark.parametrize("cosines", [(), (-0.1, 0.2)])
def test_the_figure_shows_what_is_known(
    tmp_path: Path, figures: list[Figure], paying: AdversaryCurve | None, cosines: tuple[float, ...]
) -> None:
    path = tmp_path / "new" / "figure.png"
    write_equilibrium(_picture(paying, cosines), path)
    assert pixels_of(path, BLUE) > 100
    assert (pixels_of(path, TEAL) > 100) is (paying is not None)
    words = [text.get_text() for text in figures[0].axes[1].texts]
    assert ("not known:\nno age" in words) is (not cosines)


def test_a_share_of_nothing_can_be_read_beside_its_bar(tmp_path: Path, figures: list[Figure]) -> None:
    write_equilibrium(_picture(), tmp_path / "figure.png")
    colours = {text.get_text(): text.get_color() for text in figures[0].axes[2].texts}
    assert colours == {"0.0 %": GREY, "90.0 %": "white"}


def test_each_adversary_has_a_circle_at_what_is_reported(tmp_path: Path, figures: list[Figure]) -> None:
    write_equilibrium(_picture(), tmp_path / "figure.png")
    circles = [line.get_color() for line in figures[0].axes[0].lines if line.get_marker() == "o"]
    assert circles == [BLUE, ORANGE, TEAL]
