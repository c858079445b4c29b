"""Images and measurements, read one at a time from a file, folder, array or data spec, and brought into shape."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from genprior.data import load_data
from genprior.data.array_files import ARRAY_FILES, open_arrays
from genprior.data.arrays import image_key, images_first
from genprior.data.geometry import centre_box
from genprior.data.image_files import SUFFIXES, image_files
from genprior.data.spec import DataSpec, parse_spec
from genprior.errors import GenpriorError
from genprior.restoring.given_pictures import GivenPicture, given_values, read_given, with_channels
from genprior.restoring.picture_formats import FORMATS
from genprior.restoring.records import (
    IMAGES,
    MEASUREMENTS,
    RECORD,
    SUMMARY,
    DegradeSummary,
    Facts,
    is_plain,
    read_degradation,
)
from genprior.runs.files import file_sha256
from genprior.stored_files import read_model
from genprior.value_range import ROUNDING, white_of

Shape = tuple[int, ...]
LONGEST_NAME = 255  # bytes of a file's name
PICTURES = tuple(each.suffix for each in FORMATS.values())
LOOKED_AT = 256  # items of an array, to see what kind of numbers it holds


@dataclass(frozen=True)
class Source:
    """Items in their order, each read when it is needed.

    Attributes:
        names: Of the items, all different; they become the names of pictures.
        labels: What messages call the items.
        numbers: Of the items in the whole source, whatever a slice leaves of it: all that is random about an item
            derives from its number.
        read: Place -> item float32, (C, H, W) or (H, W) or whatever an array file holds. Raises GenpriorError where
            that fails.
        given: Place -> the picture as it was given; None where the item cannot be looked at. Raises as `read` does.
        digest: Place -> SHA-256 of what the item is read from. Raises OSError where it cannot be read.
        identity: What must be the same where a job is resumed.
        path: The file or folder that it is.
        listing: What tells the files of a folder, of which some may be new or gone where a job is resumed.
    """

    names: Sequence[str]
    labels: Sequence[str]
    numbers: Sequence[int]
    read: Callable[[int], Tensor]
    given: Callable[[int], GivenPicture | None]
    digest: Callable[[int], str]
    identity: Facts
    path: Path | None = None
    listing: Facts = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


def open_source(text: str, *, data_root: Path | None = None, white: float | None = None) -> Source:
    """Returns the source that `text` names; pixels are read later, but for data specs, which are kept in memory.

    A slice works on all kinds: "photos[:100]", "y.npy[10:]", "mnist:test[-5:]".

    Arguments:
        text: A picture, a folder searched for pictures, a file of arrays (.npy, .npz, .mat, .h5) with items along
            its first axis (uint8, uint16 and bool become [0, 1], floats are kept as they are), or a data spec.
        data_root: Of named data sets.
        white: The value that stands for 1 in files and arrays; default: the largest of an integer type, 1 of floats.

    Raises:
        GenpriorError: Nothing of these kinds, or nothing in it.
    """
    try:
        spec = parse_spec(text)
        if spec.source is not None:
            return _data_set(spec, data_root, white)
        path = Path(spec.rest)
        if path.is_dir():
            return _folder(spec, path, white)
        suffix = path.suffix.lower()
        if suffix not in FILES:
            raise _fault(f"expected a folder, a data set or a file that ends in {' '.join(FILES)}, got {path}")
        return FILES[suffix](spec, path, white)
    except GenpriorError as error:  # what the data layer calls "data" is "images" here
        raise GenpriorError(error.message, argument="images" if error.argument == "data" else error.argument) from error


def _fault(what: str) -> GenpriorError:
    return GenpriorError(" ".join(what.split()), argument="data")


def _data_set(spec: DataSpec, root: Path | None, white: float | None) -> Source:
    start = spec.window.start or 0
    whole = f"{spec.source}:{spec.rest}" if spec.rest else str(spec.source)
    # where a slice counts from the end, only the whole tells which images these are
    data = load_data(whole if start < 0 else spec.text, root=root, white=white)
    chosen = spec.chosen(len(data)) if start < 0 else range(start, start + len(data))
    first = chosen.start if start < 0 else 0

    def read(place: int) -> Tensor:
        return data.take(torch.tensor([first + place]))[0]

    names = [f"{number:06d}" for number in chosen]
    labels = [f"image {number} of {whole}" for number in chosen]
    identity: Facts = {"images": spec.text, "count": len(chosen)}

    def given(place: int) -> GivenPicture | None:
        return _given_array(read(place).numpy(), 1.0)

    return Source(names, labels, chosen, read, given, lambda place: _sha256_of_numbers(read(place).numpy()), identity)


def _folder(spec: DataSpec, folder: Path, white: float | None) -> Source:
    if (folder / RECORD).is_file():  # its masks are pictures, too
        raise _fault(f"{folder} holds what `genprior degrade` made; give {folder / MEASUREMENTS} or {folder / IMAGES}")
    files = image_files(folder)
    if not files:
        raise _fault(f"expected images ({' '.join(SUFFIXES)}) in {folder} or below, found none")
    chosen = spec.chosen(len(files))
    kept = files[chosen.start : chosen.stop]

    def given(place: int) -> GivenPicture:
        return read_given(folder / kept[place], white)

    all_names = hashlib.sha256("\n".join(kept).encode("utf-8", "surrogateescape")).hexdigest()
    window = {} if len(kept) == len(files) else {"slice": f"{spec.window.start}:{spec.window.stop}"}
    identity: Facts = {"images": os.path.abspath(folder), **window}
    listing: Facts = {"count": len(kept), "names_sha256": all_names}

    def digest(place: int) -> str:
        return file_sha256(folder / kept[place])

    names = picture_names(kept)
    return Source(names, kept, chosen, lambda i: given(i).image(), given, digest, identity, folder, listing)


def _sha256_of_numbers(values: NDArray[Any]) -> str:
    head = f"{values.dtype} {values.shape}\n".encode()
    return hashlib.sha256(head + np.ascontiguousarray(values).tobytes()).hexdigest()


def refuse_inside(out: Path, source: Source) -> None:
    """Raises `GenpriorError` where results would become images of the folder that is being read."""
    if source.path is not None and source.path.is_dir() and out.resolve().is_relative_to(source.path.resolve()):
        raise GenpriorError(f"{out} lies in the folder of images {source.path}; choose another folder", argument="out")


def picture_names(files: Sequence[str]) -> list[str]:
    """Returns a name for each file, from which pictures can be made on any system: NAME.png and the like.

    That is the file's own without suffix, with it where two would be called the same; and one with a hash where that is
    not enough, where a folder of that name is there, or where it is too long. Capitals alone do not tell names apart.

    Example:
        >>> picture_names(["a.png", "b/c.png", "b/c.jpg"])
        ['a', 'b/c.png', 'b/c.jpg']
    """
    short = [file.rpartition(".")[0] or file for file in files]
    often = Counter(map(_alike, short))
    names = [name if often[_alike(name)] == 1 else file for name, file in zip(short, files, strict=True)]
    folders = {_alike(str(parent)) for file in files for parent in PurePosixPath(file).parents}
    for turn in count():
        taken = Counter(map(_alike, names))
        bad = [i for i, name in enumerate(names) if taken[_alike(name)] > 1 or not _can_be_written(name, folders)]
        for i in bad:
            names[i] = _hashed(files[i], turn)
        if not bad:
            break
    return names


def _alike(name: str) -> str:
    """The same for names that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _can_be_written(name: str, folders: set[str]) -> bool:
    is_short = len(os.fsencode(name.rpartition("/")[2])) + max(map(len, PICTURES)) <= LONGEST_NAME
    return is_short and is_plain(name) and not any(_alike(name + suffix) in folders for suffix in PICTURES)


