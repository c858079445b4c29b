"""The folder of a job's results, cut into parts: the parts on disk say what is done; and what a job is made of."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from filelock import FileLock

from genprior.errors import GenpriorError, NoRightError
from genprior.restoring.job_settings import JobSettings
from genprior.restoring.records import (
    IMAGES,
    MEASUREMENTS,
    RECORD,
    SUMMARY,
    ImageRow,
    JobRecord,
    JobSummary,
    PartRecord,
    write_model,
)
from genprior.runs.files import file_sha256
from genprior.stored_files import read_model
from genprior.writing import sync_all

S = TypeVar("S", bound=JobSummary, covariant=True)

SETTINGS, PARTS, LOCK = "settings.json", "parts", "lock"
MASKS, TABLE, LATENTS = "masks", "table.csv", "latents.safetensors"
PAIRS, CANDIDATES, DRAWS, PAGE = "pairs.png", "candidates.png", "draws.png", "index.html"
BEFORE, AFTER = "before", "after"  # folders of pictures that the page shows
DEVIATIONS = "deviations"
FOLDERS = (IMAGES, MASKS, BEFORE, AFTER, DEVIATIONS)  # of pictures, one for each image
PART_FILE = re.compile(r"[0-9]{6,}\.(json|safetensors|lock)")
FILES = {  # what a user may look for
    "page": PAGE,
    "pictures": PAIRS,
    "solutions": CANDIDATES,
    "draws": DRAWS,
    "images in": IMAGES,
    "deviations in": DEVIATIONS,
    "masks in": MASKS,
    "table": TABLE,
    "latents": LATENTS,
    "measurements": MEASUREMENTS,
}


@dataclass(frozen=True)
class Output:
    """A folder of results, cut into parts of consecutive items.

    A part is finished when its file of rows is there, which is written last. Whoever works on it holds its lock.

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

    def picture(self, name: str, folder: str = IMAGES, suffix: str = ".png") -> Path:
        """Returns the picture of the item of this name."""
        return self.path / folder / f"{name}{suffix}"

    def lock(self, part: int) -> FileLock:
        """Returns the lock of a part; the system lifts it when the process that holds it ends, however it ends."""
        return FileLock(self.path / PARTS / f"{part:06d}.lock")

    def is_finished(self, part: int) -> bool:
        """Returns whether a part is done."""
        return self._rows(part).is_file()

    def finished_items(self) -> int:
        """Returns how many items lie in finished parts."""
        return sum(len(self.items(int(path.stem))) for path in row_files(self.path))

    def finish(
        self, part: int, rows: list[ImageRow], seconds: float, contents: Sequence[str], files: Iterable[Path] = ()
    ) -> None:
        """Writes the rows of a part, and of which contents it was made, once the disk has its other files."""
        files = list(files)
        sync_all(files)
        record = PartRecord(
            version=1, seconds=seconds, rows=tuple(rows), contents=tuple(contents), files=self.checksums(files)
        )
        write_model(record, self._rows(part), compact=True)

    def checksums(self, files: Iterable[Path]) -> dict[str, str]:
        """Returns the SHA-256 of those files of this folder that are there, by their paths in it."""
        there = (file for file in files if file.is_file())
        return {file.relative_to(self.path).as_posix(): file_sha256(file) for file in there}

    def damaged(self, files: Mapping[str, str]) -> list[str]:
        """Returns which of the files with these checksums are gone, or are no longer what was written."""
        return [name for name, sha256 in files.items() if self.checksums([self.path / name]).get(name) != sha256]

    def damaged_of(self, part: int, *, is_tidy: bool) -> list[str]:
        """Returns what of a finished part is damaged.

        Arguments:
            part: Which one.
            is_tidy: Whether its tensors may be gone, as those of a finished job may that does not keep them.
        """
        damaged, tensors = self.damaged(self._read(part).files), self.tensors(part)
        is_removed = is_tidy and not tensors.exists()
        return [name for name in damaged if not (is_removed and self.path / name == tensors)]

    def seconds(self) -> float:
        """Returns the time that went into all parts, summed over processes."""
        return sum(self._read(part).seconds for part in range(self.parts))

    def rows(self) -> Iterator[ImageRow]:
        """Yields the row of every item, in order; all parts must be finished."""
        for part in range(self.parts):
            yield from self.part_rows(part)

    def part_rows(self, part: int) -> tuple[ImageRow, ...]:
        """Returns the rows of a finished part."""
        return self._read(part).rows

    def contents(self, part: int) -> tuple[str, ...]:
        """Returns what tells the contents of the inputs that a finished part was made of; () in older results."""
        return self._read(part).contents

    def is_whole(self, part: int) -> bool:
        """Returns whether the tensors of a finished part are there, or it has none because all its items failed."""
        return self.tensors(part).exists() or all(row.problem is not None for row in self.part_rows(part))

    def failed_items(self, part: int) -> list[int]:
        """Returns the places of the items of a finished part that could not be worked on."""
        rows = zip(self.items(part), self.part_rows(part), strict=True)
        return [place for place, row in rows if row.problem is not None]

    def reopen_unfitting(self, names: Collection[str]) -> tuple[list[str], list[str]]:
        """Reopens parts with images that are gone, whose pictures stay, and parts whose file of rows is damaged.

        Arguments:
            names: Of all images that are there.

        Returns:
            Names of the images that are gone, and of the damaged files.
        """
        gone, damaged = [], []
        for file in row_files(self.path):
            part = int(file.stem)
            try:
                lost = [row.name for row in self.part_rows(part) if row.name not in names]
            except NoRightError:
                raise
            except GenpriorError:
                damaged.append(file.relative_to(self.path).as_posix())
                self.reopen(part)
                continue
            gone += lost
            if lost or part >= self.parts:
                self.reopen(part)
            if part >= self.parts:
                self.tensors(part).unlink(missing_ok=True)
        return gone, damaged

    def reopen(self, part: int) -> None:
        """Makes a finished part one that is to be done."""
        self.summary.unlink(missing_ok=True)
        self._rows(part).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the locks: all parts are finished."""
        for path in (self.path / PARTS).glob("*.lock"):
            path.unlink(missing_ok=True)

    def refuse_other(self, record: JobRecord, *, listed: bool = False) -> None:
        """Raises `GenpriorError` where the results depend on anything else than `record` says.

        Arguments:
            record: What they should depend on.
            listed: Whether a folder must have the same files too, as all processes of a job must see it.
        """
        then = read_model(self.path / SETTINGS, JobRecord, "out")
        changed = record.differences(then)
        if listed and record.listing != then.listing:
            changed.append("the files of the folder changed meanwhile: give the command again")
        if changed:
            raise GenpriorError(
                f"{self.path} holds results of other settings ({'; '.join(changed)}): choose another folder, or start "
                "anew with --overwrite",
                argument="out",
            )

    def _read(self, part: int) -> PartRecord:
        return read_model(self._rows(part), PartRecord, "out")

    def _rows(self, part: int) -> Path:
        return self.path / PARTS / f"{part:06d}.json"


class Work(Protocol[S]):
    """What is done with the items of an output."""

    @property
    def summary(self) -> type[S]:
        """The model of what `collect` writes last."""

    @property
    def keeps_tensors(self) -> bool:
        """Whether a finished job keeps the tensors of its parts."""

    def check(self, out: Path) -> None:
        """Raises `GenpriorError` where the first items do not fit, or results would become items."""

    def names(self) -> Sequence[str]:
        """Returns the names of all items."""

    def is_readable(self, place: int) -> bool:
        """Returns whether an item can be worked on."""

    def content(self, place: int) -> str:
        """Returns what changes when the contents of an item's inputs do; it never fails."""

    def do(self, output: Output, part: int) -> list[ImageRow]:
        """Writes the files of a part, each whole or not at all; returns a row for each of its items."""

    def files(self, output: Output, part: int) -> list[Path]:
        """Returns the files that `do` may have written."""

    def collect(self, output: Output) -> None:
        """Writes what is made of all parts, the summary last; may be done again."""

    def tidy(self, output: Output, summary: JobSummary) -> None:
        """Removes what nobody needs once all is collected; may be done again."""


def write_summary(summary: JobSummary, output: Output) -> None:
    """Writes the last file of a job, with the checksums of all that was made of its parts."""
    made = [output.path / name for name in FILES.values()] + [output.path / RECORD]
    write_model(summary.model_copy(update={"files": output.checksums(made)}), output.summary)


@dataclass(frozen=True)
class Prepared(Generic[S]):
    """A job that is ready.

    Attributes:
        work: What is done with its items.
        record: All that its results depend on.
        count: Items in all.
        settings: How many of them are a part, and with how many threads a process works.
        note: What is worked on, for a line.
    """

    work: Work[S]
    record: JobRecord
    count: int
    settings: JobSettings
    note: str


def row_files(path: Path) -> list[Path]:
    """Returns the files of rows of the finished parts in a folder of results, in their order."""
    found = (path / PARTS).glob("*.json")
    return sorted(file for file in found if PART_FILE.fullmatch(file.name))
