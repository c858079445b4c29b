"""Tables of mode counts: means over seeds, what a perfect model gets, and published rows beside ours.

Does not import torch: help of the command line comes from here, too.
"""

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from genprior.modes.published import PUBLISHED, Published
from genprior.modes.remedies import BASES, PLAIN, ROWS
from genprior.settings import Model

NONE = "-"


class ModeDivergence(Model):
    """`genprior.evaluation.divergence.Divergence`, as it is stored; in nats."""

    raw: float
    floor: float
    floor_spread: float
    debiased: float


class SupportSize(Model):
    """`genprior.evaluation.birthday.Support`, as it is stored."""

    samples: int
    collisions: int
    size: float | None
    low: float
    high: float | None


class SupportSizes(Model):
    """`genprior.evaluation.birthday.Birthday`, as it is stored."""

    generated: SupportSize
    real: SupportSize
    threshold: float


class CountedModes(Model):
    """`genprior.evaluation.mode_counts.ModeCount`, as it is stored, with the size of the support."""

    samples: int
    found: int
    of: int
    found_surely: int
    high_quality: float
    ceiling: float
    divergences: dict[str, ModeDivergence | None]
    perfect: float
    counts: tuple[int, ...]
    note: str | None
    support: SupportSizes


class MeasuredRun(Model):
    """What was found of a run of the benchmark.

    Attributes:
        data, row, seed: Its name: of `BASES`, of `ROWS`, and its seed.
        samples: How many are drawn.
        images_seen: In training.
        training_seconds: Time spent in training.
        images_per_core_second: Images in training for each second of a core, in the last stretch of training; None
            where nothing was left to train.
        failed: Why there are no finite samples; None: there are.
        modes: Modes of the samples; None where it failed.
        notes: Warnings on the way.
    """

    data: str
    row: str
    seed: int
    samples: int
    images_seen: int
    training_seconds: float
    images_per_core_second: float | None
    failed: str | None
    modes: CountedModes | None
    notes: tuple[str, ...]


class Spread(Model):
    """A number over seeds.

    Attributes:
        mean: Over them.
        deviation: Standard deviation from seed to seed; None for one seed.
        is_bound: Whether some seeds have no more than a lower bound, and so the mean is one.
    """

    mean: float
    deviation: float | None
    is_bound: bool = False


class ModeRow(Model):
    """A loss or remedy over its seeds; None where no seed has a value.

    Attributes:
        row: Name in `ROWS`.
        title, source: What it is, and where it comes from.
        seeds: What was found of each.
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
    seeds: tuple[MeasuredRun, ...]
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


class ModeTable(Model):
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
        left_out: Names of runs in the folder that were made with settings other than those of today.
    """

    data: str
    of: int | None = None
    samples: int | None = None
    ceiling: float | None = None
    perfect: float | None = None
    support: Spread | None = None
    rows: tuple[ModeRow, ...]
    published: tuple[Published, ...]
    left_out: tuple[str, ...]


def table_of(data: str, rows: Sequence[str], found: Sequence[MeasuredRun], left_out: Sequence[str] = ()) -> ModeTable:
    """Returns the table of a data set.

    Arguments:
        data: Its name.
        rows: Names of `ROWS`, in the order of the table.
        found: What was found of runs on it.
        left_out: Names of runs that do not belong in it.
    """
    plain = _rate([each for each in found if each.row == PLAIN])
    ours = tuple(_row_of(data, row, [each for each in found if each.row == row], plain) for row in rows)
    table = ModeTable(data=data, rows=ours, published=PUBLISHED.get(data, ()), left_out=tuple(left_out))
    first = next((each.modes for each in found if each.modes is not None), None)
    if first is None:
        return table
    facts = {"of": first.of, "samples": first.samples, "ceiling": first.ceiling, "perfect": first.perfect}
    return table.model_copy(update={**facts, "support": _sizes([first.support.real])})


def _row_of(data: str, row: str, found: Sequence[MeasuredRun], plain: Spread | None) -> ModeRow:
    found = sorted(found, key=lambda each: each.seed)
    ended = {each.seed: each.modes for each in found if each.modes is not None}
    counted, rate = ended.values(), _rate(found)
    to_uniform, to_data = (_divergences(counted, reference) for reference in ("uniform", "data"))
    notes = [note for each in found for note in each.notes]
    notes += [f"seed {each.seed}: {each.failed}" for each in found if each.failed is not None]
    return ModeRow(
        row=row,
        title=ROWS[row].title,
        source=ROWS[row].source,
        seeds=tuple(found),
        failed=len(found) - len(ended),
        modes=_spread([each.found for each in counted]),
        modes_surely=_spread([each.found_surely for each in counted]),
        high_quality=_spread([each.high_quality for each in counted]),
        divergence=_spread([each.raw for each in to_uniform]),
        divergence_floor=_spread([each.floor for each in to_uniform]),
        divergence_debiased=_spread([each.debiased for each in to_uniform]),
        divergence_to_data=_spread([each.raw for each in to_data]),
        support=_sizes([each.support.generated for each in counted]),
        images_per_core_second=rate,
        speed=None if rate is None or plain is None else rate.mean / plain.mean,
        notes=(*_budget(data, row), *_caution(ended), *dict.fromkeys(notes)),
    )


