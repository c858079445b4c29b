"""The page: what is shown of each run stands in rows of cells, which fill the template."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from genprior.calibration.calibration_commands import drawn_ranks, drawn_reliability, figure_of, levels_of
from genprior.calibration.calibration_results import Calibration, verdict_line
from genprior.images import image_grid
from genprior.inline_pictures import data_uri, picture_uri
from genprior.plotting.calibration_figures import ranks_svg, reliability_svg
from genprior.plotting.curves import Plot, curves_svg, on_common_axes, values_outside
from genprior.plotting.drawing import PALETTE
from genprior.plotting.sample_figures import counts_svg, points_svg
from genprior.report import words
from genprior.report.collect import Reported, collect, names_of
from genprior.report.record_plots import HELD_OUT, HELD_OUT_DENSITY, SATURATION, plots_of, records_saturation
from genprior.scoring.scoring_results import METRICS
from genprior.writing import write_text

NOT_CALIBRATED = "Not made yet; `genprior calibrate RUN` makes it for families with draws."


@dataclass(frozen=True)
class PageCell:
    """What is shown of one run.

    Attributes:
        name: Of the run.
        svg: A drawing that is safe to put into the page, or empty.
        alt: What drawing or pictures show, in words.
        strips: Pictures of samples, data URIs of PNGs by images seen; by "" where there is one.
        reading: What it means, the same for all runs.
        caption: What is so in this run.
        missing: Why there is nothing, or empty.
        is_drawn: Whether the picture is a drawing, whose pixels mean nothing.
    """

    name: str
    svg: str = ""
    alt: str = ""
    strips: dict[str, str] = field(default_factory=dict)
    reading: str = ""
    caption: str = ""
    missing: str = ""
    is_drawn: bool = False


@dataclass(frozen=True)
class PageRow:
    """Cells of the same title, one a run."""

    title: str
    cells: list[PageCell]


def write_report(paths: Sequence[Path], out: Path) -> None:
    """Writes a page about runs, which needs nothing beside itself; replaces the file that is there.

    Arguments:
        paths: Folders of trained runs, at least one.
        out: The file.

    Raises:
        GenpriorError: There is no run, or it is not trained, or its files are damaged.
    """
    page = page_of([collect(path, name) for path, name in zip(paths, names_of(paths), strict=True)])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)


def page_of(runs: Sequence[Reported]) -> str:
    """Returns the page as HTML; the same runs give the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("genprior", "report"),
        autoescape=True,  # names of runs and of data may hold anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    several = len(runs) > 1
    page = environment.get_template("page.html.j2").render(
        title=f"{len(runs)} runs side by side" if several else runs[0].name,
        several=several,
        palette=PALETTE,
        warnings=words.warnings_on(runs),
        summary=words.summary_table(runs),
        runs=runs,
        rows=rows_of(runs),
        words=words,
    )
    return page + "\n"


def rows_of(runs: Sequence[Reported]) -> list[PageRow]:
    """Returns all figures; those of the same title stand in a row, on equal axes where that makes sense."""
    names = (f"f{number}" for number in count(1))
    rows = [PageRow("Samples", [_samples(each, next(names)) for each in runs])]
    players = [each for each in runs if each.has_players]
    if players:
        rows.append(PageRow("Samples over time", [_over_time(each, next(names)) for each in runs]))
    rows += _plotted(runs, names)
    if players and not any(records_saturation(each.rows) for each in players):
        rows.append(PageRow("Saturation", [_absent(each, SATURATION[0]) for each in runs]))
    if any(each.calibration is not None for each in runs):
        rows += _calibrated(runs, names)
    scored = [each.metrics.classes for each in runs if each.metrics is not None]
    found = [classes for classes in scored if classes is not None]
    most = 1.05 * max([0.0, *(value for own in found for value in (*own.counts, *own.expected))])
    rows.append(PageRow("Classes of the samples", [_classes(each, most, next(names)) for each in runs]))
    return rows


def _calibrated(runs: Sequence[Reported], names: Iterator[str]) -> Iterator[PageRow]:
    """Whether answers are as sure as they say."""
    draw = {"Calibration": _reliability, "Ranks of truths among draws": _ranks, "Draws of held-out images": _drawn}
    for title, cell in draw.items():
        yield PageRow(title, [cell(each, each.calibration, next(names)) for each in runs])


def _reliability(reported: Reported, found: Calibration | None, name: str) -> PageCell:
    if found is None:
        return PageCell(reported.name, missing=NOT_CALIBRATED)
    svg = reliability_svg({kind: drawn_reliability(level) for kind, level in levels_of(found).items()}, name)
    reading = "What intervals, balls and distances hold over what they promise. Below the line: too sure."
    return PageCell(reported.name, svg, verdict_line(found), reading=reading, caption=verdict_line(found))


def _ranks(reported: Reported, found: Calibration | None, name: str) -> PageCell:
    if found is None or found.held_out is None:
        return PageCell(reported.name, missing=NOT_CALIBRATED)
    svg, alt = ranks_svg(drawn_ranks(found.held_out), name), f"Ranks of truths among draws of {reported.name}"
    reading = "How many held-out truths lie below each place among their draws, less what is even."
    return PageCell(reported.name, svg, alt, reading=reading, caption=f"{found.held_out.count} held-out images.")


