"""A folder of images, searched recursively."""

import os
from pathlib import Path

import torch
from torch import Tensor

from genprior.data.dataset import Dataset
from genprior.data.encoded import Encoded, decode_all
from genprior.data.request import Request
from genprior.errors import GenpriorError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def load_folder(request: Request) -> Dataset:
    """Returns the images of a folder in the order of their relative paths.

    If more than one sub-folder of the first level holds images, and none lie outside them, a label
    is the place of the image's sub-folder in alphabetical order; else there are no labels. A slice
    chooses among the image files, and only those are opened.
    """
    folder = Path(request.spec.rest)
    names = image_files(folder)
    if not names:
        raise GenpriorError(
            f"expected images ({' '.join(SUFFIXES)}) in {folder} or below, found none: name "
            "another folder (mnist:train is the data set even where a folder is called mnist)",
            argument="data",
        )
    chosen = request.spec.chosen(len(names))
    encoded = [Encoded(names[i], (folder / names[i]).absolute) for i in chosen]
    decoded = decode_all(encoded, request)
    labels = folder_labels(names)
    return Dataset(
        name=request.spec.text,
        images=decoded.images,
        labels=labels if labels is None else labels[chosen.start : chosen.stop][decoded.kept],
        skipped=decoded.skipped,
    )


def image_files(folder: Path) -> list[str]:
    """Returns the relative paths of the image files in a folder and below, sorted, with slashes.

    Hidden files and folders are left out; links are followed, every folder is entered once.
    """
    names, entered = [], set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        visible = [] if real in entered else sorted(f for f in folders if not f.startswith("."))
        folders[:] = visible
        if real not in entered:
            names += [Path(where, f).relative_to(folder).as_posix() for f in files if _is_image(where, f)]
        entered.add(real)
    return sorted(names)


def folder_labels(names: list[str]) -> Tensor | None:
    """Returns labels int64 (N,) from relative paths, or None where sub-folders do not tell classes.

    Example:
        >>> folder_labels(["cat/a.png", "cat/b.png", "dog/a.png"])
        tensor([0, 0, 1])
    """
    parents = [name.partition("/")[0] if "/" in name else None for name in names]
    classes = sorted({parent for parent in parents if parent is not None})
    if len(classes) < 2 or None in parents:
        return None
    index = {name: i for i, name in enumerate(classes)}
    return torch.tensor([index[parent] for parent in parents if parent is not None])


def _is_image(where: str, name: str) -> bool:
    """Returns whether a file is to be read; so is a link to nothing, to be reported by name."""
    path = Path(where, name)
    return not name.startswith(".") and path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists())
