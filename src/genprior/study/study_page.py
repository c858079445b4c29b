"""The page of a study: what is shown of each statement fills the template; it needs nothing beside itself."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from genprior.plotting.drawing import PALETTE
from genprior.settings import size_text
from genprior.study.mathml import mathml
from genprior.study.statements import STATEMENTS
from genprior.study.study_evidence import StudyEvidence, StudyStatement
from genprior.study.study_figures import StudyFigure, figure_of
from genprior.study.study_record import JudgedStatement, StudiedRun, StudyResult
from genprior.study.study_results import CONFIRMED, DEPENDS, REFUTED, shown
from genprior.study.study_text import NOTATION, OURS, PARTS, VERDICTS, WORDS, judged_on, told_of, weaknesses_of
from genprior.writing import write_text

MARKS = {CONFIRMED: "good", REFUTED: "ill", DEPENDS: "depends"}


@dataclass(frozen=True)
class PageStatement:
    """A statement as the page shows it.

    Attributes:
        judged: Its verdict.
        statement: What it says.
        theory: Words and MathML of each line.
        figures: Those that are there.
        runs: That its numbers come from.
        mark: Class of its verdict in the style sheet.
    """

    judged: JudgedStatement
    statement: StudyStatement
    theory: tuple[tuple[str, str], ...]
    figures: tuple[StudyFigure, ...]
    runs: tuple[StudiedRun, ...]
    mark: str


def write_page(result: StudyResult, evidence: StudyEvidence, path: Path, *, is_linked: bool = True) -> None:
    """Writes the page, whole or not at all; replaces the file that is there."""
    write_text(path, study_page(result, evidence, is_linked=is_linked))


def study_page(result: StudyResult, evidence: StudyEvidence, *, is_linked: bool = True) -> str:
    """Returns the page as HTML; the same study gives the same text.

    Arguments:
        result: The study.
        evidence: What was measured for it.
        is_linked: Whether names of runs lead to their folders.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("genprior", "study"),
        autoescape=True,  # names of data may hold anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = (f"s{number}" for number in count(1))
    told = [_shown(each, result, evidence, names) for each in result.statements]
    page = environment.get_template("study.html.j2").render(
        result=result,
        settings=result.settings,
        palette=PALETTE,
        parts=[
            (PARTS[0], "", [each for each in told if not each.statement.is_beyond]),
            (PARTS[1], OURS, [each for each in told if each.statement.is_beyond]),
        ],
        command=command_of_study(result),
        as_text=shown,
        glossary={"Notation": NOTATION, "Words": WORDS, "Verdicts": VERDICTS},
        judged_on=judged_on(result.settings),
        weaknesses=weaknesses_of(result.settings),
        told_of=told_of(result.comparison) if result.comparison else [],
        is_linked=is_linked,
    )
    return page + "\n"


def command_of_study(result: StudyResult) -> str:
    """Returns the command that makes the study again."""
    settings = result.settings
    data, out = shlex.quote(settings.data), shlex.quote(str(settings.out))
    words = [f"genprior study --data {data} --size {settings.size} --out {out}"]
    words += [f"--seed {settings.seed}"] if settings.seed else []
    words += [f"--pixels {size_text(settings.pixels)}"] if settings.pixels != 28 else []
    words += [f"--data-root {shlex.quote(str(settings.data_root))}"] if settings.data_root is not None else []
    judged = [each.name for each in result.statements]
    return " ".join([*words, *(f"--statement {name}" for name in judged if len(judged) < len(STATEMENTS))])


def _shown(
    judged: JudgedStatement, result: StudyResult, evidence: StudyEvidence, names: Iterator[str]
) -> PageStatement:
    statement = STATEMENTS[judged.name]
    cells = {cell for number in judged.finding.numbers for cell in number.cells}
    figures = (figure_of(each, evidence, judged.finding, result.settings, next(names)) for each in statement.figures)
    return PageStatement(
        judged,
        statement,
        tuple((line.words, mathml(line.formula) if line.formula else "") for line in statement.theory),
        tuple(figure for figure in figures if figure is not None),
        tuple(run for run in result.runs if run.cell in cells),
        MARKS.get(judged.finding.outcome, "unknown"),
    )