def _budget(data: str, row: str) -> list[str]:
    """What must be known to compare a row that is trained for longer than the others."""
    usual, own = BASES[data].images(PLAIN), BASES[data].images(row)
    return [] if own == usual else [f"trained on {own:,} images, rows without such a line on {usual:,}"]


def _caution(ended: dict[int, CountedModes]) -> list[str]:
    """The note of the first seed that has one: seeds' notes differ in figures that the table has."""
    noted = {seed: modes.note for seed, modes in ended.items() if modes.note}
    if not noted:
        return []
    first = min(noted)
    which = f"{len(noted)} of {len(ended)} seeds, such as seed {first}: " if len(ended) > 1 else ""
    return [f"{which}{noted[first]}"]


def _divergences(counted: Iterable[CountedModes], reference: str) -> list[ModeDivergence]:
    found = (each.divergences.get(reference) for each in counted)
    return [each for each in found if each is not None]


def _rate(found: Iterable[MeasuredRun]) -> Spread | None:
    return _spread([each.images_per_core_second for each in found if each.images_per_core_second is not None])


def _sizes(supports: Sequence[SupportSize]) -> Spread | None:
    """Where no two samples are near duplicates, the smallest size that this leaves probable stands for the size."""
    sizes = [each.low if each.size is None else each.size for each in supports]
    return _spread(sizes, is_bound=any(each.size is None for each in supports))


def _spread(values: Sequence[float], is_bound: bool = False) -> Spread | None:
    if not values:
        return None
    return Spread(mean=mean(values), deviation=stdev(values) if len(values) > 1 else None, is_bound=is_bound)


# As text.


def lines_of(table: ModeTable) -> tuple[list[list[str]], list[str]]:
    """Returns the table as cells, a head first, and lines to stand below it."""
    marks = {source: f"[{i}]" for i, source in enumerate(dict.fromkeys(each.source for each in table.published), 1)}
    is_classes = any(each.divergence_to_data is not None for each in table.rows)
    of, ceiling = _shown(table.of, "d"), _shown(table.ceiling, ".1f", None, 100, " %")
    head = [table.data, "modes" if table.of is None else f"modes of {of}", "of these sure"]
    head += ["sure" if is_classes else "high quality", "KL to uniform", "floor", "KL to data", "support", "speed", ""]
    perfect = ["perfect model", of, of, ceiling, _shown(table.perfect, ".2g"), NONE, NONE]
    perfect += [_over_seeds(table.support, ".2g"), NONE, ""]
    published = [[*_published(each), NONE, NONE, NONE, NONE, marks[each.source]] for each in table.published]
    cells = [head, *map(_ours, table.rows), perfect, *published]
    if not is_classes:  # points are of high quality or do not count, and all modes are equally likely
        cells = [[cell for place, cell in enumerate(row) if place not in (2, 6)] for row in cells]
    notes = [f"{each.row}: {note}" for each in table.rows for note in each.notes]
    if table.left_out:
        notes.append(f"left out, made with other settings: {', '.join(table.left_out)}")
    return cells, [*notes, *(f"{mark} {source}" for source, mark in marks.items())]


def _ours(each: ModeRow) -> list[str]:
    return [
        each.row,
        _over_seeds(each.modes, ".1f"),
        _over_seeds(each.modes_surely, ".1f"),
        _over_seeds(each.high_quality, ".1f", 100, " %"),
        _over_seeds(each.divergence, ".3g"),
        _shown(None if each.divergence_floor is None else each.divergence_floor.mean, ".2g"),
        _over_seeds(each.divergence_to_data, ".3g"),
        _over_seeds(each.support, ".2g"),
        _shown(each.speed, ".2f"),
        f"{each.failed} of {len(each.seeds)} seeds failed" if each.failed else "",
    ]


def _published(each: Published) -> list[str]:
    quality = _shown(each.high_quality, "g", each.high_quality_error, 100, " %")
    divergence = _shown(each.divergence, "g", each.divergence_error)
    return [each.name, _shown(each.modes, "g", each.modes_error), NONE, quality, divergence]


def _over_seeds(spread: Spread | None, form: str, factor: float = 1, unit: str = "") -> str:
    if spread is None:
        return NONE
    bound, deviation = ("> ", None) if spread.is_bound else ("", spread.deviation)
    return bound + _shown(spread.mean, form, deviation, factor, unit)


def _shown(value: float | None, form: str, error: float | None = None, factor: float = 1, unit: str = "") -> str:
    if value is None:
        return NONE
    return f"{factor * value:{form}}" + ("" if error is None else f" +- {factor * error:{form}}") + unit
