"""A spec in, a `Dataset` out. `SOURCES`, at the end, is the place to add a source."""

import os
import warnings
from functools import partial
from pathlib import Path

from genprior.data import named
from genprior.data.arrays import load_arrays
from genprior.data.dataset import Dataset
from genprior.data.hub import load_hub
from genprior.data.image_files import load_folder
from genprior.data.spec import DataSpec, Loader, Request, make_request
from genprior.data.toy import grid_centres, load_points, load_stacked_mnist, ring_centres
from genprior.errors import GenpriorError, suggestion

NAMED_FILES = 5  # how many unreadable files a warning names


def load_data(
    spec: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    size: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
    strict: bool = False,
) -> Dataset:
    """Returns the images that a spec names, all in memory, in their order.

    A spec is SOURCE[:option[,option...]][[start:stop]], with options `key=value` or bare words, and a slice as in
    Python: `mnist:test[:100]`, `emnist:letters,split=all`, `ring:count=5000`, `hub:owner/name:split=train`. A string
    that names an existing file or folder is that path as it stands: a folder is searched for images (PNG, JPEG, WebP,
    BMP, TIFF), a .npy or .npz file is read. The split is `train` unless the spec says otherwise.

    Arguments:
        spec: What to load; a mistyped name is answered with the nearest one.
        root: Folder of local copies, where downloads go too; default: $GENPRIOR_DATA, else ~/.cache/genprior.
        size: Height and width in pixels; images are made smaller, never larger (`digits` alone may be). Default: the
            images' own; 28 for digits; for folders and the hub the one square shape they share if its side is 8 to
            128, else 64, 32 or 28, the first that the smallest side of all images reaches.
        channels: 1 or 3; default: the images' own (folders: RGB unless all files store grey).
        fit: What becomes of oblong images: `crop` cuts the middle out, `pad` adds black.
        strict: True: an unreadable file is an error. False: it is left out, named in `skipped`, and one warning tells
            how many there were.

    Raises:
        GenpriorError: An unknown name or option, images that cannot be had, or a size or shape out of range.

    Example:
        >>> load_data("digits[:10]").image_shape
        (1, 28, 28)
    """
    request = make_request(spec, root, size, channels, fit, strict)
    dataset = _loader(request.spec)(request)
    if dataset.skipped:
        warnings.warn(_skipped_line(dataset), stacklevel=2)
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
    loader = load_folder if path.is_dir() else PATHS.get(path.suffix.lower())
    if loader is None:
        raise GenpriorError(f"expected a folder of images or a {' or '.join(PATHS)} file, got {path}", argument="data")
    return loader(request)


def _skipped_line(dataset: Dataset) -> str:
    names = ", ".join(dataset.skipped[:NAMED_FILES])
    more = ", ..." if len(dataset.skipped) > NAMED_FILES else ""
    total = len(dataset) + len(dataset.skipped)
    return f"{len(dataset.skipped)} of {total} images cannot be read and are left out: {names}{more}"


PATHS: dict[str, Loader] = {".npy": load_arrays, ".npz": load_arrays}

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
