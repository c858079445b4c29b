"""What a calibration is asked and returns: settings, what each level found, the verdict, and their words. No torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, computed_field, model_validator

from genprior.errors import GenpriorError
from genprior.settings import DataRoot, Model, Number, Result, RunFolder, Seed, Settings, Threads
from genprior.specs import Spec, Table

CALIBRATION = "calibration.json"
FALSE_ALARMS = 0.005  # of a faultless case, by all tests together
QUESTIONS = 4  # sampler, operator, noise and prior: each is called faulty with a quarter of that probability
ALARM = FALSE_ALARMS / QUESTIONS
CENTRED = 0.05  # a factor so near to 1 is not what is wrong
OF_WIDTHS = ("pixels in intervals", "balls")  # tests that look at widths, at those of other shares than 90 %, too
Culprit = Literal["sampler", "operator", "noise level", "prior"]


class CalibrationSettings(Settings):
    """Settings of a calibration."""

    run: RunFolder
    operator: Annotated[
        Spec, Field(description="What measures images:"), Table("genprior.restoration.operators", "OPERATORS")
    ]
    noise: Annotated[
        Spec, Field(description="Noise of a known level above 0:"), Table("genprior.restoration.noise", "NOISES")
    ]
    images: Annotated[
        str | None, Field(description="Images that were not learned; default: those that the run holds out.")
    ] = None
    measurements: Annotated[
        Path | None,
        Field(description="A .npy file of real measurements of --images, in their order; default: simulated ones."),
    ] = None
    preset: Annotated[
        str,
        Field(description="How flow matching makes its draws:"),
        Table("genprior.restoration.search_settings", "SEARCHES"),
    ] = "default"
    draws: Annotated[int, Field(ge=9, le=1000, description="Draws of each posterior.")] = 64
    count: Annotated[int, Field(ge=10, le=10_000, description="Truths of either kind.")] = 100
    repair: Annotated[
        bool, Field(description="Find factors of intervals that hold on held-out images, and what they cost.")
    ] = False
    seed: Seed = 0
    threads: Threads = None
    data_root: DataRoot = None

    @model_validator(mode="after")
    def _check_together(self) -> "CalibrationSettings":
        if self.measurements is not None and self.images is None:
            raise GenpriorError("needs the images that were measured: give --images, too", argument="measurements")
        return self


class RankTest(Model):
    """One test of truths among draws.

    Attributes:
        z: Deviations of what chance gives, by which the truths stand out.
        p: Probability that chance gives as much.
    """

    z: Number
    p: float


class RankCurve(Model):
    """The distribution function of ranks, less that of even ones.

    Attributes:
        members: Draws and the truth.
        places: Numbers of places, below which ranks are counted.
        differences: Of each feature at each place.
        low, high: Where all of one feature lies in 95 of 100 cases without a fault.
    """

    members: int
    places: tuple[int, ...]
    differences: tuple[tuple[float, ...], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Reliability(Model):
    """How many truths intervals hold.

    Attributes:
        nominal: Shares that they promise.
        pixels: Shares of the pixels that they hold.
        error: Standard error of each of these.
        balls: Shares of the truths that are no farther from the mean than so many draws are.
        random_points: The same of distances from random points (TARP).
    """

    nominal: tuple[float, ...]
    pixels: tuple[float, ...]
    error: tuple[Number, ...]
    balls: tuple[float, ...]
    random_points: tuple[float, ...]


class CalibrationLevel(Model):
    """What truths of one kind said.

    Attributes:
        count: Truths.
        tests: By name.
        p: Of all tests together.
        factor: By which intervals of pixels would have to be widened; below 1 they are too wide.
        ball_factor: The same of balls around the mean, in which the pixels that vary most count most.
        curves: By group of features.
        reliability: Of intervals, balls and distances.
        not_mixed: Truths whose draws did not mix, by the sampler's own account; they are judged with the others. None:
            each draw is made by itself, and nothing has to mix.
    """

    count: int
    tests: dict[str, RankTest]
    p: float
    factor: Number
    ball_factor: Number
    curves: dict[str, RankCurve]
    reliability: Reliability
    not_mixed: int | None = None

    @property
    def needed(self) -> float:
        """The larger factor: with it both hold what they promise."""
        return max(self.factor, self.ball_factor)

    @property
    def strongest(self) -> str:
        """The name of the test that stands out most."""
        return max(self.tests, key=lambda name: self.tests[name].z)


class ResidualFindings(Model):
    """What is left of measurements of known images; `residual_tests.Residuals` has the meaning."""

    size: Number
    size_p: float
    image_p: float
    neighbours: Number | None
    neighbours_p: float
    filled: float


class RepairFindings(Model):
    """Factors from one half of the held-out images, checked on the other; `Conformal` has the meaning."""

    factor: Number
    ball_factor: Number
    nominal: float
    before: float
    after: float
    balls_before: float
    balls_after: float
    cost: Number


class Calibration(Result):
    """What a calibration found.

    Attributes:
        own: Truths drawn from the prior itself.
        held_out: Held-out images; None: not measured yet.
        residuals: Of the measurements of held-out images.
        repair: Where it was asked for.
        weights: Hash of the weights that were used.
        notes: What must stand beside the verdict.
    """

    settings: CalibrationSettings
    own: CalibrationLevel | None = None
    held_out: CalibrationLevel | None = None
    residuals: ResidualFindings | None = None
    repair: RepairFindings | None = None
    weights: str = ""
    notes: tuple[str, ...] = ()

    @computed_field
    @property
    def culprit(self) -> Culprit | None:
        """What is at fault; the first of sampler, operator, noise and prior: what follows is not told apart then."""
        return culprit_of(self.own, self.residuals, self.held_out)

    @computed_field
    @property
    def verdict(self) -> str:
        """Calibrated, overconfident, timid, misshapen or off-centre."""
        judged = self.own if self.culprit == "sampler" else self.held_out
        return "not known" if judged is None else "calibrated" if self.culprit is None else _manner(judged)


def culprit_of(
    own: CalibrationLevel | None, residuals: ResidualFindings | None, held_out: CalibrationLevel | None
) -> Culprit | None:
    """Returns what is at fault; None where nothing is, as far as it is measured.

    All four are right with probability 1 - `FALSE_ALARMS`, at least, where nothing is at fault.
    """
    if own is not None and own.p <= ALARM:
        return "sampler"
    if residuals is not None and (residuals.filled > 0 or residuals.image_p <= ALARM):
        return "operator"
    if residuals is not None and min(residuals.size_p, residuals.neighbours_p) <= ALARM / 2:
        return "noise level"
    return "prior" if held_out is not None and held_out.p <= ALARM else None


def _manner(level: CalibrationLevel) -> str:
    if abs(level.needed - 1) <= CENTRED:
        return "misshapen" if level.strongest.startswith(OF_WIDTHS) else "off-centre"
    return "overconfident" if level.needed > 1 else "timid"


def calibration_lines(found: Calibration) -> list[str]:
    """Returns the verdict with its evidence, what a repair costs, and notes."""
    from genprior.runs.experiment import aligned

    levels = {"truths from the prior": found.own, "held-out images": found.held_out}
    rows = [["", "p of all tests", "intervals to be widened by", "balls by", "stands out most"]]
    for name, level in levels.items():
        if level is not None:
            test = level.tests[level.strongest]
            factors = [f"{level.factor:.2f} times", f"{level.ball_factor:.2f} times"]
            rows.append([name, f"{level.p:.2g}", *factors, f"{level.strongest}, z {test.z:.1f}"])
    return [
        verdict_line(found),
        *(f"  {line}" for line in aligned(rows)),
        *_coverage_lines(levels),
        *_mixing_lines(levels),
        *_residual_lines(found.residuals),
        *_repair_lines(found.repair),
        *(f"  note: {note}" for note in found.notes),
    ]


def verdict_line(found: Calibration) -> str:
    """Returns the verdict in a line: how wrong intervals are, and whose fault it is."""
    preset = "" if found.settings.preset == "default" else f", preset {found.settings.preset}"
    task = f"{found.settings.operator}, {found.settings.noise}{preset}"
    if found.culprit is None:
        return f"{task}: {found.verdict}; faultless cases are called faulty in {FALSE_ALARMS:.1%}"
    judged = found.own if found.culprit == "sampler" else found.held_out
    factor = "" if judged is None else f"; what is said to hold 90 % would have to be {judged.needed:.2f} times as wide"
    return f"{task}: {found.verdict}, culprit: {found.culprit}{factor}"


def _coverage_lines(levels: dict[str, CalibrationLevel | None]) -> list[str]:
    lines = []
    for name, level in levels.items():
        if level is not None:
            known = zip(level.reliability.nominal, level.reliability.pixels, strict=True)
            lines.append(f"  {name}: " + ", ".join(f"{own:.1%} of pixels in {each:.1%}" for each, own in known))
    return lines


def _mixing_lines(levels: dict[str, CalibrationLevel | None]) -> list[str]:
    return [
        f"  {name}: draws of {level.not_mixed} of {level.count} did not mix, and are not to be trusted"
        for name, level in levels.items()
        if level is not None and level.not_mixed
    ]


def _residual_lines(found: ResidualFindings | None) -> list[str]:
    if found is None:
        return []
    near = "" if found.neighbours is None else f"; neighbours {found.neighbours:+.3f}, p {found.neighbours_p:.2g}"
    filled = f"; {found.filled:.1%} of the blank values are not blank" if found.filled else ""
    return [
        f"  residuals: {found.size:.3f} of the noise level, p {found.size_p:.2g}; of the image in them, p "
        f"{found.image_p:.2g}{near}{filled}"
    ]


def _repair_lines(found: RepairFindings | None) -> list[str]:
    if found is None:
        return []
    return [
        f"  repair: pixel intervals {found.factor:.2f} times as wide hold {found.after:.1%} of the pixels of other "
        f"images (before {found.before:.1%}, promised {found.nominal:.1%}); they cost {found.cost:.2f} times the width",
        f"  repair: balls {found.ball_factor:.2f} times as large hold {found.balls_after:.1%} of other images (before "
        f"{found.balls_before:.1%})",
    ]
