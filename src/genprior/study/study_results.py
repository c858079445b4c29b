"""What a statement is judged to be: numbers over seeds with their intervals, and a verdict. Imports no torch."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import computed_field

from genprior.settings import Model, Number

Outcome = Literal["confirmed", "not confirmed", "it depends", "too little to say"]
CONFIRMED: Outcome = "confirmed"
REFUTED: Outcome = "not confirmed"
DEPENDS: Outcome = "it depends"
TOO_LITTLE: Outcome = "too little to say"
NORMAL = 1.96  # standard errors to either side of a mean, for 95 %


class StudyNumber(Model):
    """A number of one run, or of a difference, over seeds.

    Attributes:
        title: What it is.
        unit: Of the values; empty: a share or a ratio.
        cells: Names of the cells that it comes from.
        values: One for each seed.
        errors: Standard errors within each seed, over images; empty: not known.
        is_share: Whether values lie in [0, 1], and the interval therefore too.
    """

    title: str
    unit: str = ""
    cells: tuple[str, ...] = ()
    values: tuple[Number, ...]
    errors: tuple[Number, ...] = ()
    is_share: bool = False

    @computed_field
    @property
    def mean(self) -> Number:
        """Over seeds; NaN where there are none."""
        return sum(self.values) / len(self.values) if self.values else math.nan

    @computed_field
    @property
    def error(self) -> Number:
        """Standard error of the mean; NaN where one seed has none of its own.

        All seeds are judged on the same images: their spread holds the chance of training, and the errors within seeds
        that of images, which does not shrink with their number.
        """
        count = len(self.values)
        within = math.sqrt(sum(each**2 for each in self.errors) / len(self.errors)) if self.errors else math.nan
        if count < 2:
            return within
        between = math.sqrt(sum((each - self.mean) ** 2 for each in self.values) / (count - 1) / count)
        return math.hypot(between, within) if self.errors else between

    @computed_field
    @property
    def interval(self) -> tuple[Number, Number]:
        """Of 95 %: by Student's t over seeds, by the normal distribution over images of one seed; NaN: not known."""
        reach = self.error * (student_t(len(self.values) - 1) if len(self.values) > 1 else NORMAL)
        low, high = self.mean - reach, self.mean + reach
        return (max(0.0, low), min(1.0, high)) if self.is_share and math.isfinite(reach) else (low, high)

    @property
    def text(self) -> str:
        """Mean and interval, as people read them."""
        low, high = self.interval
        around = f" [{shown(low)}, {shown(high)}]" if math.isfinite(low) else ""
        return f"{shown(self.mean)}{around}{' ' + self.unit if self.unit else ''}"

    def is_surely(self, above: float | None = None, below: float | None = None) -> bool:
        """Returns whether the interval lies on one side of a bound; where it is not known, whether all values do."""
        low, high = self.interval
        if not math.isfinite(low):
            low, high = (min(self.values), max(self.values)) if self.values else (math.nan, math.nan)
        return (above is None or low > above) and (below is None or high < below)


class StudyFinding(Model):
    """What a statement's function makes of measured numbers.

    Attributes:
        outcome: The verdict.
        because: Why, in a sentence or two.
        depends_on: On what it depends; empty for the other verdicts.
        numbers: On which the verdict rests, and those that must stand beside them.
    """

    outcome: Outcome
    because: str
    depends_on: str = ""
    numbers: tuple[StudyNumber, ...] = ()


def student_t(degrees: int) -> float:
    """Returns the 97.5 % quantile of Student's t distribution; of so few seeds the interval is wide."""
    from scipy.stats import t

    return float(t.ppf(0.975, degrees))


def shown(value: float) -> str:
    """Returns a number of three digits.

    Example:
        >>> shown(0.012345), shown(600513.0), shown(float("nan"))
        ('0.0123', '600,513', 'not known')
    """
    if not math.isfinite(value):
        return "not known"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def number_of(title: str, values: Sequence[float], cells: Sequence[str], unit: str = "") -> StudyNumber:
    """Returns a number over seeds whose error within a seed is not known."""
    return StudyNumber(title=title, unit=unit, cells=tuple(cells), values=tuple(values))


def share_of(title: str, seeds: Sequence[Sequence[float]], cells: Sequence[str]) -> StudyNumber:
    """Returns the mean of values in [0, 1], as `mean_of` does."""
    return mean_of(title, seeds, cells).model_copy(update={"is_share": True})


def mean_of(title: str, seeds: Sequence[Sequence[float]], cells: Sequence[str], unit: str = "") -> StudyNumber:
    """Returns the mean over images in each seed, with its standard error.

    Arguments:
        title, unit: Of the number.
        seeds: For each seed a value of each image, at least one.
        cells: Where it comes from.
    """
    means = tuple(sum(each) / len(each) for each in seeds)
    errors = tuple(standard_error(each) for each in seeds)
    return StudyNumber(title=title, unit=unit, cells=tuple(cells), values=means, errors=errors)


def standard_error(values: Sequence[float]) -> float:
    """Returns the standard error of the mean of values; NaN of one alone."""
    count = len(values)
    if count < 2:
        return math.nan
    mean = sum(values) / count
    return math.sqrt(sum((each - mean) ** 2 for each in values) / (count - 1) / count)
