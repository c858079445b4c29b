"""Files of lines of JSON, one value each, with their checksum in the last line."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from genprior.settings import Model
from genprior.stored_files import CHECKSUM, loads
from genprior.writing import write_text

T = TypeVar("T")


def write_lines(path: Path, items: Sequence[Model]) -> None:
    """Writes a line for each, and a last one with their checksum."""
    lines = "".join(item.model_dump_json() + "\n" for item in items)
    write_text(path, f"{lines}{_last_line(lines)}\n")


def _last_line(lines: str) -> str:
    return json.dumps({CHECKSUM: hashlib.sha256(lines.encode()).hexdigest()})


def are_whole(path: Path) -> bool:
    """Returns whether the lines of a file are those that `write_lines` wrote."""
    lines, end, last = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").rpartition("\n")
    return last == _last_line(lines + end)


def read_lines(path: Path, read: Callable[[object], T]) -> list[T]:
    """Returns what is read of the values of each line that `write_lines` wrote; others as `read_rows` does.

    Arguments:
        path: Of the file; it need not exist.
        read: Raises `ValueError` for values that are not those of such a line.
    """

    def parsed(line: str) -> list[T]:
        values = loads(line)
        return [] if isinstance(values, dict) and values.keys() == {CHECKSUM} else [read(values)]

    return [item for items in each_line(path, parsed) for item in items]


def each_line(path: Path, read: Callable[[str], T]) -> Iterator[T]:
    """Yields what is read of each line; a last one that was cut off by a kill is left out, any other with a warning.

    Arguments:
        path: Of the file; it need not exist.
        read: Raises `ValueError` for a line that is not whole.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        line, number = file.readline(), 1
        while line:
            after = file.readline()
            try:
                found = read(line)
            except ValueError:
                if after or _is_json(line):
                    warnings.warn(f"line {number} of {path} cannot be read and is left out", stacklevel=3)
            else:
                yield found
            line, number = after, number + 1


def _is_json(line: str) -> bool:
    try:
        loads(line)
    except ValueError:
        return False
    return True