def _hashed(file: str, turn: int) -> str:
    digest = hashlib.sha256(os.fsencode(f"{turn} {file}")).hexdigest()[:8]
    folder, slash, name = re.sub(r"[\\:\0]|(?<![^/])\.\.(?![^/])", "_", file).rpartition("/")
    stem = os.fsencode(name.rpartition(".")[0] or name)[: LONGEST_NAME // 2].decode("utf-8", "ignore")
    return f"{folder}{slash}{stem}-{digest}"


def _picture(spec: DataSpec, path: Path, white: float | None) -> Source:
    chosen = spec.chosen(1)
    identity: Facts = {"images": os.path.abspath(path), "count": 1}

    def given(_: int) -> GivenPicture:
        return read_given(path, white)

    def digest(_: int) -> str:
        return file_sha256(path)

    return Source(
        picture_names([path.name]), [path.name], chosen, lambda _: given(0).image(), given, digest, identity, path
    )


def _array(spec: DataSpec, path: Path, white: float | None) -> Source:
    array = _opened(spec, path)
    if array.ndim < 2 or not array.size:
        raise _fault(f"{path}: expected items along the first axis, got an array of shape {array.shape}")
    try:
        scale = white_of(array.dtype.name, white)
    except ValueError as error:
        raise _fault(f"{path}: {error}") from error
    if white is None and array.dtype.kind == "u" and array[:LOOKED_AT].max() == 1:
        raise _fault(
            f"{path} holds 0 and 1 alone as {array.dtype}, where {scale:g} is white: give --white 1, or "
            f"--white {scale:g} if they are that dark"
        )
    chosen = spec.chosen(len(array))

    def read(place: int) -> Tensor:
        return torch.from_numpy(np.array(array[chosen[place]], dtype=np.float32)).div_(scale)

    def given(place: int) -> GivenPicture | None:
        return _given_array(np.array(array[chosen[place]]), white)

    def digest(place: int) -> str:
        return _sha256_of_numbers(array[chosen[place]])

    names, numbers = _recorded(path, chosen, len(array))
    identity: Facts = {
        "images": os.path.abspath(path),
        "count": len(chosen),
        "first": chosen.start,
        "shape": list(array.shape),
    }
    labels = [f"item {i} of {path.name}" for i in chosen]
    return Source(names, labels, numbers, read, given, digest, identity, path)


def _given_array(item: NDArray[Any], white: float | None) -> GivenPicture | None:
    arranged = channels_first(torch.from_numpy(np.ascontiguousarray(item)))
    if not is_picture(tuple(arranged.shape)):
        return None
    return given_values(arranged.movedim(0, -1).numpy(), white)


def _recorded(path: Path, chosen: range, count: int) -> tuple[list[str], Sequence[int]]:
    """Names and numbers of an array's items: those of the images that `degrade` made them from, or their places."""
    record = read_degradation(path)
    if record is not None:
        _refuse_altered(path)
    if record is None or len(record.names) != count:
        return [f"{i:06d}" for i in chosen], chosen
    return [record.names[i] for i in chosen], [record.numbers[i] for i in chosen]


def _refuse_altered(path: Path) -> None:
    """Raises `GenpriorError` for measurements that are not those that `degrade` wrote."""
    summary = path.parent / SUMMARY
    files = read_model(summary, DegradeSummary, "images").files if summary.is_file() else {}
    if files.get(path.name) not in (None, file_sha256(path)):
        raise _fault(
            f"{path} was altered since genprior degrade wrote it: give that command again, or move the file away from "
            f"{RECORD} to restore it as it is"
        )


def _opened(spec: DataSpec, path: Path) -> NDArray[Any]:
    """The array that holds the items; one that is alone is taken whatever its name, such as y."""
    file = open_arrays(path)
    name = image_key(file, spec.array) if spec.array is not None or len(file.read) != 1 else next(iter(file.read))
    array = file.array(name)
    return images_first(array, None)[0] if file.images_last else array


def is_picture(shape: Shape) -> bool:
    """Returns whether numbers of this shape can be shown: (C, H, W), grey or RGB, and not a point."""
    return len(shape) == 3 and shape[0] in (1, 3) and shape[1:] != (1, 1)


def fitted(
    item: Tensor,
    label: str,
    shape: Shape,
    *,
    resize: bool = False,
    argument: str = "images",
    hint: str = "--resize converts it",
    also: str = "",
) -> Tensor:
    """Returns an item in the shape (C, H, W) that is needed, or (m,) or another for measurements.

    Arguments:
        item: (C, H, W), (H, W), (H, W, C), or whatever it is to be.
        label: What messages call it.
        shape: Of the result.
        resize: Convert size (the central part in the right proportions, antialiased) and channels; else another shape
            is an error.
        argument: What the user calls what holds it.
        hint: How to have it converted.
        also: What else the caller would have taken, for the message.

    Raises:
        GenpriorError: Another shape.
    """
    arranged = channels_first(item) if len(shape) == 3 else item
    if arranged.shape == shape:
        return arranged.contiguous()
    can_convert = is_picture(tuple(arranged.shape)) and is_picture(shape)
    if not can_convert or not resize:
        way = f"; {hint}" if can_convert else ""
        expected = _words(shape) + also
        raise GenpriorError(f"{label} is {_words(item.shape)}, expected {expected}{way}", argument=argument)
    return _resized(with_channels(arranged, shape[0]), shape[1], shape[2])


def check_values(item: Tensor, label: str, *, is_image: bool) -> None:
    """Raises `GenpriorError` for NaN and infinity and, in images, for values outside [0, 1]."""
    wrong = int((~torch.isfinite(item)).sum())
    if wrong:
        raise GenpriorError(f"{label} has {wrong} of {item.numel()} values that are not finite", argument="images")
    low, high = (float(bound) for bound in torch.aminmax(item))
    if is_image and (low < -ROUNDING or high > 1 + ROUNDING):
        raise GenpriorError(
            f"{label} has values from {low:.4g} to {high:.4g}, expected [0, 1]: rescale them", argument="images"
        )


def channels_first(item: Tensor) -> Tensor:
    """Returns (C, H, W) of (H, W), (C, H, W) or (H, W, C); what is none of them is passed on."""
    if item.ndim == 2:
        return item[None]
    is_point = item.shape[1:] == (1, 1)
    if item.ndim == 3 and not is_point and item.shape[0] not in (1, 3) and item.shape[2] in (1, 3):
        return item.movedim(2, 0)
    return item


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    top, left, high, wide = centre_box((image.shape[1], image.shape[2]), (height, width))
    image = image[:, top : top + high, left : left + wide]
    if image.shape[1:] == (height, width):
        return image.contiguous()
    return interpolate(image[None], (height, width), mode="bilinear", antialias=True)[0]


def _words(shape: Shape) -> str:
    """Example: "1x28x28", "100 numbers"."""
    return "x".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers"


FILES: dict[str, Callable[[DataSpec, Path, float | None], Source]] = {
    **dict.fromkeys(SUFFIXES, _picture),
    **dict.fromkeys(ARRAY_FILES, _array),
}
