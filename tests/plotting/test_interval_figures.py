"""Numbers side by side: all of them are drawn, where they are known."""

import math
import re

from genprior.plotting.drawing import BLUE, GREY, new_figure
from genprior.plotting.interval_figures import IntervalPlot, IntervalRow, draw_intervals, intervals_svg

PLOT = IntervalPlot(
    "Denoising",
    "dB",
    (
        IntervalRow("flow matching", 24.5, 24.0, 25.0, (24.4, 24.5, 24.6)),
        IntervalRow("a VAE of which only one run is known", 22.0, math.nan, math.nan),
    ),
)


def test_means_intervals_and_seeds_are_where_they_belong() -> None:
    with new_figure(5, 3) as figure:
        draw_intervals(figure, PLOT)
        (axis,) = figure.axes
        lines = [(line.get_marker(), list(line.get_xdata()), line.get_color()) for line in axis.lines]
        places = [{float(y) for y in line.get_ydata()} for line in axis.lines]
        assert lines == [
            ("None", [24.0, 25.0], BLUE),
            ("|", [24.4, 24.5, 24.6], GREY),
            ("o", [24.5], BLUE),
            ("o", [22.0], BLUE),  # of one run without an interval the mean alone
        ]
        first, second = (next(iter(places[i])) for i in (0, 3))
        assert places == [{first}, {first}, {first}, {second}]
        assert 0 > first > second > axis.get_ylim()[0]  # from above
        assert axis.get_xlabel() == "dB"


def test_a_drawing_says_its_numbers_in_words_and_has_room_for_long_names() -> None:
    assert PLOT.alt == "Denoising: flow matching 24.5 [24, 25], a VAE of which only one run is known 22."
    svg = intervals_svg(PLOT, "f3")
    words = re.sub(r"<[^>]*>", " ", svg)
    assert all(word in words for word in ("flow matching", "a VAE of which only one", "run is known"))
    assert 'id="f3-' in svg
    assert float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1]) == 360  # type: ignore[index]  # 5 inches
