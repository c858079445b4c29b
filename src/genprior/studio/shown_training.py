"""A run in training as a part of a page: how far it is, alarms, curves, and samples of the same latents."""

import html
from pathlib import Path

from genprior.errors import GenpriorError
from genprior.inline_pictures import data_uri
from genprior.plotting.curves import Plot, curves_svg, on_common_axes
from genprior.plotting.drawing import PALETTE
from genprior.report.collect import Reported, collect
from genprior.report.record_plots import plots_of
from genprior.report.words import MOST_ALARMS, alarm
from genprior.runs.summary import summary
from genprior.studio.shown_pictures import figure, figures, grid_uri, note
from genprior.studio.training_processes import Trainings

FACTS = ("state", "progress", "family", "forked", "data")
AGES, SAMPLES = 6, 32


def training_html(trainings: Trainings, runs: list[Path]) -> str:
    """Returns what is to be seen of runs, side by side."""
    reports = [_reported(run) for run in runs]
    good = [each for each in reports if isinstance(each, Reported)]
    cells = [_state(trainings, run, each) for run, each in zip(runs, reports, strict=True)]
    curves = _curves(good, are_named=len(runs) > 1)
    return f'{_colours()}<div class="runs">{"".join(cells)}</div>{curves}'


def sheet_html(picture: Path) -> str:
    """Returns the picture that `genprior data` has drawn of some of the images; empty where it has drawn none."""
    if not picture.is_file():
        return ""
    return figures([figure(data_uri(picture.read_bytes(), "png"), "Some of the images", kind="sheet")])


def _reported(run: Path) -> Reported | str:
    try:
        return collect(run, run.name)
    except (GenpriorError, OSError) as error:  # a training that has just begun, or is just saving
        return str(error)


def _state(trainings: Trainings, run: Path, found: Reported | str) -> str:
    is_running = trainings.is_running(run)
    parts = [
        f"<h3>{html.escape(run.name)}</h3>",
        note("being trained" if is_running else "not being trained now", "state"),
    ]
    if isinstance(found, str):
        words = trainings.last_words(run) or [found]
        return f'<section class="run">{"".join(parts)}<pre>{html.escape(chr(10).join(words))}</pre></section>'
    facts = summary(run)
    parts += [note(f"{name}: {facts[name]}") for name in FACTS if name in facts]
    parts += [note(alarm(event), "alarm") for event in found.events[-MOST_ALARMS:]]
    if not found.is_points:
        parts.append(_samples(found))
    words = [] if is_running else [line for line in trainings.last_words(run) if line.startswith("genprior:")]
    parts += [note(line, "alarm") for line in words]
    return f'<section class="run">{"".join(parts)}</section>'


def _samples(found: Reported) -> str:
    parts = [figure(grid_uri(found.samples[:SAMPLES], 8), "samples now", f"Samples of {found.name}", "samples")]
    ages = list(found.ages.items())[-AGES:]
    parts += [figure(grid_uri(x, len(x)), f"{age:,} images: the same latents", kind="samples") for age, x in ages]
    return figures(parts)


def _curves(reports: list[Reported], *, are_named: bool) -> str:
    """The curves of each run under their titles; with the run's name, where another run's may stand above or beside."""
    plots = [(each.name, {plot.title: plot for plot in plots_of(each)}) for each in reports if len(each.rows)]
    rows = []
    for row, title in enumerate(dict.fromkeys(title for _, own in plots for title in own)):
        names = [name if are_named else "" for name, own in plots if title in own]
        fitted = on_common_axes([own[title] for _, own in plots if title in own])
        drawn = [_drawn(plot, f"c{row}-{place}", names[place]) for place, plot in enumerate(fitted)]
        reading = html.escape(fitted[0].reading)
        rows.append(
            f"<h3>{html.escape(title)}</h3><div class='runs'>{''.join(drawn)}</div><p class='note'>{reading}</p>"
        )
    return "".join(rows)


def _drawn(plot: Plot, name: str, run: str) -> str:
    label, told = html.escape(plot.alt), f"<figcaption>{html.escape(run)}</figcaption>" if run else ""
    drawing = f'<div role="img" aria-label="{label}">{curves_svg(plot, name)}</div>'
    return f'<figure class="curves">{told}{drawing}</figure>'


def _colours() -> str:
    """The colours that drawings name, in light and in dark."""
    light = "".join(f"--{name}:{colour};" for name, (colour, _) in PALETTE.items())
    dark = "".join(f"--{name}:{colour};" for name, (_, colour) in PALETTE.items())
    return f"<style>.runs{{{light}}}.dark .runs{{{dark}}}</style>"
