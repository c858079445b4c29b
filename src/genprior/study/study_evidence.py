"""What statements are judged by: measured numbers of all cells over seeds. What a statement is. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from genprior.settings import Model
from genprior.study.measured_models import TrainingCurves
from genprior.study.study_results import (
    CONFIRMED,
    DEPENDS,
    REFUTED,
    TOO_LITTLE,
    Outcome,
    StudyFinding,
    standard_error,
)

M = TypeVar("M", bound=Model)
Need = tuple[str, type[Model]]
"""A cell's name, and what must be measured of it."""

OWN = "non-saturating"  # the cell of the report's own game, whose generator inverts and restores
PRIOR_NAMES = {
    OWN: "the report's GAN",
    "recipe": "the default GAN",
    "glo": "GLO",
    "vae": "VAE",
    "mixture": "mixture",
    "flow": "flow matching",
}
LITTLE = 0.1  # of what is wrong: a smaller change is none
FEW_STEPS = 1800  # updates of a generator: the report's ten epochs had 1,823, and fewer refute nothing
DIGITS = ("digits", "mnist", "qmnist", "usps", "svhn")  # data whose classes are the digits


class NotMeasuredError(Exception):
    """A statement lacks what it is judged by; says what and why."""


def ratio(above: float, below: float, what: str) -> float:
    """Returns a ratio; raises `NotMeasuredError`, with what lies below, where that is not above 0 or not known."""
    if not below > 0:
        raise NotMeasuredError(f"{what} is {below:.3g}, and nothing can be compared with it")
    return above / below


def ratio_of_sums(pairs: Sequence[tuple[float, float]], what: str) -> tuple[float, float]:
    """Returns the ratio of two sums over images, and its standard error; raises `NotMeasuredError` as `ratio` does."""
    above, below = (sum(each) / len(pairs) for each in zip(*pairs, strict=True))
    found = ratio(above, below, what)
    return found, standard_error([a - found * b for a, b in pairs]) / below


@dataclass(frozen=True)
class StudyEvidence:
    """Measured numbers.

    Attributes:
        found: For each cell and kind of measure, by the name of its model, one for each seed; None: it has none.
        missing: Why a cell has none, or some seeds of it have none, by its name.
        has_digits: Whether classes of the data are the ten digits.
        draws: Of each image whose posterior was drawn from.
        is_brief: Whether so little is spent on priors that nothing is refuted of them.
    """

    found: Mapping[tuple[str, str], Sequence[Model | None]]
    missing: Mapping[str, str]
    has_digits: bool = True
    draws: int = 32
    is_brief: bool = False

    def of(self, cell: str, kind: type[M], seeds: Sequence[int] | None = None) -> list[M]:
        """Returns what was measured of a cell, one for each seed, at least one.

        Arguments:
            cell, kind: Of which run, and what.
            seeds: As `seeds_of` returns them; None: all that there are.

        Raises:
            NotMeasuredError: Nothing was.
        """
        each = self.found.get((cell, kind.__name__), ())
        chosen = [one for i, one in enumerate(each) if isinstance(one, kind) and (seeds is None or i in seeds)]
        if each and seeds is not None and not chosen:
            raise NotMeasuredError(f"no seed has {cell} and what it is compared with")
        if not chosen:
            raise NotMeasuredError(self.missing.get(cell, f"{cell} is not measured yet"))
        return chosen

    def seeds_of(self, *needs: Need) -> list[int]:
        """Returns the places of the seeds in which all of these were measured: a seed is compared with itself."""
        each = (self.found.get((cell, kind.__name__), ()) for cell, kind in needs)
        return sorted(set.intersection(*({i for i, one in enumerate(of) if one is not None} for of in each)))

    def lacking(self, needs: Sequence[Need]) -> dict[str, str]:
        """Returns how many seeds have a cell, and why others lack it, a sentence for each cell that only some have."""
        told = {}
        for cell, kind in needs:
            each = self.found.get((cell, kind.__name__), ())
            count = sum(one is not None for one in each)
            if 0 < count < len(each):
                told[cell] = f"{cell} has {count} of {len(each)} seeds: {self.missing.get(cell, 'more are to come')}."
        return told

    def is_whole(self, needs: Sequence[Need], seeds: int) -> bool:
        """Returns whether all was measured in so many seeds, but for cells that cannot be had."""
        return all(cell in self.missing or len(self.seeds_of((cell, kind))) == seeds for cell, kind in needs)


