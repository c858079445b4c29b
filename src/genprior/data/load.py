"""A spec in, a `Dataset` out. `SOURCES`, at the end, is the place to add a source."""

import os
import warnings
from functools import partial
from pathlib import Path

from genprior.data import named
from genprior.data.array_files import ARRAY_FILES
from genprior.data.arrays import load_arrays
from genprior.data.dataset import Dataset
from genprior.data.geometry import Shape
from genprior.data.hub import load_hub
from genprior.data.image_files import load_folder, load_zip
from genprior.data.spec import DataSpec, Loader, Request, make_request, mistaken_name
from genprior.data.toy import grid_centres, load_points, load_stacked_mnist, ring_centres
from genprior.errors import GenpriorError, suggestion

NAMED_FILES = 5  # how many unreadable files a warning names


def load_data(
    spec: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    size: int | Shape | str | None = None,
    channels: int | None = None,
    fit: str = "crop",
    strict: bool = False,
    white: float | None = None,
) -> Dataset:
    """Returns the images that a spec names, all in memory, in their order.

    A spec is SOURCE[:option[,option...]][[start:stop]], with options `key=value` or bare words, and a slice as in
    Python: `mnist:test[:100]`, `emnist:letters,split=all`, `ring:count=5000`, `hub:owner/name:split=train`. Any other
    string that names an existing file or folder is that path as it stands: a folder or .zip file is searched for images
    (PNG, JPEG, WebP, BMP, TIFF with all its pages), a .npy, .npz, .mat or .h5 file is read; `file.npz:name` is one of
    its arrays. A folder that has the name of a data set is `./mnist`. The split is `train` unless the spec says
    otherwise. What looks wrong but can be read is a warning, and one of the `notes` of the data set.

    Arguments:
        spec: What to load; a mistyped name is answered with the nearest one.
        root: Folder of local copies, where downloads go too; default: $GENPRIOR_DATA, else ~/.cache/genprior.
        size: Pixels a side, or (height, width), or as text 64, 48x32, auto; images are made smaller, never larger
            (`digits` alone may be). Default: the images' own; 28 for digits; for folders and the hub `usual_shape`.
        channels: 1, 3, or 4 to keep transparency; default: the images' own, laid on white (folders: RGB unless all
            files store grey).
        fit: How images take another shape: `crop` cuts the middle out, `pad` adds black, `keep` keeps the ratio of
            the sides and makes the longer one the size. `crops` makes nothing smaller: images are parts of `size`,
            fixed ones side by side here, new ones at each visit of training.
        strict: True: an unreadable file is an error. False: it is left out, named in `skipped`, and one warning tells
            how many there were.
        white: The number that is white in files; default: 255, of 16 bits 65535, of floating point 1.

    Raises:
        GenpriorError: An unknown name or option, images that cannot be had, or a size or shape out of range.

    Example:
        >>> load_data("digits[:10]").image_shape
        (1, 28, 28)
    """
    request = make_request(spec, root, size, channels, fit, strict, white)
    dataset = _loader(request.spec)(request)
    for line in filter(None, [mistaken_name(request.spec), _skipped_line(dataset), *dataset.notes]):
        warnings.warn(line, stacklevel=2)
    return dataset


def _loader(spec: DataSpec) -> Loader:
    if spec.source is None:
        return _load_path
    if spec.source in SOURCES:
        return SOURCES[spec.source]
    if os.path.exists(os.path.expanduser(spec.source)):
        raise GenpriorError(f"a path takes no options, got {spec.text!r}", argument="data")
    raise GenpriorError(
        f"unknown data set, and no such file or folder: {spec.source!r}; {suggestion(spec.source, SOURCES)}, or a path",
        argument="data",
    )


def _load_path(request: Request) -> Dataset:
    path = Path(request.spec.rest)
    if not (path.is_dir() or path.is_file()):  # a pipe would be waited for
        raise GenpriorError(f"{path} is no file and no folder", argument="data")
    loader = load_folder if path.is_dir() else PATHS.get(path.suffix.lower())
    if loader is None:
        raise GenpriorError(
            f"expected a folder of images or a file that ends in {', '.join(PATHS)}, got {path}", argument="data"
        )
    return loader(request)


def _skipped_line(dataset: Dataset) -> str | None:
    if not dataset.skipped:
        return None
    names = ", ".join(dataset.skipped[:NAMED_FILES])
    more = ", ..." if len(dataset.skipped) > NAMED_FILES else ""
    total = len(dataset) + len(dataset.skipped)
    return f"{len(dataset.skipped)} of {total} images cannot be read and are left out: {names}{more}"


PATHS: dict[str, Loader] = {**dict.fromkeys(ARRAY_FILES, load_arrays), ".zip": load_zip}

SOURCES: dict[str, Loader] = {
    "digits": named.load_digits,
    "mnist": partial(named.load_collection, named.MNIST),
    "fashion-mnist": partial(named.load_collection, named.FASHION_MNIST),
    "kmnist": partial(named.load_collection, named.KMNIST),
    "qmnist": partial(named.load_collection, named.QMNIST),
    "emnist": named.load_emnist,
    "usps": partial(named.load_collection, named.USPS),
    "cifar10": partial(named.load_collection, named.CIFAR10),
    "cifar100": partial(named.load_collection, named.CIFAR100),
    "svhn": partial(named.load_collection, named.SVHN),
    "stl10": partial(named.load_collection, named.STL10),
    "hub": load_hub,
    "ring": partial(load_points, ring_centres(), 0.01),
    "grid": partial(load_points, grid_centres(), 0.05),
    "stacked-mnist": load_stacked_mnist,
}
