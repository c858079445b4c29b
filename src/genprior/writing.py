"""Every file that genprior writes, whole or not at all; the one place that opens a file for writing.

A file is written beside its place under a name of its own, waits for the disk, and then takes its place in one step. A
kill at any instant leaves the old file or the new one. Of ours it imports nothing, and torch late.
"""

import csv
import errno
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MARK = ".genprior-"  # how the name of a file begins that is being written
SYNCED_AT_ONCE = 8
STALE_SECONDS = 600  # without a change, after which nobody writes such a file any more
LONGEST_SUFFIX = 12  # of a file's name that its temporary name keeps
NUMBER = re.compile(r"\(os error (\d+)\)")
AMOUNT = re.compile(r"[+-][0-9.][\w .,%±/-]*")  # a signed number, and words after it: nothing is called there
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula


@contextmanager
def written(path: Path, *, waits: bool = True) -> Iterator[BinaryIO]:
    """Yields a binary file; when the block ends without an error it becomes `path`, else nothing of it stays.

    Arguments:
        path: Of the file.
        waits: Until the disk has it; else `sync_all` does that for many files at once, which is a hundred times faster.

    Raises:
        OSError: About `path`: disk full, no right to write, or a folder or device stands there.
    """
    with _beside(path, waits=waits) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()


@contextmanager
def written_text(path: Path) -> Iterator[TextIO]:
    """Yields a text file in UTF-8 as `written` does; names of files that are no Unicode keep their bytes."""
    with written(path) as file:
        text = TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        yield text
        text.flush()
        text.detach()


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a picture, whole or not at all, without waiting for the disk; errors as `written` has them."""
    with written(path, waits=False) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all; errors as `written` has them."""
    with written_text(path) as file:
        file.write(text)


def write_picture(values: "NDArray[Any]", path: Path) -> None:
    """Writes values (H, W, C) uint8 as a picture of the kind that the name says, as `write_bytes` does."""
    from PIL import Image

    content = BytesIO()  # Pillow tells less of a full disk than files of Python do
    kind = Image.registered_extensions()[path.suffix.lower()]
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(content, kind)
    write_bytes(path, content.getvalue())


def write_numbers(path: Path, shape: Sequence[int], parts: "Iterable[NDArray[Any]]") -> None:
    """Writes float32 numbers of this shape as a .npy file, whole or not at all, never holding more than a part.

    Arguments:
        path: Of the file.
        shape: Of all numbers.
        parts: Arrays whose numbers, one after another, are those of the whole.
    """
    import numpy as np

    with written(path) as file:
        head = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, head)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype="<f4").data)


def save_tensors(tensors: "Mapping[str, Tensor]", path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file, whole or not at all; errors as `written` has them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with _beside(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=metadata)
        except SafetensorError as error:
            found = NUMBER.search(str(error))
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number) if found else str(error).partition("\n")[0]) from error


def appended(path: Path) -> IO[str]:
    """Opens a file of lines in UTF-8, to add some at its end; the last one may be torn by a kill."""
    return path.open("a", encoding="utf-8")


def csv_text(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yields lines of comma-separated values; what a spreadsheet would take for a formula begins with an apostrophe.

    Example:
        >>> list(csv_text([["=cmd()", 1, -0.5, None]]))
        ["'=cmd(),1,-0.5,\\n"]
    """
    for row in rows:
        line = StringIO()
        csv.writer(line, lineterminator="\n").writerow(map(_harmless, row))
        yield line.getvalue()


def _harmless(cell: object) -> object:
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or AMOUNT.fullmatch(cell):
        return cell
    return f"'{cell}"


def refuse_unwritable(folder: Path) -> None:
    """Raises `OSError` where no file can be made in a folder, or in the nearest one that is there."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not place.is_dir():
        return  # whoever makes the folder says what is wrong with its name
    with errors_of(folder):
        probe = place / f"{MARK}{secrets.token_hex(4)}"
        probe.open("xb").close()
        probe.unlink()


def is_leftover(path: Path) -> bool:
    """Returns whether a name is that of a file that was being written."""
    return path.name.startswith(MARK)


def remove_leftovers(folder: Path, *, below: bool = False) -> None:
    """Removes from a folder, and those below it, what processes that were killed were writing."""
    for path in folder.glob(f"**/{MARK}*" if below else f"{MARK}*"):
        with suppress(FileNotFoundError):  # its writer lives, and is done
            if time.time() - path.lstat().st_mtime > STALE_SECONDS:
                path.unlink()


def sync(path: Path) -> None:
    """Waits until the disk has a file or folder: a rename may otherwise survive a power cut without its contents."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(files: Iterable[Path]) -> None:
    """Waits until the disk has files and their folders; asked for by several threads, that takes as long as for one."""
    there = [file for file in files if file.is_file()]
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
        list(pool.map(sync, [*there, *dict.fromkeys(file.parent for file in there)]))  # raises what a thread raised


@contextmanager
def _beside(path: Path, *, waits: bool = True) -> Iterator[Path]:
    """Yields an empty file beside `path`, with the mode of any new file; it becomes `path` when the block ends well."""
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is no regular file", str(path))
    suffix = path.suffix if len(path.suffix) <= LONGEST_SUFFIX else ""
    temporary = path.with_name(f"{MARK}{secrets.token_hex(4)}{suffix}")
    with errors_of(path):
        try:
            temporary.open("xb").close()
            mode = temporary.stat().st_mode
            yield temporary
            if temporary.stat().st_mode != mode:  # safetensors lets its owner alone read
                temporary.chmod(mode)
            if waits:
                sync(temporary)
            temporary.replace(path)
            if waits:
                sync(path.parent)
        except BaseException:
            with suppress(OSError):  # on a full disk it would be in the way of everything else
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Makes every `OSError` one about `path`, whose number and reason stay."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and not is_leftover(Path(error.filename)):  # of another file
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