@dataclass(frozen=True)
class CurvesOf:
    """A figure of curves over images seen: a field of `TrainingCurves` of several cells.

    Attributes:
        title: Above it.
        unit: Along the vertical axis.
        field: Of the model.
        cells: One colour each, with one curve for each seed.
        reading: What it means.
        level: A value to compare with, and what it is.
        is_log: Whether the vertical axis is logarithmic.
    """

    title: str
    unit: str
    field: str
    cells: tuple[str, ...]
    reading: str
    level: tuple[float, str] | None = None
    is_log: bool = False


@dataclass(frozen=True)
class IntervalsOf:
    """A figure of numbers side by side, with their intervals: those of the statement's own finding.

    Attributes:
        title: Above it.
        unit: Along the axis.
        numbers: A regular expression that the titles of the numbers match from end to end; its groups name them.
        reading: What it means.
    """

    title: str
    unit: str
    numbers: str
    reading: str


@dataclass(frozen=True)
class StripsOf:
    """A figure of images: rows of pictures that a measure of a cell has left.

    Attributes:
        title: Above it.
        cell, kind: Whose pictures.
        rows: Names of pictures, by what stands before them.
        reading: What it means.
    """

    title: str
    cell: str
    kind: type[Model]
    rows: Mapping[str, str]
    reading: str


@dataclass(frozen=True)
class TableOf:
    """A table of words: what is so by construction, whatever is measured.

    Attributes:
        title: Above it.
        columns: Heads, that of the rows' first.
        rows: As many words as there are columns.
        reading: What it means.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    reading: str


FigureOf = CurvesOf | IntervalsOf | StripsOf | TableOf


@dataclass(frozen=True)
class TheoryLine:
    """A line of theory: words, and a formula in the notation of `genprior.study.mathml`, which may be empty."""

    words: str
    formula: str = ""


@dataclass(frozen=True)
class StudyStatement:
    """A statement and how it is judged.

    Attributes:
        title: A few words.
        claim: The statement, whole.
        theory: At most three lines.
        experiment: What is trained and measured, and by which rule it is judged.
        needs: What must be measured.
        judge: Measured numbers -> the verdict; raises `NotMeasuredError` where they are not there.
        advice: What to do about it, by the verdict; "" for all others.
        trained: Cells whose generators must have had `FEW_STEPS` for anything to be refuted.
        is_of_priors: Whether it is about posteriors, which a brief training refutes nothing of.
        is_contest: Whether two trainings are compared: then a short one confirms nothing either.
        figures: Of the measured numbers and images.
        is_beyond: Whether the report could not know it.
    """

    title: str
    claim: str
    theory: tuple[TheoryLine, ...]
    experiment: str
    needs: tuple[Need, ...]
    judge: Callable[[StudyEvidence], StudyFinding]
    advice: Mapping[Outcome | str, str]
    trained: tuple[str, ...] = ()
    is_of_priors: bool = False
    is_contest: bool = False
    figures: tuple[FigureOf, ...] = ()
    is_beyond: bool = False

    def finding(self, evidence: StudyEvidence) -> StudyFinding:
        """Returns the verdict; what is not measured, or not trained for long, is too little to say.

        It depends on the seed where the training of some seeds failed: such a seed is not among the numbers.
        """
        try:
            found = self.judge(evidence)
            steps = min([FEW_STEPS, *(one.steps for cell in self.trained for one in evidence.of(cell, TrainingCurves))])
        except NotMeasuredError as error:
            return StudyFinding(outcome=TOO_LITTLE, because=f"Not measured: {error}.")
        lacking = evidence.lacking(self.needs)
        if lacking:
            found = found.model_copy(update={"because": " ".join([found.because, *lacking.values()])})
        if found.outcome in (CONFIRMED, REFUTED) and any(cell in evidence.missing for cell in lacking):
            found = found.model_copy(update={"outcome": DEPENDS, "depends_on": "the seed: the training of some failed"})
        if self.is_of_priors and evidence.is_brief and found.outcome in (REFUTED, DEPENDS):
            brief = f"{found.because} So short a training of priors refutes nothing."
            return found.model_copy(update={"outcome": TOO_LITTLE, "because": brief, "depends_on": ""})
        if steps == FEW_STEPS or (found.outcome == CONFIRMED and not self.is_contest) or found.outcome == TOO_LITTLE:
            return found
        what = "compare trainings by" if self.is_contest else "refute anything"
        short = f"{steps:,} updates of the generator are too few to {what}; {FEW_STEPS:,} are asked for."
        return found.model_copy(update={"outcome": TOO_LITTLE, "because": f"{found.because} {short}", "depends_on": ""})

    def advice_for(self, outcome: Outcome) -> str:
        """Returns what to do about a verdict."""
        return self.advice.get(outcome, self.advice.get("", ""))
