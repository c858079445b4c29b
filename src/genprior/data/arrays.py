"""Images in a file of arrays: .npy and .npz."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genprior.data.dataset import Dataset
from genprior.data.geometry import CHUNK, channels_first
from genprior.data.spec import Request, shaped_dataset
from genprior.errors import GenpriorError
from genprior.images import from_16_bit, to_uint8

Array = NDArray[Any]
IMAGE_KEYS = ("images", "x", "data")
LABEL_KEYS = ("labels", "y")


def load_arrays(request: Request) -> Dataset:
    """Returns the images of a .npy or .npz file, and the labels of the latter.

    Images: the array `images`, `x` or `data`, or the only one; shape (N, H, W), (N, C, H, W) or
    (N, H, W, C) with C 1 or 3 (channels first where both fit); uint8, bool, uint16, or floating
    point in [0, 1]. Labels: whole numbers (N,), the array `labels` or `y`.
    """
    path = Path(request.spec.rest)
    arrays = _read(path)
    images = _images(path, arrays)
    labels = _labels(path, arrays, len(images))
    chosen = request.spec.chosen(len(images))
    window = slice(chosen.start, chosen.stop)
    return shaped_dataset(request, _as_uint8(path, images[window]), labels if labels is None else labels[window])


def _read(path: Path) -> dict[str, Array]:
    """Returns the arrays of a file by name; an array without a name is called `images`."""
    try:
        return _read_npz(path) if path.suffix.lower() == ".npz" else _read_npy(path)
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError) as error:
        raise _fault(path, f"cannot read it as arrays of numbers ({error})") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _fault(path, f"the file is damaged ({error})") from error


def _read_npy(path: Path) -> dict[str, Array]:
    # mapped, and read chunk by chunk: a file of float64 needs no memory for float64
    return {IMAGE_KEYS[0]: np.lib.format.open_memmap(path, mode="r")}


def _read_npz(path: Path) -> dict[str, Array]:
    with path.open("rb") as file:
        opened = np.load(file, allow_pickle=False)
        return {IMAGE_KEYS[0]: opened} if isinstance(opened, np.ndarray) else dict(opened)


def _images(path: Path, arrays: Mapping[str, Array]) -> Array:
    """Returns a view (N, C, H, W), of one of the types that `_AS_UINT8` knows, not empty."""
    images = _pick_images(path, arrays)
    try:
        ordered = channels_first(images)
    except ValueError as error:
        raise _fault(path, str(error)) from error
    if not ordered.size:
        raise _fault(path, f"expected at least one image, got an array of shape {images.shape}")
    if images.dtype.name not in _AS_UINT8:
        raise _fault(path, f"expected images of type {', '.join(_AS_UINT8)}, got {images.dtype}: convert them")
    return ordered


def _pick_images(path: Path, arrays: Mapping[str, Array]) -> Array:
    for key in IMAGE_KEYS:
        if key in arrays:
            return arrays[key]
    others = [key for key in arrays if key not in LABEL_KEYS]
    if len(others) != 1:
        raise _fault(
            path,
            f"expected an array named {' or '.join(IMAGE_KEYS)}, or one array alone, got "
            f"{', '.join(sorted(arrays)) or 'none'}",
        )
    return arrays[others[0]]


def _labels(path: Path, arrays: Mapping[str, Array], count: int) -> Tensor | None:
    key = next((key for key in LABEL_KEYS if key in arrays), None)
    if key is None:
        return None
    labels = arrays[key]
    if labels.shape != (count,) or labels.dtype.kind not in "iub":
        raise _fault(
            path, f"expected {key} to be whole numbers of shape ({count},), got {labels.dtype} of shape {labels.shape}"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _as_uint8(path: Path, images: Array) -> Tensor:
    """Returns images uint8 (N, C, H, W), never holding more than a chunk in any other type."""
    if images.dtype.kind == "f":
        _refuse_values(path, images)
    convert = _AS_UINT8[images.dtype.name]
    result = torch.empty(images.shape, dtype=torch.uint8)
    for place, chunk in zip(torch.split(result, CHUNK), _chunks(images), strict=True):
        place.copy_(convert(chunk))
    return result


def _refuse_values(path: Path, images: Array) -> None:
    """Raises GenpriorError unless all values are finite and in [0, 1]."""
    wrong, low, high = 0, np.inf, -np.inf
    for chunk in _chunks(images):
        finite = chunk[np.isfinite(chunk)]
        wrong += chunk.size - int(((finite >= 0) & (finite <= 1)).sum())
        low, high = min(low, finite.min(initial=np.inf)), max(high, finite.max(initial=-np.inf))
    if wrong:
        found = f"finite values from {low:g} to {high:g}" if low <= high else "no finite value"
        raise _fault(
            path,
            f"expected finite values in [0, 1], got {wrong} of {images.size} that are not "
            f"({found}): rescale them, or save 0 to 255 as uint8",
        )


def _chunks(images: Array) -> Iterator[Array]:
    for start in range(0, len(images), CHUNK):
        yield images[start : start + CHUNK]


def _fault(path: Path, what: str) -> GenpriorError:
    return GenpriorError(f"{path}: {' '.join(what.split())}", argument="data")


def _float(values: Array) -> Tensor:
    return to_uint8(torch.from_numpy(values.astype(np.float32)))


def _int(values: Array) -> Tensor:
    return from_16_bit(torch.from_numpy(values.astype(np.int32)))


def _byte(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.uint8))  # a copy: a mapped file may not be written to


_AS_UINT8: dict[str, Callable[[Array], Tensor]] = {
    "uint8": _byte,
    "bool": lambda values: _byte(values) * 255,
    "uint16": _int,
    "float16": _float,
    "float32": _float,
    "float64": _float,
}
