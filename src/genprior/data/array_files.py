"""Files of named arrays: .npy, .npz, MATLAB's .mat and HDF5. An array is read when it is asked for."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.stored_files import check_array_header, read_array

Array = NDArray[Any]
ALONE = "images"  # what an array without a name is called


@dataclass(frozen=True)
class NamedArrays:
    """The arrays of a file.

    Attributes:
        path: Of the file.
        read: Name -> how to read that array.
        images_last: Whether the last axis of an array counts the images, as MATLAB's users have it.
    """

    path: Path
    read: Mapping[str, Callable[[], Array]]
    images_last: bool = False

    def array(self, name: str) -> Array:
        """Returns an array of the file; raises GenpriorError where it holds no numbers or is damaged."""
        with _told(self.path):
            return self.read[name]()


def open_arrays(path: Path) -> NamedArrays:
    """Returns the arrays of a file, by its suffix.

    Raises:
        GenpriorError: The file is damaged, or of another kind.
    """
    with _told(path):
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        return ARRAY_FILES[path.suffix.lower()](path)


def file_fault(path: Path, what: str) -> GenpriorError:
    """Returns the error that says of a file, in one line, what is wrong with it."""
    return GenpriorError(f"{path}: {' '.join(what.split())}", argument="data")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error) as error:
        raise file_fault(path, f"the file is damaged ({error})") from error
    except GenpriorError:
        raise
    except Exception as error:  # readers of foreign formats fail as they like
        raise_lack_of_memory(error)
        reason = str(error) or type(error).__name__
        raise file_fault(path, f"cannot read it as arrays of numbers ({reason})") from error


def _npy(path: Path) -> NamedArrays:
    mapped = read_array(path)  # and read chunk by chunk: a file of float64 needs no memory for float64
    return NamedArrays(path, {ALONE: lambda: mapped})


def _npz(path: Path) -> NamedArrays:
    if not zipfile.is_zipfile(path):  # a .npy file by another name, or none at all
        return _npy(path)
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    return NamedArrays(path, {name: partial(_npz_array, path, name) for name in names})


def _npz_array(path: Path, name: str) -> Array:
    with zipfile.ZipFile(path) as archive:
        info = next(each for each in archive.infolist() if each.filename.removesuffix(".npy") == name)
        with archive.open(info) as file:
            check_array_header(file, info.file_size)
        with archive.open(info) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _mat(path: Path) -> NamedArrays:
    from scipy.io import loadmat

    try:
        found = loadmat(path)
    except NotImplementedError:  # MATLAB 7.3 writes HDF5, with all axes in reverse
        opened = _hdf5(path).read
        turned = {name: partial(_transposed, read) for name, read in opened.items() if not name.startswith("#")}
        return NamedArrays(path, turned, images_last=True)
    named = {name: value for name, value in found.items() if not name.startswith("__")}
    return NamedArrays(path, {name: partial(np.asarray, value) for name, value in named.items()}, images_last=True)


def _hdf5(path: Path) -> NamedArrays:
    import h5py

    names: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, each: names.append(name) if isinstance(each, h5py.Dataset) else None)
    return NamedArrays(path, {name: partial(_hdf5_array, path, name) for name in names})


def _hdf5_array(path: Path, name: str) -> Array:
    import h5py

    with h5py.File(path) as file:
        found = file[name]
        return np.asarray(found.asstr()[()] if h5py.check_string_dtype(found.dtype) else found[()])


def _transposed(read: Callable[[], Array]) -> Array:
    return read().T


ARRAY_FILES: dict[str, Callable[[Path], NamedArrays]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".mat": _mat,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}
