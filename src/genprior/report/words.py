"""What a report says of runs in words and tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genprior.report.collect import DIAGNOSIS, Reported
from genprior.runs.step_log import Event, Setback

MOST_ALARMS = 8
BETTER = {"lower": "lower is better", "higher": "higher is better", "near floor": "like real data is best"}


@dataclass(frozen=True)
class Verdict:
    """What the diagnosis says of a run.

    Attributes:
        title: Of the verdict.
        kind: "good", "ill" or "unknown", for the colour.
        since: From when on, or empty.
        evidence: Sentences.
        remedy: What to do, or empty.
        signs: (name, text) of each sign that was found.
        alarms: What training itself said and when, oldest first.
        notes: What must stand beside the verdict.
        missing: What to do where there is no diagnosis, or empty.
    """

    title: str
    kind: str
    since: str
    evidence: list[str]
    remedy: str
    signs: list[tuple[str, str]]
    alarms: list[str]
    notes: list[str]
    missing: str


@dataclass(frozen=True)
class Table:
    """Cells of a table.

    Attributes:
        caption: What it holds.
        head: Of each column.
        rows: The first cell of each is its head.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]


def verdict_of(reported: Reported) -> Verdict:
    """Returns the diagnosis of a run, and the alarms of its training."""
    found = reported.diagnosis
    ill = bool(found.get("is_ill"))
    return Verdict(
        str(found.get("verdict") or "not diagnosed"),
        ("ill" if ill else "good") if found else "unknown",
        _since(found.get("since_images")),
        [str(line) for line in _list(found.get("evidence"))],
        str(found.get("remedy") or "") if ill else "",
        [_sign(sign) for sign in _list(found.get("signs")) if isinstance(sign, dict)],
        _alarms(reported.events),
        _notes(reported, found, "verdict is", "diagnose"),
        reported.missing.get(DIAGNOSIS, ""),
    )


def facts_of(reported: Reported) -> dict[str, str]:
    """Returns what a run is, by name."""
    config, environment = reported.run.config, reported.environment
    channels, height, width = environment.image_shape
    what = "points" if reported.is_points else f"images of {channels}x{height}x{width}"
    epochs = reported.images_seen / environment.images
    return {
        "model": f"{config.title}, preset {config.preset}",
        "data": f"{config.data}, {environment.images:,} {what}",
        "images seen": f"{reported.images_seen:,} ({epochs:.2f} epochs, {reported.step:,} steps)",
        "time": f"{reported.seconds / 60:.1f} minutes",
        "device": f"{environment.device or 'unknown'}, {config.precision}",
        "seed": str(config.seed),
    }


def summary_table(runs: Sequence[Reported]) -> Table:
    """Returns a column a run: model, verdict, cost and all scores."""
    facts = [{**facts_of(each), "verdict": verdict_of(each).title} for each in runs]
    rows = [[name, *(each[name] for each in facts)] for name in ("verdict", *facts_of(runs[0]))]
    found = [each.metrics.get("scores") or {} for each in runs]
    rows += [
        [title, *(_beside_real(own.get(name) or {}) for own in found)] for name, title in _score_titles(runs).items()
    ]
    caption = "Brackets: the interval that chance explains. Real: the same score of real data."
    if not _on_same_data(runs):
        caption += " The data differ: scores must not be compared along a row."
    return Table(caption, ["", *(each.name for each in runs)], rows)


def scores_table(reported: Reported) -> Table | None:
    """Returns each score of a run beside the same score of real data; None where nothing was measured."""
    found = reported.metrics
    if not found.get("scores"):
        return None
    rows = [
        [
            f"{score['title']}{_unit(score)}",
            _interval(score),
            _interval(score.get("floor") or {}),
            BETTER.get(score.get("better"), str(score.get("better"))),
        ]
        for score in found["scores"].values()
    ]
    return Table(_scores_caption(found), ["score", "samples", "real data in their place", "reads"], rows)


def notes_on_scores(reported: Reported) -> list[str]:
    """Returns what must stand beside the scores."""
    return _notes(reported, reported.metrics, "scores are", "evaluate")


def classes_caption(metrics: dict[str, Any]) -> str:
    """Returns the test of a histogram of classes against real data."""
    found, modes = metrics["classes"], metrics.get("modes") or {}
    caption = (
        f"Chi-square {number(found.get('chi_square'))} with "
        f"{found.get('degrees')} degrees of freedom, p = {number(found.get('p_value'))}; real data in place of samples "
        f"give {number(found.get('floor_chi_square'))}."
    )
    return f"{caption} Modes found: {modes['found']} of {modes['of']}." if modes else caption


