"""Tables of mode counts: means over seeds, what a perfect model gets, and published rows beside ours."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from genprior.evaluation.mode_counts import DATA, UNIFORM
from genprior.modes.published import PUBLISHED, Published
from genprior.modes.remedies import BASES, PLAIN, ROWS
from genprior.runs.files import write_json, write_text
from genprior.settings import strict

NONE = "-"


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        mean: Over them.
        deviation: Standard deviation from seed to seed; None for one seed.
        is_bound: Whether some seeds have no more than a lower bound, and so the mean is one.
    """

    mean: float
    deviation: float | None
    is_bound: bool = False


@dataclass(frozen=True)
class Summary:
    """A row over its seeds; None where no seed tells.

    Attributes:
        row: Name in `ROWS`.
        title, source: What it is, and where it comes from.
        seeds: What was found of each, as in their `modes.json`.
        failed: How many seeds ended in values that are not finite; they count nowhere else.
        modes: Modes found.
        modes_surely: Those of samples of high quality.
        high_quality: Share of samples, in [0, 1].
        divergence, divergence_floor, divergence_debiased: To the uniform distribution, in nats.
        divergence_to_data: To the frequencies of the data; None for points, where that is the same.
        support: Number of different samples, by the birthday paradox.
        images_per_core_second: Images in training for each second of a core.
        speed: That, in units of the plain row's.
        notes: What must stand beside the numbers.
    """

    row: str
    title: str
    source: str
    seeds: tuple[dict[str, Any], ...]
    failed: int
    modes: Spread | None
    modes_surely: Spread | None
    high_quality: Spread | None
    divergence: Spread | None
    divergence_floor: Spread | None
    divergence_debiased: Spread | None
    divergence_to_data: Spread | None
    support: Spread | None
    images_per_core_second: Spread | None
    speed: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """All rows of a data set.

    Attributes:
        data: Its name.
        of: Modes that there are; None while nothing is measured.
        samples: Of each seed.
        ceiling: Share of high quality that a perfect model reaches.
        perfect: Divergence to the uniform distribution that a perfect model gets at as many samples.
        support: Number of different real samples, by the birthday paradox.
        rows: Ours.
        published: Others', from papers.
        left_out: Names of cells in the folder that were made with settings other than those of today.
    """

    data: str
    of: int | None
    samples: int | None
    ceiling: float | None
    perfect: float | None
    support: Spread | None
    rows: tuple[Summary, ...]
    published: tuple[Published, ...]
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns all of it for strict JSON."""
        values: dict[str, Any] = strict(asdict(self))
        return values


def table_of(data: str, rows: Sequence[str], found: Sequence[dict[str, Any]], left_out: Sequence[str] = ()) -> Table:
    """Returns the table of a data set.

    Arguments:
        data: Its name.
        rows: Names of `ROWS`, in the order of the table.
        found: What was found of cells, as in their `modes.json`.
        left_out: Names of cells that do not belong in it.
    """
    plain = _spread([each for each in found if each["row"] == PLAIN], _rate)
    summaries = tuple(_summary(data, row, [each for each in found if each["row"] == row], plain) for row in rows)
    counted = [each["modes"] for each in found if each["modes"] is not None]
    first = counted[0] if counted else None
    return Table(
        data,
        None if first is None else first["of"],
        None if first is None else first["samples"],
        None if first is None else first["ceiling"],
        None if first is None else first["perfect"],
        None if first is None else _sizes([first], "real"),
        summaries,
        PUBLISHED.get(data, ()),
        tuple(left_out),
    )


def _summary(data: str, row: str, found: Sequence[dict[str, Any]], plain: Spread | None) -> Summary:
    ended = [each for each in found if each["modes"] is not None]
    rate = _spread(found, _rate)
    notes = [note for each in found for note in each["notes"]]
    notes += [f"seed {each['seed']}: {each['failed']}" for each in found if each["failed"] is not None]
    return Summary(
        row=row,
        title=ROWS[row].title,
        source=ROWS[row].source,
        seeds=tuple(sorted(found, key=lambda each: int(each["seed"]))),
        failed=len(found) - len(ended),
        modes=_spread(ended, lambda each: each["modes"]["found"]),
        modes_surely=_spread(ended, lambda each: each["modes"]["found_surely"]),
        high_quality=_spread(ended, lambda each: each["modes"]["high_quality"]),
        divergence=_spread(ended, _of_divergence(UNIFORM, "raw")),
        divergence_floor=_spread(ended, _of_divergence(UNIFORM, "floor")),
        divergence_debiased=_spread(ended, _of_divergence(UNIFORM, "debiased")),
        divergence_to_data=_spread(ended, _of_divergence(DATA, "raw")),
        support=_sizes([each["modes"] for each in ended], "generated"),
        images_per_core_second=rate,
        speed=None if rate is None or plain is None else rate.mean / plain.mean,
        notes=(*_budget(data, row), *_alike(ended), *dict.fromkeys(notes)),
    )


def _budget(data: str, row: str) -> list[str]:
    """What must be known to compare a row that is trained for longer than the others."""
    usual, own = BASES[data].images(PLAIN), BASES[data].images(row)
    return [] if own == usual else [f"trained on {own:,} images, rows without such a line on {usual:,}"]


def _alike(ended: Sequence[dict[str, Any]]) -> list[str]:
    """What must stand beside the numbers of a row: of one seed, since they differ in figures that the table has."""
    noted = [each for each in ended if each["modes"]["note"]]
    if not noted:
        return []
    first = min(noted, key=lambda each: int(each["seed"]))
    which = f"{len(noted)} of {len(ended)} seeds, such as seed {first['seed']}: " if len(ended) > 1 else ""
    return [f"{which}{first['modes']['note']}"]


Reading = Callable[[dict[str, Any]], float | None]


def _rate(each: dict[str, Any]) -> float | None:
    rate: float | None = each["images_per_core_second"]
    return rate


def _sizes(counted: Sequence[dict[str, Any]], of: str) -> Spread | None:
    """Of supports; where no two samples are near duplicates, the smallest size that this leaves probable."""
    supports = [each["support"][of] for each in counted]
    spread = _spread(supports, lambda each: float(each["low"] if each["size"] is None else each["size"]))
    return spread and replace(spread, is_bound=any(each["size"] is None for each in supports))


def _of_divergence(reference: str, name: str) -> Reading:
    def read(each: dict[str, Any]) -> float | None:
        divergence = each["modes"]["divergences"].get(reference)
        return None if divergence is None else float(divergence[name])

    return read


def _spread(found: Sequence[dict[str, Any]], read: Reading) -> Spread | None:
    values = [value for value in map(read, found) if value is not None]
    if not values:
        return None
    return Spread(mean(values), stdev(values) if len(values) > 1 else None)


# As text.


def lines_of(table: Table) -> tuple[list[list[str]], list[str]]:
    """Returns the table as cells, names first, and lines to stand below it."""
    sources = list(dict.fromkeys(each.source for each in table.published))
    marks = {source: f"[{number}]" for number, source in enumerate(sources, 1)}
    is_classes = any(each.divergence_to_data is not None for each in table.rows)
    told = "sure" if is_classes else "high quality"
    modes = "modes" if table.of is None else f"modes of {table.of}"
    head = [table.data, modes, "of these sure", told, "KL to uniform", "floor", "KL to data"]
    head += ["support", "speed"]
    cells = [[*head, ""], *([*_row(each), _failures(each)] for each in table.rows)]
    perfect = [str(table.of), str(table.of), _percent(table.ceiling), _nats(table.perfect), NONE, NONE]
    cells.append(["perfect model", *perfect, _told(table.support, "{:.2g}")])
    cells += [[each.name, *_published(each), marks[each.source]] for each in table.published]
    width = len(head) + 1
    cells = [row + [NONE] * (width - 1 - len(row)) + [""] if len(row) < width else row for row in cells]
    if not is_classes:  # points are of high quality or do not count, and all modes are equally likely
        cells = [[cell for place, cell in enumerate(row) if place not in (2, 6)] for row in cells]
    notes = [f"{each.row}: {note}" for each in table.rows for note in each.notes]
    if table.left_out:
        notes.append(f"left out, for they were made with other settings: {', '.join(table.left_out)}")
    return cells, [*notes, *(f"{mark} {source}" for source, mark in marks.items())]


def _row(each: Summary) -> list[str]:
    return [
        each.row,
        _told(each.modes, "{:.1f}"),
        _told(each.modes_surely, "{:.1f}"),
        _told(each.high_quality, "{:.1f}", 100, " %"),
        _told(each.divergence, "{:.3g}"),
        _nats(None if each.divergence_floor is None else each.divergence_floor.mean),
        _told(each.divergence_to_data, "{:.3g}"),
        _told(each.support, "{:.2g}"),
        NONE if each.speed is None else f"{each.speed:.2f}",
    ]


def _published(each: Published) -> list[str]:
    modes, divergence = (_with_error(*pair, 1, "") for pair in _pairs(each))
    quality = _with_error(each.high_quality, each.high_quality_error, 100, " %")
    return [modes, NONE, quality, divergence, NONE, NONE, NONE, NONE]


def _pairs(each: Published) -> tuple[tuple[float | None, float | None], tuple[float | None, float | None]]:
    return (each.modes, each.modes_error), (each.divergence, each.divergence_error)


def _with_error(value: float | None, error: float | None, factor: float, unit: str) -> str:
    if value is None:
        return NONE
    return f"{factor * value:g}" + ("" if error is None else f" +- {factor * error:g}") + unit


def _failures(each: Summary) -> str:
    return f"{each.failed} of {len(each.seeds)} seeds failed" if each.failed else ""


def _told(spread: Spread | None, form: str, factor: float = 1, unit: str = "") -> str:
    if spread is None:
        return NONE
    if spread.is_bound:
        return "> " + form.format(factor * spread.mean) + unit
    deviation = "" if spread.deviation is None else f" +- {form.format(factor * spread.deviation)}"
    return form.format(factor * spread.mean) + deviation + unit


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def _nats(value: float | None) -> str:
    return NONE if value is None else f"{value:.2g}"


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Writes all tables as `modes.json` and `table.csv` into a folder."""
    write_json(folder / "modes.json", {"plain_row": PLAIN, "tables": [table.as_json() for table in tables]})
    text = io.StringIO()
    for table in tables:
        cells, notes = lines_of(table)
        csv.writer(text).writerows([*cells, *([note] for note in notes), []])
    write_text(folder / "table.csv", text.getvalue())
