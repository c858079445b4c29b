"""What a statement is judged to be: numbers over seeds with their intervals, and a verdict. Imports no torch."""

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from pydantic import computed_field

from genprior.settings import Model, Number

Outcome = Literal["confirmed", "not confirmed", "it depends", "too little to say"]
CONFIRMED: Outcome = "confirmed"
REFUTED: Outcome = "not confirmed"
DEPENDS: Outcome = "it depends"
TOO_LITTLE: Outcome = "too little to say"
NORMAL = 1.96  # standard errors to either side of a mean, for 95 %
TINY = 1e-4  # below it zeros hide a number: it becomes one times a power of ten
MOST_DECIMALS = 6
RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


class StudyNumber(Model):
    """A number of one run, or of a difference, over seeds.

    Attributes:
        title: What it is.
        unit: Of the values; empty: a share or a ratio.
        cells: Names of the cells that it comes from.
        values: One for each seed.
        errors: Standard errors within each seed, over images; empty: not known.
        is_share: Whether values lie in [0, 1], and the interval therefore too.
        is_positive: Whether no value can lie below 0, and the interval therefore neither.
    """

    title: str
    unit: str = ""
    cells: tuple[str, ...] = ()
    values: tuple[Number, ...]
    errors: tuple[Number, ...] = ()
    is_share: bool = False
    is_positive: bool = False

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
        return math.hypot(*(each for each in (self.between, self.within) if each is not None))

    @computed_field
    @property
    def interval(self) -> tuple[Number, Number]:
        """Of 95 %, in trials of three seeds 95 to 98 %; NaN: not known.

        The chance of training has Student's t over seeds. That of images has the normal distribution: there are many of
        them. Each has its own reach, and both together have the root of the sum of their squares (Howe 1974).
        """
        over_seeds = None if self.between is None else student_t(len(self.values) - 1) * self.between
        over_images = None if self.within is None else NORMAL * self.within
        reach = math.hypot(*(each for each in (over_seeds, over_images) if each is not None))
        low, high = self.mean - reach, self.mean + reach
        if not math.isfinite(reach):
            return low, high
        low = max(0.0, low) if self.is_share or self.is_positive else low
        return low, min(1.0, high) if self.is_share else high

    @property
    def between(self) -> float | None:
        """Standard error of the mean by the chance of training; None: one seed does not tell."""
        count = len(self.values)
        if count < 2:
            return None
        return math.sqrt(sum((each - self.mean) ** 2 for each in self.values) / (count - 1) / count)

    @property
    def within(self) -> float | None:
        """The same by that of images, which all seeds share; None: not known, beside a known one of seeds."""
        if not self.errors:
            return None if len(self.values) > 1 else math.nan
        return math.sqrt(sum(each**2 for each in self.errors) / len(self.errors))

    @property
    def text(self) -> str:
        """Mean and interval with equally many decimals, as people read them."""
        unit = f" {self.unit}" if self.unit else ""
        low, high = self.interval
        is_same = not self.errors and len(set(self.values)) == 1  # in all seeds: there is no spread to tell
        if is_same or not (math.isfinite(low) and math.isfinite(high)):
            return f"{shown(self.mean)}{unit}"
        most = max(map(abs, (self.mean, low, high)))
        exponent = _exponent(most) if 0 < most < TINY else 0
        mean, first, last = _with_equal_decimals([each / 10.0**exponent for each in (self.mean, low, high)])
        return f"{mean} [{first}, {last}]{f' {_power(exponent)}' if exponent else ''}{unit}"

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


def student_t(degrees: float) -> float:
    """Returns the 97.5 % quantile of Student's t distribution; of so few seeds the interval is wide."""
    from scipy.stats import t

    return float(t.ppf(0.975, degrees))


def shown(value: float) -> str:
    """Returns a number of three digits; of more where three would make it 1, which it is not.

    Example:
        >>> shown(0.012345), shown(600513.0), shown(0.9997), shown(float("nan"))
        ('0.0123', '600,513', '0.9997', 'not known')
    """
    if not math.isfinite(value):
        return "not known"
    if 0 < abs(value) < TINY:
        exponent = _exponent(value)
        return f"{_without_zeros(rounded(value / 10.0**exponent, 2))} {_power(exponent)}"
    return _without_zeros(rounded(value, _decimals(value)))


def rounded(value: float, decimals: int) -> str:
    """Returns a finite number of so many decimals, half rounded up; what rounds to 0 has no sign.

    Example:
        >>> rounded(0.125, 2), rounded(-0.004, 2), rounded(1234.5, 0)
        ('0.13', '0.00', '1,235')
    """
    exact = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return f"{abs(exact) if exact.is_zero() else exact:,f}".replace("-", "\u2212")


def percent(share: float) -> str:
    """Returns a share as whole percent, half rounded up: what one gets by hand from three decimals.

    Example:
        >>> percent(0.245), percent(0.125), percent(-0.001)
        ('25 %', '13 %', '0 %')
    """
    exact = Decimal(repr(float(share))) * 100 if math.isfinite(share) else None
    return "not known" if exact is None else f"{rounded(float(exact), 0)} %"


def _with_equal_decimals(values: Sequence[float]) -> list[str]:
    """Mean, low and high: three digits of the largest, but no more than two of the reach, which is known no better."""
    mean, low, high = values
    if all(each == round(each) for each in values):
        return [rounded(each, 0) for each in values]
    decimals, reach = max(_decimals(max(map(abs, values))), _decimals(mean) if abs(mean) > 0.5 else 0), (high - low) / 2
    known = max(0, 1 - _exponent(reach)) if reach > 0 else decimals
    return [rounded(each, min(decimals, known)) for each in values]


def _decimals(value: float) -> int:
    """Those of three digits; more for a number that they would round to 1."""
    if value == 0:
        return 0
    decimals = max(0, 2 - _exponent(value))
    while abs(value) != 1 and decimals < MOST_DECIMALS and abs(round(value, decimals)) == 1:
        decimals += 1
    return decimals


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _power(exponent: int) -> str:
    return f"\u00d7 10{str(exponent).translate(RAISED)}"


def _without_zeros(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def number_of(
    title: str, values: Sequence[float], cells: Sequence[str], unit: str = "", *, is_positive: bool = False
) -> StudyNumber:
    """Returns a number over seeds whose error within a seed is not known."""
    return StudyNumber(title=title, unit=unit, cells=tuple(cells), values=tuple(values), is_positive=is_positive)


def share_of(title: str, seeds: Sequence[Sequence[float]], cells: Sequence[str]) -> StudyNumber:
    """Returns the mean of values in [0, 1], as `mean_of` does.

    Of values that are all 0 or 1 the error is the farther reach of Wilson's interval (1927), in units of `NORMAL`:
    where all images agree, a standard error would promise that all others agree, too.
    """
    found = mean_of(title, seeds, cells).model_copy(update={"is_share": True})
    if any(value not in (0, 1) for each in seeds for value in each):
        return found
    return found.model_copy(update={"errors": tuple(_wilson_reach(sum(each), len(each)) / NORMAL for each in seeds)})


def _wilson_reach(count: float, of: int) -> float:
    """How far Wilson's interval of a share reaches from it, on the farther side; NaN of one alone."""
    if of < 2:
        return math.nan
    share, z = count / of, NORMAL**2 / of
    middle = (share + z / 2) / (1 + z)
    reach = NORMAL / (1 + z) * math.sqrt(share * (1 - share) / of + z / (4 * of))
    return abs(share - middle) + reach


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
