"""Images and labels in a file of arrays."""

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genprior.data.array_files import Array, NamedArrays, file_fault, open_arrays
from genprior.data.dataset import Dataset
from genprior.data.geometry import CHUNK, channels_first
from genprior.data.spec import Request, shaped_dataset
from genprior.errors import GenpriorError
from genprior.images import to_uint8
from genprior.value_range import NOTHING, Extent, check_range, extent_of, scaled, white_of

IMAGE_KEYS = ("images", "x", "data")
LABEL_KEYS = ("labels", "y", "label", "targets")
COLOURS = (1, 3, 4)  # how many channels images have


def load_arrays(request: Request) -> Dataset:
    """Returns the images of a file of arrays, and their labels.

    Images: the array that a spec FILE:NAME names; else `images`, `x` or `data`, or the only one that may hold images.
    Shape (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1, 3 or 4, channels first where both fit; in .mat files also
    (H, W, N) and (H, W, C, N). uint8, bool, uint16, or floating point in [0, 1]; with `white` any real type.
    Labels: `labels`, `y`, `label` or `targets`: whole numbers, words or one-hot rows. Others are left out, with a note.
    """
    file = open_arrays(Path(request.spec.rest))
    name = image_key(file, request.spec.array)
    key = next((each for each in file.read if each.lower().rpartition("/")[2] in LABEL_KEYS and each != name), None)
    labels, label_notes = (None, []) if key is None else _labels(file, key)
    images, notes = _images(file, name, None if labels is None else len(labels))
    if labels is not None and len(labels) != len(images):
        label_notes.append(f"{key} is left out: it holds {len(labels)} labels for {len(images)} images")
        labels = None
    chosen = request.spec.chosen(len(images))
    window = slice(chosen.start, chosen.stop)
    pixels, numbers, doubts = _as_uint8(file.path, images[window], request.white)
    found = shaped_dataset(request, pixels, labels if labels is None else labels[window])
    return replace(found, notes=(*label_notes, *notes, *doubts), numbers=(numbers,))


def image_key(file: NamedArrays, asked: str | None) -> str:
    """Returns the name of the array that holds the images: the one asked for, one of `IMAGE_KEYS`, or the only one.

    Raises:
        GenpriorError: None of them, or several that may be.
    """
    told = ", ".join(sorted(file.read)) or "none"
    if asked is not None:
        if asked not in file.read:
            raise file_fault(file.path, f"it has no array {asked!r}, only {told}")
        return asked
    short = {name: name.lower().rpartition("/")[2] for name in file.read}
    named = [name for key in IMAGE_KEYS for name in short if short[name] == key]
    others = [name for name in short if short[name] not in LABEL_KEYS]
    if not named and len(others) > 1:
        others = [name for name in others if file.array(name).ndim in (3, 4)]
    if not named and len(others) != 1:
        raise file_fault(
            file.path,
            f"expected an array named {' or '.join(IMAGE_KEYS)}, or one array alone, got {told}: name the one that "
            f"holds images, as in {file.path.name}:NAME",
        )
    return (named or others)[0]


def _images(file: NamedArrays, name: str, labels: int | None) -> tuple[Array, list[str]]:
    """A view (N, C, H, W), not empty, and what must be said of it."""
    stored = file.array(name)
    ordered, notes = images_first(stored, labels) if file.images_last else (stored, [])
    try:
        images = channels_first(ordered)
    except ValueError as error:
        raise file_fault(file.path, str(error)) from error
    if not images.size:
        raise file_fault(file.path, f"expected at least one image, got an array of shape {stored.shape}")
    return images, notes


def images_first(stored: Array, labels: int | None) -> tuple[Array, list[str]]:
    """Returns an array of a .mat file with the images along its first axis, and a note where that had to be guessed.

    Arguments:
        stored: As the file has it.
        labels: How many labels the file has; None: none.
    """
    shape, moved = stored.shape, np.moveaxis(stored, -1, 0) if stored.ndim > 2 else stored
    if stored.ndim not in (3, 4):
        return stored, []
    if labels in (shape[0], shape[-1]) and shape[0] != shape[-1]:
        return (moved, []) if shape[-1] == labels else (stored, [])
    if stored.ndim == 4 and (shape[2] in COLOURS) != (shape[1] in COLOURS or shape[3] in COLOURS):
        return (moved, []) if shape[2] in COLOURS else (stored, [])
    if stored.ndim == 3 and (shape[0] == shape[1]) != (shape[1] == shape[2]):
        return (moved, []) if shape[0] == shape[1] else (stored, [])
    return moved, [f"an array of shape {shape} is read as {shape[-1]} images along its last axis, as MATLAB has them"]


def _labels(file: NamedArrays, key: str) -> tuple[Tensor | None, list[str]]:
    """Labels int64 (N,), or None and why they are left out: that must not stop a training that needs none."""
    try:
        labels = file.array(key)
    except GenpriorError as error:
        return None, [f"{key} is left out: {error.message}"]
    column = labels.reshape(-1) if labels.ndim == 2 and 1 in labels.shape else labels
    if column.ndim == 1 and column.dtype.kind in "USO":
        words = np.array([_word(each) for each in column])
        return torch.from_numpy(np.unique(words, return_inverse=True)[1].astype(np.int64)), []
    if labels.dtype.kind in "iubf":
        is_one_hot = column.ndim == 2 and bool(np.isin(column, (0, 1)).all() and (column.sum(1) == 1).all())
        numbers = column.argmax(1) if is_one_hot else column
        if numbers.ndim == 1 and bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
            return torch.from_numpy(numbers.astype(np.int64)), []
    return None, [
        f"{key} is left out: expected whole numbers, words or one-hot rows, got {labels.dtype} of shape {labels.shape}"
    ]


def _word(label: object) -> str:
    """A word, which MATLAB's cells wrap in an array, and HDF5 may have as bytes."""
    while isinstance(label, np.ndarray) and label.size:
        label = label.flat[0]
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _as_uint8(path: Path, images: Array, white: float | None) -> tuple[Tensor, tuple[float, Extent], list[str]]:
    """Images uint8 (N, C, H, W), never holding more than a chunk in any other type; the number that is white and what
    numbers there are; and what looks wrong with them.
    """
    try:
        if images.dtype.kind not in "iubf":
            raise ValueError(f"expected images of real numbers, got {images.dtype}")
        top = white_of(images.dtype.name, white)
        found: Extent = reduce(lambda one, other: one | other, map(extent_of, _chunks(images)), NOTHING)
        doubt = check_range(found, top)
    except ValueError as error:
        raise file_fault(path, str(error)) from error
    result = torch.empty(images.shape, dtype=torch.uint8)
    for place, chunk in zip(torch.split(result, CHUNK), _chunks(images), strict=True):
        is_exact = chunk.dtype == np.uint8 and top == 255
        place.copy_(torch.from_numpy(np.array(chunk)) if is_exact else to_uint8(scaled(chunk, top)))
    return result, (top, found), [] if doubt is None else [f"{path}: {doubt}"]


def _chunks(images: Array) -> Iterator[Array]:
    for start in range(0, len(images), CHUNK):
        yield images[start : start + CHUNK]
