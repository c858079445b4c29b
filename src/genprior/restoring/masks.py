"""Masks of missing pixels: one picture for all images, or a folder with one for each. Knows files and names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from genprior.data.image_files import image_files
from genprior.errors import GenpriorError
from genprior.restoring.given_pictures import GivenPicture, read_given, with_channels
from genprior.restoring.placing import FULLY
from genprior.restoring.sources import fitted, picture_names
from genprior.runs.files import file_sha256

HALF = 0.5  # grey from here up is known
BLACK = 1.5 / 255
SOFT = 0.1  # a value this far from black and from white is neither


@dataclass(frozen=True)
class Mask:
    """What a mask tells.

    Attributes:
        path: Of its file.
        shade: (1, h, w) in [0, 1], 1 where a pixel is known and 0 where it is missing.
        note: What a user should know of it, or None.
    """

    path: Path
    shade: Tensor
    note: str | None = None

    def of_size(self, size: tuple[int, ...], *, resize: bool) -> Tensor:
        """Returns which pixels are known (1, h, w), 0 or 1, of an image of this height and width.

        Raises:
            GenpriorError: It has another size, and is not to be converted; or no missing or no known pixels.
        """
        scaled = fitted(self.shade, f"the mask {self.path}", (1, *size), resize=resize, argument="mask")
        known = scaled >= (HALF if scaled.shape == self.shade.shape else FULLY)
        for wrong, what in ((known, "missing (black)"), (~known, "known (white)")):
            if bool(wrong.all()):
                raise _fault(f"the mask {self.path} has no {what} pixels")
        return known.float()


@dataclass(frozen=True)
class Masks:
    """The masks of images in their order.

    Attributes:
        read: Place -> mask. Raises `GenpriorError` for one that cannot be read, or contradicts itself.
        digest: Place -> SHA-256 of the mask's file.
    """

    read: Callable[[int], Mask]
    digest: Callable[[int], str]


def open_masks(path: Path, names: Sequence[str], files: Sequence[str] = ()) -> Masks:
    """Returns the masks of images.

    Arguments:
        path: A picture for all images, or a folder with one for each, called like the image but for the suffix.
        names: Of the images.
        files: What they are read from, where that says more.

    Raises:
        GenpriorError: No such file, a single mask that cannot be read, or an image without mask.
    """
    if not path.is_dir():
        digest = file_sha256(path) if path.is_file() else ""  # first: the file may be exchanged while it is read
        only = read_mask(path)
        return Masks(lambda _: only, lambda _: digest)
    there = _by_name(path)
    ways = zip(names, files or names, strict=True)  # a name may have a hash that masks do not
    found = [there.get(name) or there.get(file) or there.get(file.rpartition(".")[0]) for name, file in ways]
    missing = [name for name, mask in zip(names, found, strict=True) if mask is None]
    if missing:
        raise _fault(f"{path} has no mask for {missing[0]} ({len(missing)} of {len(names)} images have none)")
    masks = [path / mask for mask in found if mask is not None]
    return Masks(lambda place: read_mask(masks[place]), lambda place: file_sha256(masks[place]))


def read_mask(path: Path) -> Mask:
    """Returns the mask in a picture: white is known, black is missing, and so is what is transparent.

    Where pixels differ in transparency, that alone tells, whatever the colour of the opaque ones. Where those are of
    both shades, the two contradict each other.

    Raises:
        GenpriorError: No such file, no picture, or a mask that contradicts itself.
    """
    if not path.is_file():
        raise _fault(f"no such file or folder: {path}")
    try:
        picture = read_given(path)
    except GenpriorError as error:
        raise _fault(error.message) from error
    grey, alpha = _grey(picture), _opacity(picture)
    if alpha is None or bool((alpha == alpha.flatten()[0]).all()):
        return Mask(path, grey, _soft_note(grey))
    opaque = grey[alpha >= HALF] >= HALF
    if len(opaque) and bool(opaque.any()) and not bool(opaque.all()):
        raise _fault(
            f"the mask {path} says two things: some pixels are transparent, which means missing, and the opaque ones "
            "are both black and white; remove the transparency, or paint all that is known in one colour"
        )
    return Mask(path, alpha, _soft_note(alpha))


def _grey(picture: GivenPicture) -> Tensor:
    """(1, h, w), whatever the transparency."""
    return with_channels(GivenPicture(picture.values, None, picture.white).image(), 1)


def _opacity(picture: GivenPicture) -> Tensor | None:
    return None if picture.alpha is None else GivenPicture(picture.alpha[..., None], None, picture.white).image()


def _soft_note(shade: Tensor) -> str | None:
    soft = int(((shade > SOFT) & (shade < 1 - SOFT)).sum())
    return f"{soft} of {shade.numel()} pixels of the mask are grey: cut at half" if soft else None


def looks_inverted(y: Tensor, known: Tensor) -> bool:
    """Whether all that a mask (1, h, w) calls known is black in an image (C, h, w), and what is missing is not."""
    nothing, rest = y[:, known[0] > 0], y[:, known[0] == 0]
    return bool((nothing.abs() <= BLACK).all()) and bool((rest.abs() > BLACK).any())


def _by_name(folder: Path) -> dict[str, str]:
    files = image_files(folder)
    return dict(zip(picture_names(files), files, strict=True)) | {file: file for file in files}


def _fault(what: str) -> GenpriorError:
    return GenpriorError(what, argument="mask")
