"""What visitors send, looked at before it is used: pictures by their headers, archives by their tables of contents."""

import os
import re
import secrets
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from genprior.data.image_files import SUFFIXES, zip_images
from genprior.errors import GenpriorError
from genprior.images import read_header, read_image
from genprior.studio.upload_limits import MOST_KEPT, forget_oldest
from genprior.writing import written

MOST_PICTURE_BYTES = 20 * 2**20
MOST_PICTURE_PIXELS = 2**24  # 4096 x 4096
MOST_ZIP_BYTES = 200 * 2**20
MOST_FILES = 50_000  # in an archive
MOST_TABLE = 12 * 2**20  # bytes of its table of contents: 250 for each of them
END, LOCATOR, RECORD = b"PK\5\6", b"PK\6\7", b"PK\1\2"
END_BYTES, LOCATOR_BYTES, MOST_COMMENT = 22, 20, 2**16 - 1
OWN_NAME = re.compile("[0-9a-f]{16}")
MOST_UNPACKED = 2**30  # bytes, all together
MOST_MEMBER = 32 * 2**20  # bytes, one of them
MOST_RATIO = 200  # unpacked over packed; pictures are hardly packed any further
BLOCK = 2**20
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._]+")


def checked_picture(path: Path) -> Tensor:
    """Returns the image (C, H, W) uint8 in a file that a visitor sent.

    Raises:
        GenpriorError: It is no picture, or too large in bytes or in pixels; nothing of that is decoded.
    """
    _refuse_picture(path)
    return read_image(path)


def _refuse_picture(path: Path) -> None:
    """Raises `GenpriorError` for what is no picture, or one that is too large; nothing of it is decoded."""
    size = path.stat().st_size
    if size > MOST_PICTURE_BYTES:
        raise _fault(f"the picture has {size:,} bytes, at most {MOST_PICTURE_BYTES:,} are taken")
    try:
        header = read_header(path)
    except OSError as error:
        raise _fault(f"this is no picture that can be read: {error}") from None
    if header.width * header.height > MOST_PICTURE_PIXELS:
        raise _fault(
            f"the picture has {header.width} x {header.height} pixels, at most {MOST_PICTURE_PIXELS:,} are taken: make "
            "it smaller"
        )


