"""The steps of a run as they are read back: one after another, or all as columns of numbers."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from genprior.runs.lined_files import each_line
from genprior.stored_files import loads_numbers

Row = dict[str, Any]

COUNTERS, FLAGS = ("step", "images_seen"), "not_finite"

_ABSENT = math.inf  # no number of a row: those are finite


class StepRows(Sequence[Row]):
    """Rows of a log, held as columns of numbers: a tenth of the memory that a table for each row takes.

    Arguments:
        rows: As `each_row` yields them; their numbers are finite, or None.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._columns: dict[str, array[Any]] = {}
        self._flags: dict[int, dict[str, str]] = {}
        self._count = 0
        for row in rows:
            self._append(row)

    def _append(self, row: Row) -> None:
        for name, value in row.items():
            if name == FLAGS:
                self._flags[self._count] = value
                continue
            if name not in self._columns:
                is_counter = name in COUNTERS
                self._columns[name] = array("q") if is_counter else array("d", [_ABSENT]) * self._count
            self._columns[name].append(math.nan if value is None else value)
        self._count += 1
        for column in self._columns.values():
            if len(column) < self._count:
                column.append(_ABSENT)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...

    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        if isinstance(at, slice):
            return [self._row(i) for i in range(*at.indices(self._count))]
        return self._row(range(self._count)[at])

    def _row(self, i: int) -> Row:
        found = ((name, column[i]) for name, column in self._columns.items())
        row: Row = {name: None if math.isnan(value) else value for name, value in found if value != _ABSENT}
        return row | ({FLAGS: self._flags[i]} if i in self._flags else {})

    @property
    def names(self) -> set[str]:
        """Of all numbers that any row has."""
        return set(self._columns)

    def column(self, name: str) -> np.ndarray:
        """Returns the numbers of a name (N,), not-a-number where a row has none."""
        values = np.array(self._columns.get(name, array("d", [math.nan]) * self._count), dtype=float)
        values[values == _ABSENT] = math.nan
        return values


def read_rows(path: Path) -> StepRows:
    """Returns the rows of a log, with null as it stands.

    A last line that was cut off by a kill is left out; so is any other line that cannot be read, with a warning.
    """
    return StepRows(each_line(path, _row))


def each_row(path: Path) -> Iterator[Row]:
    """Yields the same, one after another: a long log is never held in memory."""
    return each_line(path, _row)


def _row(line: str) -> Row:
    """A step: its two counters, and otherwise numbers or null."""
    row = loads_numbers(line, FLAGS)
    if not all(type(row.get(name)) is int for name in COUNTERS):
        raise ValueError("not a step")
    return row
