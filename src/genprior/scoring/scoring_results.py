"""Settings and results of the experiments on trained runs, as they are stored. Importing this imports no torch."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from genprior.settings import (
    DataRoot,
    Model,
    Moved,
    Number,
    Result,
    RunFolder,
    RunFolders,
    Seed,
    Settings,
    Threads,
    Weights,
)

METRICS, DIAGNOSIS, COMPARISON = "metrics.json", "diagnosis.json", "comparison.json"


HeldOut = Annotated[
    str | None, Field(description="Images to judge on; default those that the (first) run has not learned.")
]
JudgedBy = Annotated[
    str | None,
    Field(description="Labelled images whose classifier judges; default the run's data, labelled or not."),
]


class EvaluationSettings(Settings):
    """What decides the scores of a run's samples."""

    run: RunFolder
    count: Annotated[int, Field(description="Samples, and real images of either kind beside them.")] = 10_000
    held_out: HeldOut = None
    judge: JudgedBy = None
    inversions: Annotated[int, Field(description="Held-out and training images to invert; 0 for none.")] = 100
    weights: Weights = "auto"
    seed: Seed = 0
    threads: Threads = None
    data: Moved = None
    data_root: DataRoot = None


class ScoreInterval(Model):
    """A score with its interval of 95 %: low <= value <= high."""

    value: Number
    low: Number
    high: Number

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


class ScoreBesideFloor(ScoreInterval):
    """A score of samples, in its unit; the floor is the same score of real images in place of the samples."""

    title: str
    floor: ScoreInterval
    better: Literal["lower", "higher", "near floor"]
    unit: str


class ClassHistogram(Model):
    """How samples are spread over the judge's classes.

    Attributes:
        names: Of the classes.
        counts: Samples in each.
        expected: As many real images would have so many.
        chi_square, degrees, p_value: Of the test that samples and training images have the same classes.
        floor_chi_square: Of held-out images in place of samples.
    """

    names: list[str]
    counts: list[int]
    expected: list[Number]
    chi_square: Number
    degrees: int
    p_value: Number
    floor_chi_square: Number

    @model_validator(mode="after")
    def _same_classes(self) -> Self:
        if not len(self.names) == len(self.counts) == len(self.expected):
            raise ValueError("expected as many counts as names")
        return self


class FoundModes(Model):
    """How many modes the samples hold, of how many there are in the data."""

    found: int
    of: int


class JudgeRecord(Model):
    """What judged.

    Attributes:
        data: What it learned from.
        accuracy: On other images, in [0, 1]: of classes, or of the orders of quarters by which features were learned.
        hash: The SHA-256 of its weights.
        kind: A name in `genprior.judges.trained_judge.JUDGES`.
    """

    data: str
    accuracy: Number
    hash: str
    kind: Literal["classifier", "jigsaw"] = "classifier"

    @property
    def title(self) -> str:
        """What it is and of which data, in words."""
        what = {"classifier": "classifier of", "jigsaw": "features learned without labels from"}
        return f"{what[self.kind]} {self.data}"

    @property
    def right_in(self) -> str:
        """What its accuracy is one of, in words."""
        return {"classifier": "accuracy", "jigsaw": "mixed quarters put right"}[self.kind]


class Evaluation(Result):
    """The scores of a run's samples, as they stand in its metrics.json.

    Attributes:
        images_seen: Of the checkpoint.
        samples, real: How many samples, and how many held-out images.
        held_out: Name of the held-out images.
        held_out_learned: How many of all these the run has learned, pixel by pixel; None: not known.
        judge: What judged.
        scores: By the names in `genprior.evaluation.scores.SCORES`; those that need more images are left out.
        classes: Of the samples; None where the judge knows no classes.
        modes: Classes that the samples hold; None likewise.
        notes: Lines that must stand beside the scores.
        evidence_sha256: Of the features that were compared.
        base_sha256: Of the base that samples began at; "" where there was none.
    """

    settings: EvaluationSettings
    images_seen: int
    samples: int
    real: int
    held_out: str
    held_out_learned: int | None = None
    judge: JudgeRecord
    scores: dict[str, ScoreBesideFloor]
    classes: ClassHistogram | None
    modes: FoundModes | None
    notes: list[str]
    evidence_sha256: str = ""
    base_sha256: str = ""


