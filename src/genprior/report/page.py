"""The page: figures of all runs in rows, filled into the template."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from genprior.families import GANConfig
from genprior.plotting.plots import on_common_axes
from genprior.report import page_cells as cells
from genprior.report import words
from genprior.report.collect import Reported, collect, names_of
from genprior.report.page_cells import Cell
from genprior.report.record_plots import SATURATION, plots_of, records_saturation
from genprior.runs.files import write_text
from genprior.scoring.experiments import METRICS

Names = Iterator[str]


@dataclass(frozen=True)
class Row:
    """Cells of the same title, one a run."""

    title: str
    cells: list[Cell]

    @property
    def reading(self) -> str:
        """What its figures mean, of the first run that has one."""
        return next((cell.reading for cell in self.cells if cell.reading), "")


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
        warnings=words.warnings_on(runs),
        summary=words.summary_table(runs),
        heads=[(each, words.facts_of(each), words.verdict_of(each)) for each in runs],
        rows=rows_of(runs),
        scores=[_scores(each) for each in runs],
        details=[(each.name, words.config_table(each), words.environment_table(each)) for each in runs],
    )
    return page + "\n"


def rows_of(runs: Sequence[Reported]) -> list[Row]:
    """Returns all figures; those of the same title stand in a row, on equal axes where that makes sense."""
    names = (f"f{number}" for number in count(1))
    gans = [each for each in runs if isinstance(each.run.config, GANConfig)]
    rows = [Row("Samples", [cells.samples(each, next(names)) for each in runs])]
    if gans:
        rows.append(Row("Samples over time", [cells.over_time(each, next(names)) for each in runs]))
    rows += _plotted(runs, names)
    if gans and not any(records_saturation(each.rows) for each in gans):
        rows.append(Row("Saturation", [cells.absent(each, SATURATION[0]) for each in runs]))
    most = max((_largest(each) for each in runs), default=0.0)
    rows.append(Row("Classes of the samples", [cells.classes(each, most, next(names)) for each in runs]))
    return rows


def _plotted(runs: Sequence[Reported], names: Names) -> Iterator[Row]:
    plots = [{plot.title: plot for plot in plots_of(each)} for each in runs]
    for title in dict.fromkeys(title for own in plots for title in own):
        fitted = iter(on_common_axes([own[title] for own in plots if title in own]))
        yield Row(
            title,
            [
                cells.plotted(each, next(fitted), next(names)) if title in own else cells.absent(each, title)
                for each, own in zip(runs, plots, strict=True)
            ],
        )


def _largest(reported: Reported) -> float:
    """Upper end of the axis that a histogram of classes needs."""
    found: dict[str, list[float]] = reported.metrics.get("classes") or {}
    return 1.05 * max([0.0, *found.get("counts", []), *found.get("expected", [])])


def _scores(reported: Reported) -> tuple[str, words.Table | None, list[str], str]:
    """Name, table, notes, and what to do where there is no table."""
    missing = reported.missing.get(METRICS, f"{METRICS} holds no scores.")
    if reported.is_points:
        missing = "Points have no scores; these are of images."
    return reported.name, words.scores_table(reported), words.notes_on_scores(reported), missing
