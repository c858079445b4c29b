"""How much uploads may take up in all: of the disk, and of what is on its way. What is oldest leaves first."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

MOST_KEPT = 2**30  # bytes of uploads that wait to be used, and of archives to train on, each
MOST_ON_THEIR_WAY = 2**29  # bytes of all visitors together


@dataclass
class UploadsOnTheirWay:
    """Counts bytes of uploads that are being sent, over all visitors.

    Attributes:
        folder: Where the framework puts them.
        most: Bytes on their way at once.
    """

    folder: Path | None = None
    most: int = MOST_ON_THEIR_WAY
    _bytes: int = field(default=0)

    def begin(self) -> None:
        """Makes room where uploads wait."""
        if self.folder is not None:
            forget_oldest((path for path in self.folder.rglob("*") if not path.is_symlink()), MOST_KEPT)

    def take(self, count: int) -> bool:
        """Counts bytes that have come; returns whether they may stay."""
        self._bytes += count
        return self._bytes <= self.most

    def end(self, count: int) -> None:
        """Forgets bytes of an upload that is there, or was refused."""
        self._bytes -= count


def forget_oldest(files: Iterable[Path], most_bytes: int) -> None:
    """Removes the oldest of the files until the others have at most so many bytes; the newest one stays."""
    found: list[tuple[float, int, Path]] = []
    for path in files:
        with suppress(OSError):  # gone meanwhile
            status = path.stat()
            if path.is_file():
                found.append((status.st_mtime, status.st_size, path))
    found.sort(reverse=True)
    total = 0
    for place, (_, size, path) in enumerate(found):
        total += size
        if place and total > most_bytes:
            with suppress(OSError):
                path.unlink()
            with suppress(OSError):  # not empty
                os.rmdir(path.parent)