def checked_archive(path: Path) -> int:
    """Returns how many pictures an archive holds, by its table of contents; nothing is unpacked.

    Raises:
        GenpriorError: It is no zip file, holds no pictures, or would unpack to more than is taken.
    """
    if path.stat().st_size > MOST_ZIP_BYTES:
        raise _fault(f"the archive has {path.stat().st_size:,} bytes, at most {MOST_ZIP_BYTES:,} are taken")
    refuse_long_table(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            pictures = len(zip_images(archive))
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise _fault(f"this is no zip file that can be read: {error}") from None
    _refuse_bomb(members)
    if not pictures:
        raise _fault("the archive holds no pictures")
    return pictures


def _refuse_bomb(members: list[zipfile.ZipInfo]) -> None:
    """Raises `GenpriorError` for what would unpack to too much; a member never unpacks to more than its table says."""
    whole, packed = sum(each.file_size for each in members), sum(each.compress_size for each in members)
    largest = max((each.file_size for each in members), default=0)
    if whole > MOST_UNPACKED or largest > MOST_MEMBER or whole > MOST_RATIO * max(packed, 2**16):
        raise _fault(
            f"the archive would unpack to {whole:,} bytes, one file to {largest:,}: that is more than is taken"
        )
    if any(each.filename.startswith(("/", "\\")) or ".." in Path(each.filename).parts for each in members):
        raise _fault("the archive holds names that lead out of it")
    if any(each.flag_bits & 1 for each in members):
        raise _fault("the archive is locked with a password")


def keep_images(paths: Sequence[Path], folder: Path) -> tuple[Path, int]:
    """Returns where the images that were sent are kept, as an archive, and how many they are.

    Arguments:
        paths: One archive, or pictures.
        folder: As `keep_upload` takes it.

    Raises:
        GenpriorError: Neither, both, or what `checked_archive` or `checked_picture` refuses.
    """
    archives = [path for path in paths if path.suffix.lower() not in SUFFIXES]
    if archives and len(paths) > 1:
        raise _fault("expected one zip, or pictures alone: send them one after the other")
    if archives:
        count = checked_archive(archives[0])
        return keep_upload(archives[0], folder), count
    return keep_pictures(paths, folder), len(paths)


def keep_upload(path: Path, folder: Path) -> Path:
    """Copies an archive under its own name made plain, as .zip, into a new folder below `folder`; returns where it is.

    The newest `MOST_KEPT` bytes of such archives stay; what else lies there is nobody's to remove.
    """
    place = _new_place(f"{_plain(path.stem, 'upload')}.zip", folder)
    with path.open("rb") as source, written(place) as target:
        while block := source.read(BLOCK):
            target.write(block)
    _forget_oldest_below(folder)
    return place


def keep_pictures(paths: Sequence[Path], folder: Path) -> Path:
    """Packs pictures into one archive, which is kept as those that are sent; returns where it is.

    Raises:
        GenpriorError: One of them is no picture, or they are too many or too large.
    """
    if not paths:
        raise _fault("choose pictures or a zip first")
    if len(paths) > MOST_FILES:
        raise _fault(f"these are {len(paths):,} pictures, at most {MOST_FILES:,} are taken")
    size = sum(path.stat().st_size for path in paths)
    if size > MOST_ZIP_BYTES:
        raise _fault(f"the pictures have {size:,} bytes together, at most {MOST_ZIP_BYTES:,} are taken")
    for path in paths:
        try:
            _refuse_picture(path)
        except GenpriorError as error:
            raise _fault(f"{path.name}: {error.message}") from None
    place = _new_place("pictures.zip", folder)
    packed = zipfile.ZIP_STORED  # pictures are packed already
    with written(place) as target, zipfile.ZipFile(target, "w", packed, strict_timestamps=False) as archive:
        for number, path in enumerate(paths, 1):  # two folders may have pictures of one name
            archive.write(path, f"{number:05d}-{_plain(path.stem, 'picture')}{path.suffix.lower()}")
    _forget_oldest_below(folder)
    return place


def _plain(name: str, instead: str) -> str:
    return NOT_IN_NAMES.sub("-", name).strip("-.")[-80:] or instead


def _new_place(name: str, folder: Path) -> Path:
    place = folder / secrets.token_hex(8) / name
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _forget_oldest_below(folder: Path) -> None:
    kept = [each for each in folder.glob("*/*.zip") if OWN_NAME.fullmatch(each.parent.name) and not each.is_symlink()]
    forget_oldest(kept, MOST_KEPT)


def refuse_long_table(path: Path) -> None:
    """Raises `GenpriorError` for an archive whose table of contents is too long to be parsed.

    The table is parsed whole by whoever opens the archive, record by record. Where it lies stands in the last record
    ("end of central directory", section 4.3.16 of PKWARE's APPNOTE 6.3.10), which is looked for as `zipfile` does.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - END_BYTES - MOST_COMMENT)
        file.seek(start)
        tail = file.read()
        at = len(tail) - END_BYTES
        if at < 0 or tail[at : at + 4] != END or tail[-2:] != b"\0\0":
            at = tail.rfind(END)
        if at < 0 or len(tail) - at < END_BYTES:
            raise _fault("this is no zip file that can be read: its end is missing")
        if tail[max(0, at - LOCATOR_BYTES) :].startswith(LOCATOR):
            raise _fault("archives of the kind zip64 are not taken: make a smaller one")
        entries, table = struct.unpack_from("<HI", tail, at + 10)
        if entries > MOST_FILES or table > MOST_TABLE:
            raise _fault(f"the archive holds {entries:,} files, at most {MOST_FILES:,} are taken")
        file.seek(max(0, start + at - table))
        records = file.read(table).count(RECORD)  # what the last record says of their number need not be true
        if records > MOST_FILES:
            raise _fault(f"the archive holds {records:,} files, at most {MOST_FILES:,} are taken")


def _fault(what: str) -> GenpriorError:
    return GenpriorError(what, argument="upload")