class DiagnosisSettings(Settings):
    """What decides the verdict on a run."""

    run: RunFolder
    judge: JudgedBy = None
    threads: Threads = None
    data: Moved = None
    data_root: DataRoot = None


class SignRecord(Model):
    """An ill part of training: its sign, what was seen when it began, and images seen at its two ends."""

    name: str
    since_images: int
    until_images: int
    text: str


class DiagnosisResult(Result):
    """The verdict on a run, as it stands in its diagnosis.json.

    Attributes:
        verdict: One of `genprior.diagnosis.health_verdict.VERDICTS`.
        is_ill: Whether anything is wrong.
        images_seen: Of the checkpoint.
        since_images: Images seen when the illness began; None: not known.
        evidence: Sentences, the decisive one first.
        remedy: What to do.
        signs: All ill parts of training, those that are over included.
        notes: What could not be looked at, and why.
        scores: That the verdict stands on; None where none could be measured.
        base_sha256: Of the base that samples began at; "" where there was none.
    """

    settings: DiagnosisSettings
    verdict: str
    is_ill: bool
    images_seen: int
    since_images: int | None
    evidence: list[str]
    remedy: str
    signs: list[SignRecord]
    notes: list[str]
    scores: Evaluation | None = None
    base_sha256: str = ""


class ComparisonSettings(Settings):
    """What decides a comparison of runs."""

    runs: RunFolders
    out: Annotated[Path, Field(description="Folder of table, numbers and figure.")] = Path("comparison")
    held_out: HeldOut = None
    count: Annotated[int, Field(description="How many of them, at least 2.")] = 100
    draws: Annotated[
        int,
        Field(
            ge=0, le=1000, description="Draws of each posterior: their mean, and whether balls of them hold the truth."
        ),
    ] = 0
    weights: Weights = "auto"
    seed: Seed = 0
    threads: Threads = None
    data_root: DataRoot = None


class DrawnScore(Model):
    """What means of draws are worth.

    Attributes:
        psnr, standard_error: Of the means, in dB.
        held: Share of the truths inside balls around the means.
        promised: What should be inside.
        disagree: Draws of how many images did not agree with one another.
        seconds: An image.
    """

    psnr: Number
    standard_error: Number
    held: Number
    promised: Number
    disagree: int
    seconds: Number


class RestorationScore(Model):
    """PSNR of restored images in dB, its standard error, and seconds an image; the same of draws, if any were asked."""

    psnr: Number
    standard_error: Number
    seconds: Number
    drawn: DrawnScore | None = None


class ComparedRun(Model):
    """What was measured of a run.

    Attributes:
        run, family, data: Its folder, what was trained, and on what.
        images_seen, training_minutes: Of the checkpoint.
        bits_per_dim, nats: Mean log-likelihood of the held-out images; None where the model has none.
        likelihood: How it was found, or "none".
        images: Held-out images.
        reconstruction_error, reconstruction_standard_error: Mean squared error per value of inverting them.
        inversion_seconds: For an image.
        restoration: Of each kind of damage, by its title.
    """

    run: str
    family: str
    data: str
    images_seen: int
    training_minutes: Number
    bits_per_dim: float | None
    nats: float | None
    likelihood: str
    images: int
    reconstruction_error: Number
    reconstruction_standard_error: Number
    inversion_seconds: Number
    restoration: dict[str, RestorationScore]


class Comparison(Result):
    """Runs side by side, in the order of the settings; of an interrupted comparison those that are measured."""

    settings: ComparisonSettings
    runs: list[ComparedRun]
