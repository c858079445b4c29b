"""A study as it stands in its study.json: statements, runs, and another study beside it. Imports no torch."""

from genprior.settings import Model, Number, Result
from genprior.study.study_results import StudyFinding
from genprior.study.study_settings import StudySettings


class JudgedStatement(Model):
    """A statement with its verdict, as it stands in study.json.

    Attributes:
        name: In the table of statements.
        title, claim: What it says, short and whole.
        finding: Its verdict and numbers.
        advice: What to do about it.
    """

    name: str
    title: str
    claim: str
    finding: StudyFinding
    advice: str


class StudiedRun(Model):
    """A run of a study.

    Attributes:
        cell, seed: What it is called.
        folder: Relative to the study's.
        command: That makes it again.
        images_seen, steps, minutes: Of its training; a step of a GAN updates its generator once.
        failed: Why there is nothing to measure; empty: nothing is wrong.
    """

    cell: str
    seed: int
    folder: str
    command: str
    images_seen: int = 0
    steps: int = 0
    minutes: Number = 0.0
    failed: str = ""


class ComparedNumber(Model):
    """A number of two studies side by side."""

    statement: str
    title: str
    ours: str
    theirs: str
    is_beyond_chance: bool | None


class StudyComparison(Model):
    """Two studies side by side.

    Attributes:
        other: What the other one asked.
        verdicts: Statements whose verdicts differ, as (name, ours, theirs).
        numbers: All numbers that both have; None where chance is not known.
        unmatched: How many numbers of this study the other one has not.
        is_of_one_seed: Whether one of both has one seed: then chance is that of the judged images alone.
    """

    other: str
    verdicts: tuple[tuple[str, str, str], ...]
    numbers: tuple[ComparedNumber, ...]
    unmatched: int = 0
    is_of_one_seed: bool = False


class StudyResult(Result):
    """A study, as it stands in its study.json.

    Attributes:
        data: What the images are, in words.
        made: With which version, when, and on what processor, in words; empty in older files.
        statements: In the order of the page, those that are judged so far.
        runs: All runs, with what makes each again.
        comparison: With another study, where one was named.
    """

    settings: StudySettings
    data: str = ""
    made: str = ""
    statements: tuple[JudgedStatement, ...] = ()
    runs: tuple[StudiedRun, ...] = ()
    comparison: StudyComparison | None = None