def _drawn(reported: Reported, found: Calibration | None, _: str) -> PageCell:
    file = figure_of(reported.run.path, "examples")
    if found is None or not file.is_file():
        return PageCell(reported.name, missing=NOT_CALIBRATED)
    source = data_uri(file.read_bytes())
    reading = "Truth, measurement, mean and deviation of the draws, and three of them."
    return PageCell(reported.name, "", f"Draws of {reported.name}", {"": source}, is_drawn=True, reading=reading)


def _plotted(runs: Sequence[Reported], names: Iterator[str]) -> Iterator[PageRow]:
    plots = [{plot.title: plot for plot in plots_of(each)} for each in runs]
    for title in dict.fromkeys(title for own in plots for title in own):
        fitted = iter(on_common_axes([own[title] for own in plots if title in own]))
        yield PageRow(
            title,
            [
                _curves(each, next(fitted), next(names)) if title in own else _absent(each, title)
                for each, own in zip(runs, plots, strict=True)
            ],
        )


def _curves(reported: Reported, plot: Plot, name: str) -> PageCell:
    """Curves of a run; `name` is that of the drawing, here and below."""
    outside, known = values_outside(plot)
    note = f" {outside:,} of {known:,} values lie outside the axes." if outside else ""
    return PageCell(reported.name, curves_svg(plot, name), plot.alt, reading=plot.reading, caption=plot.ends + note)


def _samples(reported: Reported, name: str) -> PageCell:
    """Samples of the run as it is now."""
    x = reported.samples
    whose = "averaged " if reported.has_players else ""
    age = reported.images_seen if reported.sampled_at is None else reported.sampled_at
    caption = f"{len(x):,} samples of the {whose}weights after {age:,} images, not chosen."
    bad = int((~torch.isfinite(x.flatten(1)).all(1)).sum())
    if bad:
        caption += f" {bad} of them are not finite: training has diverged."
    alt = f"Samples of {reported.name}"
    if reported.is_points:
        return PageCell(reported.name, points_svg({"samples": x}, name), alt, caption=caption)
    return PageCell(reported.name, "", alt, {"": _data_uri(x)}, caption=caption)


def _over_time(reported: Reported, name: str) -> PageCell:
    """What the same latents become as training goes on."""
    if not reported.has_players:
        return _absent(reported, "Samples over time")
    if not reported.ages:
        missing = "No early weights were kept; `genprior train gan` keeps them in new runs."
        return PageCell(reported.name, missing=missing)
    reading = "The same latents at every age, by images seen; the weights as they were, not their average."
    ends = f"{len(reported.ages)} ages, from {min(reported.ages):,} to {max(reported.ages):,} images seen."
    alt = f"Samples of {reported.name} at {ends}"
    if reported.is_points:
        drawing = points_svg({f"{images:,} images": x for images, x in reported.ages.items()}, name)
        return PageCell(reported.name, drawing, alt, reading=reading, caption=ends)
    strips = {f"{age:,}": _data_uri(x, len(x)) for age, x in reported.ages.items()}
    return PageCell(reported.name, "", alt, strips, reading, ends)


def _classes(reported: Reported, most: float, name: str) -> PageCell:
    """The histogram of classes, on an axis that ends at `most`."""
    if reported.metrics is None:
        return PageCell(reported.name, missing=reported.missing(METRICS))
    found = reported.metrics.classes
    if found is None:
        missing = f"No classes are known: the judge is {reported.metrics.judge.title}."
        return PageCell(reported.name, missing=missing)
    alt = f"Samples of {reported.name} in each class: " + ", ".join(
        f"{label} {number}" for label, number in zip(found.names, found.counts, strict=True)
    )
    caption = words.classes_caption(found, reported.metrics.modes)
    drawing = counts_svg(found.names, found.counts, found.expected, most, name)
    reading = "Which class the judge gives each sample, beside the count that as many real images would have."
    return PageCell(reported.name, drawing, alt, reading=reading, caption=caption)


def _absent(reported: Reported, title: str) -> PageCell:
    """Why a run has not what others have under a title."""
    if not reported.rows:
        missing = "The run's log is empty."
    elif title == (HELD_OUT_DENSITY if reported.run.config.JUDGED_BY_DENSITY else HELD_OUT).title:
        missing = "No weights of this run were scored: training was short, or no images are held out."
    elif reported.has_players and title in SATURATION:
        missing = "Not in this run's log, which is older than these numbers; `genprior train gan` records them."
    else:
        missing = f"Runs of the family {reported.run.config.family} have no such figure."
    return PageCell(reported.name, missing=missing)


def _data_uri(x: Tensor, columns: int | None = None) -> str:
    """Images (N, C, H, W) as text that a page can hold."""
    return picture_uri(image_grid(x.nan_to_num(0.5, 0.5, 0.5), columns, padding=1))
