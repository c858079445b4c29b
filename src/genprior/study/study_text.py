"""A study as a page of text, to be pasted. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from genprior.study.mathml import plain
from genprior.study.statements import STATEMENTS
from genprior.study.study_evidence import FEW_STEPS, TableOf
from genprior.study.study_record import JudgedStatement, StudiedRun, StudyComparison, StudyResult
from genprior.study.study_settings import StudySettings
from genprior.writing import write_text

NOTATION = (
    "D gives a logit a = D(x), and s = sigmoid(a) is the probability that x is real. An image has n pixels, a latent z "
    "has k numbers, and G(z) is a fake. p is the density of images, q that of fakes, V the value of the game."
)
WORDS = (
    "The report is a student's lab report on GANs for MNIST. GLO gives each training image a code of its own and has "
    "no discriminator; Glow is made of invertible layers; a mixture is one of Gaussians of low rank; flow matching "
    "follows a differential equation from noise to images. A judge is a small classifier, trained on the images to "
    "learn. The Fréchet distance is one between Gaussians, fitted to the judge's features of two sets of images, in "
    "squared units of these; 0 is best. PSNR is the mean squared error as -10 log10, in decibels (dB); more is "
    "better. The wrong share of a band of frequencies is the power of the residual over that of the image there. "
    "High ones lie above 0.125 cycles a pixel; a share of high or of low ones is the mean of two bands, each "
    "counting alike. Surely: the whole interval of 95 % lies on that side. Intervals hold the chance of which images "
    "are judged and, with several seeds, that of training."
)
VERDICTS = (
    f"Confirmed: the rule holds. Not confirmed: it fails, after {FEW_STEPS:,} updates of the generators or more. It "
    "depends: it holds in part. Too little to say: within chance, or after fewer updates."
)
HISTORY = (
    "These images were looked at while rules were made. Most rules were last changed after a first lesson on MNIST had "
    "been seen, and before three seeds were. Images that are inverted and restored were 64 then; they were made 256 "
    "after three seeds had left inversion and strokes and loops open. With 256 inversion became confirmed: images that "
    "are added after a look make a verdict a little too easy. Five rules were mended after three seeds, too: those of "
    "ambiguity, true probabilities, the equilibrium and limits, whose verdicts stayed, and that of strokes and loops, "
    "which became not confirmed by it."
)
PARTS = ("The report's statements", "What the report could not know")
OURS = "These claims are ours, put so that they can fail."


def judged_on(settings: StudySettings) -> str:
    """Returns on how many images a study of this size judges, in a sentence or two."""
    size = settings.spending
    all_seeds = " All seeds are judged on the same ones." if size.seeds > 1 else ""
    return (
        f"Judged on at most {size.samples:,} samples and as many held-out images. Of these at most {size.inverted} are "
        f"inverted and {size.restored} restored, {size.compared} by each family, and {size.drawn} have {size.draws} "
        f"draws each.{all_seeds}"
    )


def weaknesses_of(settings: StudySettings) -> tuple[str, ...]:
    """Returns what weakens a study of this size, one sentence or a few each."""
    size, seeds = settings.spending, "Three" if settings.spending.seeds == 3 else f"{settings.spending.seeds}"
    chance = (
        "One seed says nothing about the chance of training."
        if size.seeds == 1
        else f"{seeds} seeds tell the chance of training roughly: Student's t widens their spread. They share images, "
        "split and judge, whose chance is not told."
    )
    return (
        f"Each GAN of the report sees {size.gan_images:,} images here, in batches of {size.batch_size}. The report's "
        "ten epochs were 700,000 images; if its batches had 128 of them, with three of D for one of G, its "
        "generators had 1,823 updates. What comes after more epochs, or with larger batches, is not seen.",
        "Bounds are ours. 98 and 95 % of the way were set by looking at samples of demos, and once raised. The way "
        "is long: at 98 % the distance may still be several times that of held-out images, see the tables.",
        *([HISTORY] if settings.data == "mnist" else []),
        "Budgets of families differ: each gets what it needs to show itself at that size. The table of runs has them "
        "all.",
        "Samples, inversion and restoration take averaged weights; the report had none. Curves and the probe of min "
        "and max take the weights that play.",
        "Training leaves held-out images out. The report trained on all 70,000 images of MNIST.",
        chance,
        "Restoration takes genprior's search, not the report's. Total variation knows no digits: a filter that is "
        "fitted to digits would be a harder rival in denoising.",
        "On digits most pixels are black. Errors lie near strokes with any model, so ratios at edges are large for "
        "that reason, too.",
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
    head = [f"# A study of {settings.data}", "", f"{result.data}. Size {settings.size}, {settings.seeds_text}."]
    head += [f"Made by {result.made}."] if result.made else []
    table = ["", "| statement | verdict |", "|---|---|"]
    table += [f"| [{each.title}](#{each.name}) | {each.finding.outcome} |" for each in result.statements]
    report, ours = (
        [line for each in result.statements if STATEMENTS[each.name].is_beyond is is_ours for line in _statement(each)]
        for is_ours in (False, True)
    )
    parts = [
        *(["", f"## {PARTS[0]}", *report] if report else []),
        *(["", f"## {PARTS[1]}", "", OURS, *ours] if ours else []),
    ]
    runs = ["", "## Runs", "", "| run | seed | images | minutes | made again by |", "|---|---|---|---|---|"]
    runs += [
        _row([_named(run, is_linked), f"{run.seed}", f"{run.images_seen:,}", f"{run.minutes:.1f}", f"`{run.command}`"])
        for run in result.runs
    ]
    weak = ["", "## What weakens this study", "", *(f"- {each}" for each in weaknesses_of(settings))]
    words = ["", NOTATION, "", WORDS, "", VERDICTS]
    return "\n".join([*head, "", judged_on(settings), *table, *words, *parts, *runs, *_comparison(result), *weak, ""])


def _row(cells: Sequence[str]) -> str:
    """A row of a table, in which no word of names may end a cell."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


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
        f"### {each.title}: {finding.outcome}",
        "",
        f"*{each.claim}*",
        "",
        *theory,
        "",
    ]
    for table in (each for each in statement.figures if isinstance(each, TableOf)):
        lines += [f"{table.title}. {table.reading}", "", _row(table.columns), "|---" * len(table.columns) + "|"]
        lines += [*map(_row, table.rows), ""]
    lines += [
        statement.experiment,
        "",
        f"**{finding.outcome.capitalize()}.** {finding.because}{depends}",
        "",
        each.advice,
    ]
    if finding.numbers:
        lines += ["", "| number | mean and interval of 95 % | seeds |", "|---|---|---|"]
        lines += [_row([number.title, number.text, f"{len(number.values)}"]) for number in finding.numbers]
    return lines


def told_of(found: StudyComparison) -> list[str]:
    """Returns what the numbers of two studies side by side do not tell, a sentence each."""
    unknown = sum(each.is_beyond_chance is None for each in found.numbers)
    beyond = sum(bool(each.is_beyond_chance) for each in found.numbers)
    return [
        f"{beyond} of {len(found.numbers)} numbers differ beyond chance.",
        *([f"Of {unknown} others chance is not known."] if unknown else []),
        *([f"{found.unmatched} numbers stand in this study alone."] if found.unmatched else []),
        *(["With one seed chance is that of the judged images; training adds its own."] * found.is_of_one_seed),
    ]


def _comparison(result: StudyResult) -> list[str]:
    found = result.comparison
    if found is None:
        return []
    lines = ["", f"## Against {found.other}", ""]
    lines += [f"- {name}: {ours} here, {theirs} there" for name, ours, theirs in found.verdicts] or [
        "All verdicts agree."
    ]
    beyond = [each for each in found.numbers if each.is_beyond_chance]
    lines += ["", " ".join(told_of(found)), ""]
    return [*lines, *(f"- {each.statement}, {each.title}: {each.ours} here, {each.theirs} there" for each in beyond)]
