"""Masks of missing pixels: one picture for all images, or a folder with one for each. Knows files and names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from genprior.data.image_files import image_files
from genprior.errors import GenpriorError
from genprior.images import read_image, to_float
from genprior.restoring.sources import file_sha256, fitted, stems

FULLY = 0.99  # of a resized pixel must be known; half known is not known


@dataclass(frozen=True)
class Masks:
    """The masks of images in their order.

    Attributes:
        read: Place -> mask (1, H, W) float32, 1 where a pixel is known and 0 where it is missing. Raises
            `GenpriorError` for a mask that cannot be read, is of another size, or has no missing or no known pixels.
        digest: Place -> SHA-256 of the mask's file.
    """

    read: Callable[[int], Tensor]
    digest: Callable[[int], str]


def open_masks(path: Path, names: Sequence[str], image_shape: tuple[int, int, int], *, resize: bool) -> Masks:
    """Returns the masks of images.

    Arguments:
        path: A picture for all images, or a folder with one for each, called like the image but for the suffix; white
            is known, black is missing.
        names: Of the images.
        image_shape: (C, H, W).
        resize: Convert masks of another size.

    Raises:
        GenpriorError: No such file, or an image without mask.
    """
    if not path.is_dir():
        digest = file_sha256(path) if path.is_file() else ""  # first: the file may be exchanged while it is read
        only = _mask(path, image_shape, resize)
        return Masks(lambda _: only, lambda _: digest)
    files = _by_name(path)
    missing = [name for name in names if name not in files]
    if missing:
        raise _fault(f"{path} has no mask for {missing[0]} ({len(missing)} of {len(names)} images have none)")
    return Masks(
        lambda place: _mask(path / files[names[place]], image_shape, resize),
        lambda place: file_sha256(path / files[names[place]]),
    )


def _by_name(folder: Path) -> dict[str, str]:
    files = image_files(folder)
    return dict(zip(stems(files), files, strict=True)) | {file: file for file in files}


def _mask(path: Path, image_shape: tuple[int, int, int], resize: bool) -> Tensor:
    if not path.is_file():
        raise _fault(f"no such file or folder: {path}")
    try:
        picture = to_float(read_image(path, channels=1))
    except GenpriorError as error:
        raise _fault(error.message) from error
    shape = (1, *image_shape[1:])
    scaled = fitted(picture, f"the mask {path}", shape, resize=resize, argument="mask")
    known = scaled >= (0.5 if picture.shape == shape else FULLY)
    for wrong, what in ((known, "missing (black)"), (~known, "known (white)")):
        if bool(wrong.all()):
            raise _fault(f"the mask {path} has no {what} pixels")
    return known.float()


def _fault(what: str) -> GenpriorError:
    return GenpriorError(what, argument="mask")
