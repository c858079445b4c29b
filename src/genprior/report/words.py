"""What a report says of runs in words and tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genprior.report.collect import Reported
from genprior.runs.kept_base import base_sha256
from genprior.runs.run_events import Damage, Event, Setback
from genprior.scoring.scoring_results import (
    ClassHistogram,
    DiagnosisResult,
    Evaluation,
    FoundModes,
    ScoreBesideFloor,
    ScoreInterval,
)

MOST_ALARMS = 8  # on the page
NOT_SO = {"chosen": "by hand", "forked": "no"}  # of facts that some runs have and others have not
UNKNOWN, MISSING = "not diagnosed", "not measured"
BETTER = {"lower": "lower is better", "higher": "higher is better", "near floor": "like real data is best"}


@dataclass(frozen=True)
class PageTable:
    """Cells of a table.

    Attributes:
        caption: What it holds.
        head: Of each column.
        rows: The first cell of each is its head.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]


def facts_of(reported: Reported) -> dict[str, str]:
    """Returns what a run is, by name."""
    config, environment = reported.run.config, reported.environment
    origin = config.forked_from
    channels, height, width = environment.image_shape
    what = "points" if reported.is_points else f"images of {channels}x{height}x{width}"
    epochs = reported.images_seen / environment.images
    return {
        "model": f"{config.title}, preset {config.preset}",
        "data": f"{config.data}, {environment.images:,} {what}",
        "images seen": f"{reported.images_seen:,} ({epochs:.2f} epochs, {reported.step:,} steps)",
        "time": f"{reported.seconds / 60:.1f} minutes",
        "device": f"{environment.device or 'unknown'}, {config.arithmetic}",
        "seed": str(config.seed),
        **({"chosen": reported.chosen} if reported.chosen else {}),
        **({} if origin is None else {origin.how: origin.in_words()}),
    }


def summary_table(runs: Sequence[Reported]) -> PageTable:
    """Returns a column a run: model, verdict, cost and all scores."""
    verdicts = [UNKNOWN if each.diagnosis is None else each.diagnosis.verdict for each in runs]
    facts = [{"verdict": verdict, **facts_of(each)} for each, verdict in zip(runs, verdicts, strict=True)]
    names = dict.fromkeys(name for each in facts for name in each)
    rows = [[name, *(each.get(name, NOT_SO.get(name, "")) for each in facts)] for name in names]
    found = [{} if each.metrics is None else each.metrics.scores for each in runs]
    titles = {name: _with_unit(score) for own in found for name, score in own.items()}
    for name, title in titles.items():
        cells = (_beside_real(own[name]) if name in own else MISSING for own in found)
        rows.append([title, *cells])
    caption = "Brackets: the interval that chance explains. Real: the same score of real data."
    if not _on_same_data(runs):
        caption += " The data differ: scores must not be compared along a row."
    return PageTable(caption, ["", *(each.name for each in runs)], rows)


def scores_table(found: Evaluation) -> PageTable:
    """Returns each score of a run beside the same score of real data."""
    counts = f"{found.samples:,} samples against {found.real:,} real images"
    judge = f"judge: {found.judge.title} ({found.judge.right_in} {number(found.judge.accuracy)})"
    caption = f"{counts}, {judge}; in brackets the interval that chance explains"
    rows = [
        [_with_unit(score), _interval(score), _interval(score.floor), BETTER[score.better]]
        for score in found.scores.values()
    ]
    return PageTable(caption, ["score", "samples", "real data in their place", "reads"], rows)


def notes_on(reported: Reported, found: Evaluation | DiagnosisResult | None) -> list[str]:
    """Returns the notes in a result of the run, and whether the run is another one since it was made."""
    if found is None:
        return []
    what, command = ("scores are", "evaluate") if found is reported.metrics else ("verdict is", "diagnose")
    again = f"`genprior {command} {reported.run.path}`"
    old = f"The {what} from {found.images_seen:,} images seen; the run was trained further since. Run {again} again."
    seen = reported.images_seen
    if found is reported.metrics and reported.sampled_at is not None:
        seen = reported.sampled_at
    begun = f"The {what} of samples that began elsewhere: `genprior train base` came since. Run {again} again."
    is_old, is_moved = found.images_seen != seen, found.base_sha256 != base_sha256(reported.run.path)
    return [*found.notes, *([old] if is_old else []), *([begun] if is_moved else [])]


def alarm(event: Event) -> str:
    """Returns the line of an event: an alarm of the diagnosis or its end, or values that were not finite."""
    if isinstance(event, Setback):
        return f"step {event.step}: {event.event}, not finite: {', '.join(event.not_finite)}"
    if isinstance(event, Damage):
        return f"resumed at step {event.step} with a damaged record: {event.message}"
    if event.event == "recovered":
        return f"step {event.step}: recovered"
    return f"step {event.step}, {event.images_seen:,} images: {event.verdict}. {event.message}"


def classes_caption(classes: ClassHistogram, modes: FoundModes | None) -> str:
    """Returns the test of a histogram of classes against real data."""
    held = f" Modes found: {modes.found} of {modes.of}." if modes is not None else ""
    return (
        f"Chi-square {number(classes.chi_square)} with {classes.degrees} degrees of freedom, p = "
        f"{number(classes.p_value)}; real data in place of samples give {number(classes.floor_chi_square)}.{held}"
    )


def warnings_on(runs: Sequence[Reported]) -> list[str]:
    """Returns whose record is damaged, and why runs side by side must not be compared as if they were equal."""
    lines = [f"The record of {each.name} is damaged: {each.fault}." for each in runs if each.fault is not None]
    if not _on_same_data(runs):
        names = ", ".join(f"{each.name}: {each.run.config.data}" for each in runs)
        lines.append(f"These runs were trained on different data ({names}): do not compare their scores or losses.")
    found = [each.metrics for each in runs if each.metrics is not None]
    if len({each.judge.hash for each in found}) > 1:
        lines.append("The scores come from different judges: their values are not comparable.")
    if len({(each.samples, each.real) for each in found}) > 1:
        lines.append("The scores are of different numbers of images: of few images, distances are larger by chance.")
    return lines


def number(value: float) -> str:
    """Returns a number of three digits, or what there is instead.

    Example:
        >>> number(0.012345), number(math.nan), number(1234567.0)
        ('0.0123', 'not finite', '1,234,567')
    """
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _on_same_data(runs: Sequence[Reported]) -> bool:
    return len({each.environment.data_sha256 for each in runs}) <= 1


def _with_unit(score: ScoreBesideFloor) -> str:
    return f"{score.title} ({score.unit})" if score.unit else score.title


def _interval(score: ScoreInterval) -> str:
    return f"{number(score.value)} [{number(score.low)}, {number(score.high)}]"


def _beside_real(score: ScoreBesideFloor) -> str:
    return f"{_interval(score)}; real {number(score.floor.value)}"
