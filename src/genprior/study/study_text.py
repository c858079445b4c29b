"""A study as a page of text, to be pasted. Imports no torch."""

from pathlib import Path

from genprior.study.mathml import plain
from genprior.study.statements import STATEMENTS
from genprior.study.study_record import JudgedStatement, StudiedRun, StudyResult
from genprior.writing import write_text

NOTATION = (
    "D gives a logit a = D(x), and s = sigmoid(a) is the probability that x is real. An image has n pixels, a latent z "
    "has k numbers, and G(z) is a fake. p is the density of images, q that of fakes, V the value of the game."
)
WEAKNESSES = (
    "Budgets of families differ: each gets what it needs to show itself at that size. The table of runs has them all.",
    "The averaged weights are judged everywhere; the report had none.",
    "Training leaves held-out images out. The report trained on all 70,000 images of MNIST.",
    "One seed says nothing about the chance of training.",
    "Ambiguity is judged by a classifier, whose own mistakes count as ambiguity.",
    '"A stronger discriminator later" is one reading: a fresh one, twice as wide, for half of the budget more.',
)


def write_study_text(result: StudyResult, path: Path, *, is_linked: bool = True) -> None:
    """Writes the text, whole or not at all; replaces the file that is there."""
    write_text(path, study_text(result, is_linked=is_linked))


def study_text(result: StudyResult, *, is_linked: bool = True) -> str:
    """Returns the study in Markdown: a table of all statements, then each with its numbers.

    Arguments:
        result: The study.
        is_linked: Whether names of runs lead to their folders.
    """
    settings = result.settings
    seeds = f"seeds {settings.seeds[0]} to {settings.seeds[-1]}" if len(settings.seeds) > 1 else f"seed {settings.seed}"
    head = [f"# A study of {settings.data}", "", f"{result.data}. Size {settings.size}, {seeds}."]
    head += [f"Made by {result.made}."] if result.made else []
    table = ["", "| statement | verdict |", "|---|---|"]
    table += [f"| [{each.title}](#{each.name}) | {each.finding.outcome} |" for each in result.statements]
    parts = [line for each in result.statements for line in _statement(each)]
    runs = ["", "## Runs", "", "| run | seed | images | minutes | made again by |", "|---|---|---|---|---|"]
    runs += [
        f"| {_named(run, is_linked)} | {run.seed} | {run.images_seen:,} | {run.minutes:.1f} | `{run.command}` |"
        for run in result.runs
    ]
    weak = ["", "## What weakens this study", "", *(f"- {each}" for each in WEAKNESSES)]
    return "\n".join([*head, *table, "", NOTATION, *parts, *runs, *_comparison(result), *weak, ""])


def _named(run: StudiedRun, is_linked: bool) -> str:
    return f"[{run.cell}]({run.folder})" if is_linked else run.cell


def _statement(each: JudgedStatement) -> list[str]:
    statement, finding = STATEMENTS[each.name], each.finding
    theory = [f"- {line.words} {plain(line.formula)}".rstrip() for line in statement.theory]
    depends = f" Depends on {finding.depends_on}." if finding.depends_on else ""
    lines = [
        "",
        f'<a id="{each.name}"></a>',
        "",
        f"## {each.title}: {finding.outcome}",
        "",
        f"*{each.claim}*",
        "",
        *theory,
        "",
    ]
    lines += [
        statement.experiment,
        "",
        f"**{finding.outcome.capitalize()}.** {finding.because}{depends}",
        "",
        each.advice,
    ]
    if finding.numbers:
        lines += ["", "| number | mean and interval of 95 % | seeds |", "|---|---|---|"]
        lines += [f"| {number.title} | {number.text} | {len(number.values)} |" for number in finding.numbers]
    return lines


def _comparison(result: StudyResult) -> list[str]:
    found = result.comparison
    if found is None:
        return []
    lines = ["", f"## Against {found.other}", ""]
    lines += [f"- {name}: {ours} here, {theirs} there" for name, ours, theirs in found.verdicts] or [
        "All verdicts agree."
    ]
    beyond = [each for each in found.numbers if each.is_beyond_chance]
    lines += ["", f"{len(beyond)} of {len(found.numbers)} numbers differ beyond chance.", ""]
    return [*lines, *(f"- {each.statement}, {each.title}: {each.ours} here, {each.theirs} there" for each in beyond)]
