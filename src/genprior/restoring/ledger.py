"""The folder of a job's results: what lies where, whose it is, and which of its parts are finished."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from genprior.errors import GenpriorError
from genprior.runs.files import read_table, write_json, write_text

SETTINGS, SUMMARY = "settings.json", "summary.json"
PARTS, IMAGES = "parts", "images"
COLLECT = "collect"
Row = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """A folder of results, cut into parts of consecutive items.

    A part is finished when its file of rows is there, which is written last; whoever works on it holds a lock that the
    system lifts when the process ends, however it ends.

    Attributes:
        path: The folder.
        count: Items in all.
        size: Items in a part; the last one may have fewer.
    """

    path: Path
    count: int
    size: int

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.count // self.size)

    @property
    def summary(self) -> Path:
        """Written last of all: the job is done."""
        return self.path / SUMMARY

    def items(self, part: int) -> range:
        """Returns the places of the items in a part."""
        return range(part * self.size, min((part + 1) * self.size, self.count))

    def tensors(self, part: int) -> Path:
        """Returns the file of a part's tensors; where all its items failed there is none."""
        return self.path / PARTS / f"{part:06d}.safetensors"

    def picture(self, name: str, folder: str = IMAGES) -> Path:
        """Returns the picture of the item of this name."""
        return self.path / folder / f"{name}.png"

    def is_finished(self, part: int) -> bool:
        """Returns whether a part is done."""
        return self._rows(part).is_file()

    def finished_items(self) -> int:
        """Returns how many items lie in finished parts."""
        there = {int(path.stem) for path in (self.path / PARTS).glob("*.json")}
        return sum(len(self.items(part)) for part in there)

    def finish(self, part: int, rows: list[Row], seconds: float) -> None:
        """Writes the rows of a part, whose other files are there already."""
        write_text(self._rows(part), json.dumps({"seconds": seconds, "rows": rows}, allow_nan=False) + "\n")

    def seconds(self) -> float:
        """Returns the time that went into all parts, summed over processes."""
        return sum(float(self._read(part)["seconds"]) for part in range(self.parts))

    def rows(self) -> Iterator[Row]:
        """Yields the row of every item, in order; all parts must be finished."""
        for part in range(self.parts):
            yield from self.part_rows(part)

    def part_rows(self, part: int) -> list[Row]:
        """Returns the rows of a finished part."""
        rows: list[Row] = self._read(part)["rows"]
        return rows

    def failed_items(self, part: int) -> list[int]:
        """Returns the places of the items of a finished part that could not be worked on."""
        rows = zip(self.items(part), self.part_rows(part), strict=True)
        return [place for place, row in rows if "problem" in row]

    def reopen(self, part: int) -> None:
        """Makes a finished part one that is to be done."""
        self.summary.unlink(missing_ok=True)
        self._rows(part).unlink(missing_ok=True)

    @contextmanager
    def claimed(self, what: int | str, *, wait: bool = False) -> Iterator[bool]:
        """Whether this process, and no other, now has a part or a task; True where the system knows no locks."""
        name = f"{what:06d}" if isinstance(what, int) else what
        with (self.path / PARTS / f"{name}.lock").open("w") as file:
            yield _locked(file, wait)

    def close(self) -> None:
        """Writes nothing more: the locks may go, as whoever takes one now finds all parts finished."""
        for path in (self.path / PARTS).glob("[0-9]*.lock"):
            path.unlink(missing_ok=True)

    def _read(self, part: int) -> dict[str, Any]:
        return read_table(self._rows(part), "out")

    def _rows(self, part: int) -> Path:
        return self.path / PARTS / f"{part:06d}.json"


def _locked(file: IO[str], wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def open_output(
    path: Path, command: str, decided: dict[str, Any], count: int, size: int, *, overwrite: bool = False
) -> Output:
    """Returns the folder of a job: a new one, or the one that holds what is done of the same job.

    Arguments:
        path: The folder.
        command: Whose results it holds.
        decided: All that the results depend on, strict JSON.
        count: Items in all.
        size: Items in a part.
        overwrite: Remove what an earlier job of this kind left there.

    Raises:
        GenpriorError: It holds something else, or results of other settings; another process works there; it cannot be
            written.
    """
    output = Output(path, count, size)
    try:
        _refuse_foreign(path, command)
        if overwrite and (path / SETTINGS).exists():
            _remove(output)
        (path / PARTS).mkdir(parents=True, exist_ok=True)
        _write_once(path / SETTINGS, {"genprior": command, "version": _version(), **decided})
    except OSError as error:
        raise GenpriorError(f"cannot write to {path}: {error.strerror or error}", argument="out") from None
    _refuse_other(path, decided)
    return output


def _refuse_foreign(path: Path, command: str) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise GenpriorError(f"{path} is a file; name a folder", argument="out")
    if not (path / SETTINGS).is_file():
        # a folder with nothing but an empty parts/ is one that a kill left behind, or another process just made
        if any(each.name != PARTS and not each.name.startswith(SETTINGS) for each in path.iterdir()):
            raise GenpriorError(
                f"{path} exists and holds no results of genprior; choose another folder", argument="out"
            )
        return
    found = read_table(path / SETTINGS, "out").get("genprior")
    if found != command:
        what = f"results of genprior {found}" if isinstance(found, str) else "no results of genprior"
        raise GenpriorError(f"{path} holds {what}; choose another folder", argument="out")


def _write_once(path: Path, values: dict[str, Any]) -> None:
    """Writes a file unless it is there: of several processes that start together one does."""
    if path.exists():
        return
    own = path.with_name(f"{path.name}.{os.getpid()}")
    write_json(own, values)
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        own.replace(path)
    own.unlink(missing_ok=True)


def _version() -> str:
    """This package's version, for whoever reads the settings later; it is not compared."""
    try:
        return version("genprior")
    except PackageNotFoundError:  # run from its sources
        return "not installed"


def _refuse_other(path: Path, decided: dict[str, Any]) -> None:
    stored = read_table(path / SETTINGS, "out")
    now = json.loads(json.dumps(decided))
    changed = [line for group in now for line in _differences(stored.get(group) or {}, now[group])]
    if changed:
        raise GenpriorError(
            f"{path} holds results of other settings ({'; '.join(changed)}): choose another folder, or start anew with "
            "--overwrite",
            argument="out",
        )


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{name} {_word(then.get(name))} then, {_word(now[name])} now" for name in now if then.get(name) != now[name]
    ]


def _word(value: object) -> str:
    return "not set" if value is None else str(value)


def _remove(output: Output) -> None:
    """Removes what jobs write, and nothing else that may lie in their folder."""
    path = output.path
    held = [lock.stem for lock in (path / PARTS).glob("*.lock") if not _is_free(output, lock.stem)]
    if held:
        raise GenpriorError(f"another process works in {path}; stop it first", argument="overwrite")
    if (path / PARTS).exists():  # not where a kill ended an earlier removal
        shutil.rmtree(path / PARTS)
    for name in (SUMMARY, "table.csv", "latents.safetensors", "measurements.npy", "degradation.json"):
        (path / name).unlink(missing_ok=True)
    for name in ("pairs.png", "candidates.png"):
        (path / name).unlink(missing_ok=True)
    for name in (IMAGES, "masks"):
        shutil.rmtree(path / name, ignore_errors=True)
    (path / SETTINGS).unlink()


def _is_free(output: Output, lock: str) -> bool:
    with output.claimed(lock) as mine:
        return mine
