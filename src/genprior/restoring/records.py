"""What stands in the files of a job: a row for each image, the summary, and the record that `degrade` leaves behind."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from statistics import fmean, median
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, JsonValue

from genprior.errors import GenpriorError
from genprior.restoring.job_settings import DegradeSettings, InvertSettings, JobSettings, RestoreSettings
from genprior.settings import Model, Result
from genprior.specs import Spec
from genprior.stored_files import read_model, signed
from genprior.writing import csv_text, write_text, written_text

S = TypeVar("S", bound="JobSummary")

MEASUREMENTS, RECORD, IMAGES, SUMMARY = "measurements.npy", "degradation.json", "images", "summary.json"
NUMBERS = ("error", "psnr", "ssim", "misfit", "energy", "weight")
COUNTS = ("starts", "iterations", "candidates", "deviation", "probability", "r_hat", "effective")
NAMED = 100  # failures that a summary names
Facts = dict[str, JsonValue]
BEFORE: Facts = {
    "draws": 0,
}  # what settings were when no flag named them; None where they are not here


def is_plain(name: str) -> bool:
    """Returns whether a name stays below the folder that it is joined to, which may have folders, on any system."""
    is_rooted = bool(PureWindowsPath(name).drive) or name.startswith(("/", "\\"))
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    return bool(parts) and not is_rooted and ".." not in parts and "\0" not in name


def _plain_path(name: str) -> str:
    if not is_plain(name):
        raise ValueError(f"{name!r} is no name of an image: expected a relative path without '..'")
    return name


ItemNumber = Annotated[int, Field(ge=0, lt=2**63)]  # tensors hold no more
PlainPath = Annotated[str, AfterValidator(_plain_path)]
"""A relative path from a file that somebody else may have written."""


class ImageRow(Model):
    """What was found of an image. A number that is not finite is None.

    Attributes:
        number: Of the image in its source; all that is random about it derives from this.
        name: Of the image.
        error: Root mean squared residual of the measurement, in its units.
        psnr, ssim: Against the truth, where it is known and can be looked at; in dB and at most 1.
        misfit, energy, weight: Of the data term and the prior, in nats, and of the latter's weight.
        starts, iterations, candidates: How many there were.
        stopped, verdict: Why the search ended, and how well the result fits.
        deviation: Root mean square over pixels of the standard deviation of draws, where there are any.
        probability: Of the first candidate among the draws.
        r_hat: Whether populations of draws agree (1); None where each draw is made by itself.
        effective: How many independent draws they are worth.
        note: What a user should know of it: another size, a mask that looks wrong.
        problem: Why there is no result.
    """

    number: ItemNumber
    name: PlainPath
    error: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    misfit: float | None = None
    energy: float | None = None
    weight: float | None = None
    starts: int | None = None
    iterations: int | None = None
    candidates: int | None = None
    stopped: str | None = None
    verdict: str | None = None
    deviation: float | None = None
    probability: float | None = None
    r_hat: float | None = None
    effective: float | None = None
    note: str | None = None
    problem: str | None = None


class PartRecord(Model):
    """What is known of a finished part.

    Attributes:
        version: Of this form.
        seconds: Of work.
        rows: Of its images.
        contents: What tells the contents of each item's inputs; older results do not have it.
        files: SHA-256 of each file of the part, by its path in the folder of results; older results have none.
    """

    version: Literal[1] = 1
    seconds: float
    rows: tuple[ImageRow, ...]
    contents: tuple[str, ...] = ()
    files: dict[PlainPath, str] = Field(default_factory=dict)


class JobRecord(Model):
    """What the results in a folder depend on.

    Attributes:
        genprior: The command that they are of.
        version: Of the package that began the job; it is not compared.
        form: Of this file.
        settings, source, files, run: All that must be the same where a job is resumed.
        listing: What tells the files of a folder: all processes of a job must see the same ones.
    """

    genprior: str
    version: str = Field(default_factory=lambda: _installed_version())
    form: int = 1
    settings: Facts
    source: Facts
    files: Facts = Field(default_factory=dict)
    run: Facts = Field(default_factory=dict)
    listing: Facts = Field(default_factory=dict)

    def differences(self, then: "JobRecord") -> list[str]:
        """Returns what differs from an earlier record, in words, but for the files of a folder."""
        pairs = ((self.settings, then.settings), (self.source, then.source), (self.files, then.files))
        return [line for now, before in (*pairs, (self.run, then.run)) for line in _differences(before, now)]


class Failure(Model):
    """An image without result, and why."""

    name: str
    problem: str


class JobSummary(Result):
    """What came of a whole job.

    Attributes:
        command: Whose.
        images, failed: How many there were.
        failures: The first of those that failed.
        notes: What a user should know of images that did not fail, and of how many.
        seconds: Of work, summed over processes.
        images_per_second: Of one process; None where no time was measured.
        files: SHA-256 of each file that was made of all parts, by its path in the folder; older results have none.
    """

    command: str
    settings: JobSettings
    images: int
    failed: int
    failures: tuple[Failure, ...]
    notes: dict[str, int] = Field(default_factory=dict)
    seconds: float
    images_per_second: float | None
    files: dict[PlainPath, str] = Field(default_factory=dict)


class RestoreSummary(JobSummary):
    """What came of inverting or restoring images: means, medians and counts over those that did not fail."""

    settings: InvertSettings | RestoreSettings
    mean: dict[str, float]
    median: dict[str, float]
    stopped_counts: dict[str, int]
    verdict_counts: dict[str, int]


class DegradeSummary(JobSummary):
    """What came of damaging images."""

    settings: DegradeSettings


class Degradation(DegradeSettings):
    """What damaged measurements, left beside them so that `restore` knows.

    Attributes:
        version: Of the form in which it is stored.
        names, numbers: Of the images, in the order of the measurements.
    """

    version: Literal[1] = 1
    names: tuple[PlainPath, ...]
    numbers: tuple[ItemNumber, ...]

    def check_operator(self, operator: Spec, seed: int, *, has_mask: bool = False) -> None:
        """Raises `GenpriorError` where the user names another operator, or another seed of it.

        Arguments:
            operator: What the user says damaged the images.
            seed: Of the operator.
            has_mask: A mask takes the place of the operator's options.
        """
        expected = Spec(self.operator.name, {}) if has_mask else self.operator
        if not operator.means(expected, self.tables()["operator"].load()):
            raise GenpriorError(f"the measurements were made with {self.operator}, got {operator}", argument="operator")
        if seed != self.seed:
            raise GenpriorError(f"the measurements were made with seed {self.seed}, got {seed}", argument="seed")

    def check_noise(self, noise: Spec) -> None:
        """Raises `GenpriorError` where the user names another noise."""
        if not noise.means(self.noise, self.tables()["noise"].load()):
            raise GenpriorError(f"the measurements were made with {self.noise}, got {noise}", argument="noise")


def read_degradation(path: Path) -> Degradation | None:
    """Returns the record beside an array of measurements, or a folder of their pictures; None where there is none.

    Raises:
        GenpriorError: It is damaged, or its names would lead out of a folder.
    """
    beside = path.parent / RECORD
    if path.name not in (MEASUREMENTS, IMAGES) or not beside.is_file():
        return None
    return read_model(beside, Degradation, "images")


def write_model(model: Model, path: Path, *, compact: bool = False, exclude: Iterable[str] = ()) -> None:
    """Writes strict JSON, whole or not at all; names of files that are no Unicode are kept, as pydantic's own does not.

    Arguments:
        model: What is written.
        path: Of the file.
        compact: On one line, without the fields that were never set.
        exclude: Fields that are left out.
    """
    values = model.model_dump(mode="json", exclude_unset=compact, exclude=set(exclude))
    values |= {name: dict(value) for name, value in model if name == "files" and name in values}  # keys, as they are
    write_text(path, signed(json.dumps(values, allow_nan=False), indent=None if compact else 2))


def write_table(rows: Iterable[ImageRow], path: Path) -> None:
    """Writes one line of comma-separated values for each row, whole or not at all; what is not known stays empty."""
    cells = ([_text(value) for _, value in row] for row in rows)
    with written_text(path) as file:
        file.writelines(csv_text(chain([list(ImageRow.model_fields)], cells)))


def readable(text: str) -> str:
    """Returns a text without characters that are no Unicode, as names of files may have them."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class Tally:
    """Rows as they pass by: counts them, and keeps the failures.

    Attributes:
        images: How many passed.
        failures: Those of them without result.
        notes: How many of the others have a note.
    """

    def __init__(self, rows: Iterable[ImageRow]) -> None:
        self.rows, self.images = rows, 0
        self.failures: list[Failure] = []
        self.notes = Counter[str]()

    def good(self) -> Iterator[ImageRow]:
        """Yields the rows of images that did not fail."""
        for row in self.rows:
            self.images += 1
            if row.problem is None:
                self.notes.update([] if row.note is None else [row.note])
                yield row
            else:
                self.failures.append(Failure(name=row.name, problem=row.problem))

    def summary(self, model: type[S], settings: JobSettings, seconds: float, more: Mapping[str, object]) -> S:
        """Returns a summary after the last row has passed.

        Arguments:
            model: Of the summary.
            settings: Of the job.
            seconds: Of work, summed over processes.
            more: What else the model says.
        """
        rate = self.images / seconds if seconds > 0 else None
        failures, many = tuple(self.failures[:NAMED]), len(self.failures)
        told: dict[str, object] = {"settings": settings, "images": self.images, "failed": many, "failures": failures}
        told["notes"] = dict(self.notes.most_common(NAMED))
        return model.model_validate({**told, "seconds": seconds, "images_per_second": rate, **more})


