"""Opens the folder of a job's results: what it refuses to touch, and what `--overwrite` removes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from filelock import FileLock, Timeout

from genprior.errors import GenpriorError
from genprior.restoring.job_settings import JobFlags
from genprior.restoring.ledger import (
    CANDIDATES,
    DRAWS,
    FOLDERS,
    LATENTS,
    LOCK,
    PAGE,
    PAIRS,
    PART_FILE,
    PARTS,
    SETTINGS,
    TABLE,
    Output,
    row_files,
)
from genprior.restoring.picture_formats import FORMATS
from genprior.restoring.records import MEASUREMENTS, RECORD, SUMMARY, JobRecord, PartRecord, write_model
from genprior.stored_files import read_model
from genprior.writing import is_leftover, remove_leftovers


@contextmanager
def opened(flags: JobFlags, record: JobRecord, count: int, size: int) -> Iterator[Output]:
    """Holds the folder of a job: a new one, or the one that holds what is done of the same job.

    Arguments:
        flags: Where it is, and whether to remove what an earlier job of this command left there.
        record: All that the results depend on.
        count: Items in all.
        size: Items in a part.

    Raises:
        GenpriorError: It holds something else, or results of other settings; another process works there; it cannot be
            written.
    """
    output = Output(flags.out, count, size)
    lock = FileLock(output.path / LOCK, thread_local=False)
    try:
        _begin(output, lock, record, overwrite=flags.overwrite)
        yield output
    finally:
        lock.release()


def _begin(output: Output, lock: FileLock, record: JobRecord, *, overwrite: bool) -> None:
    try:
        _refuse_foreign(output.path, record.genprior)
        (output.path / PARTS).mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        remove_leftovers(output.path, below=True)
        if overwrite:
            _remove(output)
        is_new = overwrite or not (output.path / SETTINGS).exists()
        if not is_new:
            output.refuse_other(record)
        if is_new or record.listing != read_model(output.path / SETTINGS, JobRecord, "out").listing:
            write_model(record, output.path / SETTINGS)
    except Timeout:
        raise _in_use(output.path) from None
    except OSError as error:
        raise GenpriorError(f"cannot write to {output.path}: {error.strerror or error}", argument="out") from None


def _refuse_foreign(path: Path, command: str) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise GenpriorError(f"{path} is a file; name a folder", argument="out")
    for link in _linked_folders(path):
        raise GenpriorError(f"{link} is a link: files elsewhere are not overwritten", argument="out")
    if not (path / SETTINGS).is_file():
        # a folder with nothing but an empty parts/ and a lock is one that a kill left behind
        if any(each.name not in (PARTS, LOCK) and not is_leftover(each) for each in path.iterdir()):
            raise GenpriorError(
                f"{path} exists and holds no results of genprior; choose another folder", argument="out"
            )
        return
    found = read_model(path / SETTINGS, JobRecord, "out").genprior
    if found != command:
        raise GenpriorError(f"{path} holds results of genprior {found}; choose another folder", argument="out")


def _linked_folders(path: Path) -> Iterator[Path]:
    """Folders that results are written into, at any depth, and that are links."""
    for folder in (*FOLDERS, PARTS):
        if (path / folder).is_symlink():
            yield path / folder
        for where, below, _ in os.walk(path / folder):
            yield from (Path(where, name) for name in below if Path(where, name).is_symlink())


def _remove(output: Output) -> None:
    """Removes what jobs write, and nothing else that may lie in their folder."""
    path = output.path
    for lock in (path / PARTS).glob("*.lock"):  # a worker may outlive a process that was killed
        if not _is_free(FileLock(lock)):
            raise _in_use(path)
    for name in (SUMMARY, TABLE, LATENTS, MEASUREMENTS, RECORD, PAIRS, CANDIDATES, DRAWS, PAGE):
        (path / name).unlink(missing_ok=True)
    for file in row_files(path):
        for picture in _pictures(path, _names(file)):
            picture.unlink(missing_ok=True)
        file.unlink()  # after the pictures that it names
    for file in (path / PARTS).iterdir():
        if PART_FILE.fullmatch(file.name):
            file.unlink()
    for folder in FOLDERS:
        for where, _, _ in os.walk(path / folder, topdown=False):
            if not os.listdir(where):
                os.rmdir(where)


def _names(file: Path) -> list[str]:
    """The names of the images of a finished part; none where its file is damaged."""
    try:
        return [row.name for row in read_model(file, PartRecord, "out").rows]
    except GenpriorError:
        return []


def _pictures(path: Path, names: Sequence[str]) -> Iterator[Path]:
    """The pictures that there may be of images."""
    suffixes = [each.suffix for each in FORMATS.values()]
    for name, folder, suffix in product(names, FOLDERS, suffixes):
        yield path / folder / f"{name}{suffix}"


def _is_free(lock: FileLock) -> bool:
    try:
        with lock.acquire(timeout=0):
            return True
    except Timeout:
        return False


def _in_use(path: Path) -> GenpriorError:
    return GenpriorError(f"another process works in {path}; wait for it, or stop it", argument="out")