def environment_table(reported: Reported) -> Table:
    """Returns where and with what training began."""
    rows = [[name, _plain(value)] for name, value in reported.environment.model_dump().items() if value is not None]
    return Table("Environment when training began", ["name", "value"], rows)


def config_table(reported: Reported) -> Table:
    """Returns everything that decided how the run was trained."""
    rows = [[name, _plain(value)] for name, value in reported.run.config.model_dump().items()]
    return Table("Everything that decides how the run is trained", ["setting", "value"], rows)


def warnings_on(runs: Sequence[Reported]) -> list[str]:
    """Returns why runs side by side must not be compared as if they were equal; nothing where they may be."""
    lines = []
    if not _on_same_data(runs):
        names = ", ".join(f"{each.name}: {each.run.config.data}" for each in runs)
        lines.append(f"These runs were trained on different data ({names}): do not compare their scores or losses.")
    judges = {(each.metrics.get("judge") or {}).get("hash") for each in runs if each.metrics}
    counts = {(each.metrics.get("samples"), each.metrics.get("real")) for each in runs if each.metrics}
    if len(judges) > 1:
        lines.append("The scores come from different judges: their values are not comparable.")
    if len(counts) > 1:
        lines.append(
            "The scores are of different numbers of images: distances between few images are larger by chance."
        )
    return lines


def number(value: object) -> str:
    """Returns a number of three digits, or what there is instead.

    Example:
        >>> number(0.012345), number(None), number(1234567.0)
        ('0.0123', 'not finite', '1,234,567')
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "not finite"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _notes(reported: Reported, found: dict[str, Any], what: str, command: str) -> list[str]:
    """The notes that a command wrote, and whether the run has gone on since."""
    notes, seen = [str(note) for note in _list(found.get("notes"))], found.get("images_seen")
    if isinstance(seen, int) and seen != reported.images_seen:
        again = f"`genprior {command} {reported.run.path}`"
        notes.append(f"The {what} from {seen:,} images seen, and the run has gone on since; {again} looks again.")
    return notes


def _on_same_data(runs: Sequence[Reported]) -> bool:
    return len({each.environment.data_sha256 for each in runs}) <= 1


def _score_titles(runs: Sequence[Reported]) -> dict[str, str]:
    return {
        name: f"{score['title']}{_unit(score)}"
        for each in runs
        for name, score in (each.metrics.get("scores") or {}).items()
    }


def _unit(score: dict[str, Any]) -> str:
    return f" ({score['unit']})" if score.get("unit") else ""


def _interval(estimate: dict[str, Any]) -> str:
    if not estimate:
        return "not measured"
    return f"{number(estimate.get('value'))} [{number(estimate.get('low'))}, {number(estimate.get('high'))}]"


def _beside_real(score: dict[str, Any]) -> str:
    floor = (score.get("floor") or {}).get("value")
    return _interval(score) + (f"; real {number(floor)}" if floor is not None else "")


def _scores_caption(found: dict[str, Any]) -> str:
    judge = found.get("judge") or {}
    told = f", told apart by a classifier of {judge.get('data')} (accuracy {number(judge.get('accuracy'))})"
    counts = f"{found.get('samples', 0):,} samples against {found.get('real', 0):,} real images"
    return f"{counts}{told if judge else ''}; in brackets the interval that chance explains"


def _since(images: object) -> str:
    return f"since {images:,} images seen" if isinstance(images, int) else ""


def _sign(sign: dict[str, Any]) -> tuple[str, str]:
    since = _since(sign.get("since_images"))
    return str(sign.get("name", "sign")), " ".join(filter(None, [str(sign.get("text", "")), since and f"({since})"]))


def _alarms(events: Sequence[Event]) -> list[str]:
    lines = [_alarm(event) for event in events]
    more = len(lines) - MOST_ALARMS
    return lines if more <= 0 else [*lines[:MOST_ALARMS], f"and {more} more"]


def _alarm(event: Event) -> str:
    """A line of the run's events: an alarm of the diagnosis, or values that were not finite."""
    if isinstance(event, Setback):
        return f"step {event.step}: {event.event}, not finite: {', '.join(event.not_finite)}"
    if event.event == "recovered":
        return f"step {event.step}: recovered"
    return f"step {event.step}, {event.images_seen:,} images: {event.verdict}. {event.message}"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(value: object) -> str:
    if value is None:
        return "not set"
    return " x ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