def restore_summary(command: str, settings: JobSettings, rows: Iterable[ImageRow], seconds: float) -> RestoreSummary:
    """Returns means, medians and counts over the rows of all images; arguments as `Tally.summary` has them."""
    numbers: dict[str, list[float]] = {name: [] for name in (*NUMBERS, *COUNTS)}
    stopped, verdicts, tally = Counter[str](), Counter[str](), Tally(rows)
    for row in tally.good():
        for name, value in row:
            if name in numbers and value is not None:
                numbers[name].append(value)
        stopped[row.stopped or ""] += 1
        verdicts[row.verdict or ""] += 1
    found = {
        "mean": {name: fmean(values) for name, values in numbers.items() if values},
        "median": {name: median(values) for name, values in numbers.items() if values},
        "stopped_counts": dict(stopped.most_common()),
        "verdict_counts": dict(verdicts.most_common()),
    }
    return tally.summary(RestoreSummary, settings, seconds, found | {"command": command})


def _differences(then: Facts, now: Facts) -> list[str]:
    before = BEFORE | then
    return [
        f"{name} {_word(before.get(name))} then, {_word(now[name])} now"
        for name in now
        if before.get(name) != now[name]
    ]


def _installed_version() -> str:
    """This package's version, for whoever reads the settings later."""
    try:
        return version("genprior")
    except PackageNotFoundError:  # run from its sources
        return "not installed"


def _word(value: object) -> str:
    return "not set" if value is None else str(value)


def _text(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
