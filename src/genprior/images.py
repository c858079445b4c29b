"""The value range, in one place: uint8 <-> float in [0, 1]; grids of images; image files.

Knows tensors and pictures; of ours it imports errors and the range of numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.picture_numbers import GREY_ALPHA, deep_numbers, is_deep, raw_mode
from genprior.value_range import Extent, check_range, extent_of, scaled, white_of
from genprior.writing import write_numbers, write_picture

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2**26  # of a picture that is decoded: a file of kilobytes may hold gigabytes of one colour
LARGE, ONE_AT_A_TIME = 2**22, Lock()  # several threads together never decode more than one of these
FIRST_TURNED = 5  # orientations of Exif from this one on exchange width and height


def to_float(images: Tensor) -> Tensor:
    """Returns x (..., C, H, W) float32 in [0, 1] from uint8; floats (2-D points) are passed on.

    Example:
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    return images if images.is_floating_point() else images.float().div_(255)


def to_uint8(x: Tensor) -> Tensor:
    """Returns uint8 from x float in [0, 1]; inverts `to_float` for all 256 values, clips outside.

    Example:
        >>> to_uint8(torch.tensor([-0.1, 0.2, 1.0]))
        tensor([  0,  51, 255], dtype=torch.uint8)
    """
    return x.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def image_grid(x: Tensor, columns: int | None = None, padding: int = 2) -> Tensor:
    """Returns one picture (C, H', W') uint8 of x (B, C, H, W) in [0, 1], row by row, on grey.

    Arguments:
        x: Images, at least one.
        columns: Images in a row; default: the smallest square that holds them all.
        padding: Pixels between images.
    """
    from torchvision.utils import make_grid

    columns = columns or max(1, int(len(x) ** 0.5 + 0.999))
    grid: Tensor = make_grid(to_uint8(x), nrow=columns, padding=padding, pad_value=128)
    return grid[: x.shape[1]]  # make_grid repeats a single channel three times


def write_image(image: Tensor, path: Path) -> None:
    """Writes image (C, H, W) uint8, C 1 or 3; the suffix of `path` tells the kind of file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(image.permute(1, 2, 0).numpy(), path)


@dataclass(frozen=True)
class PictureHeader:
    """What an image file says of itself before a pixel is decoded.

    Attributes:
        width, height: Upright, as the picture is to be seen.
        is_grey: Whether it stores no colour, whatever it shows; a palette of greys counts as grey.
        has_alpha: Whether it stores transparency.
        pages: How many images it holds: pages of a TIFF, else 1.
    """

    width: int
    height: int
    is_grey: bool
    has_alpha: bool = False
    pages: int = 1


@dataclass(frozen=True)
class DecodedPicture:
    """A picture as it was decoded.

    Attributes:
        picture: 8 bit, mode L, RGB or RGBA, upright.
        numbers: What numbers the file holds, transparency apart.
        white: Which of them is white.
    """

    picture: Image.Image
    numbers: Extent
    white: float


def read_header(file: Path | BytesIO, page: int = 0) -> PictureHeader:
    """Returns size and kind of an image file. Raises OSError with a one-line reason for what is no image."""
    with _opened(file, page) as stored:
        is_grey, is_tiff = _is_grey(stored), stored.format == "TIFF"
        # Pillow has exchanged the sides of a TIFF already, and would decode a PNG whose header says nothing of them.
        is_told = not is_tiff and (stored.format != "PNG" or "exif" in stored.info)
        is_turned = is_told and _orientation(stored) >= FIRST_TURNED
        width, height = reversed(stored.size) if is_turned else stored.size
        pages = getattr(stored, "n_frames", 1) if is_tiff else 1
        return PictureHeader(width, height, is_grey, stored.has_transparency_data, pages)


def read_picture(
    file: Path | BytesIO, *, channels: int, at_least: int | None = None, white: float | None = None, page: int = 0
) -> DecodedPicture:
    """Returns the picture in a file, 8 bit, mode L, RGB or RGBA, upright.

    In L and RGB transparency is laid on white. Raises OSError with a one-line reason for a file that cannot be decoded,
    and for numbers that are negative, not finite or above white.

    Arguments:
        file: Path, or the bytes of a file.
        channels: 1 for mode L (ITU-R 601 luma), 3 for RGB, 4 for RGBA.
        at_least: Pixels that both sides must keep: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long
            as they do, which is several times faster.
        white: The number that is white; None: 255, of 16-bit files 65535, of floating point 1.
        page: Of a TIFF with several.
    """
    with _opened(file, page) as stored:
        if at_least is not None:
            stored.draft(None, (at_least, at_least))
        raw, deep = raw_mode(stored), is_deep(stored)
        with _room_for(stored):
            stored.load()
            values = deep_numbers(stored, file, page, raw) if deep else None
            picture, numbers, top = _shallow(stored, white) if values is None else _deep(stored, values, white)
            picture = _upright(picture, _orientation(stored))
            kept = picture if channels == 4 else _on_white(picture)
            return DecodedPicture(kept.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]), numbers, top)


def read_image(path: Path, channels: int | None = None, white: float | None = None, page: int | None = None) -> Tensor:
    """Returns the image (C, H, W) uint8 in a file, at its own size.

    Arguments:
        path: PNG, JPEG, WebP, BMP, TIFF, or whatever else Pillow reads.
        channels: 1, 3, or 4 to keep transparency; default: 1 for a file that stores grey, else 3.
        white: As `read_picture` has it.
        page: Of a TIFF with several, counted from 0; such a file is refused where none is named.
    """
    if channels not in (None, 1, 3, 4):
        raise GenpriorError(f"expected 1 (grey), 3 (RGB) or 4 (RGB and alpha), got {channels!r}", argument="channels")
    try:
        header = read_header(path, page or 0)
        if page is None and header.pages > 1:
            raise GenpriorError(f"{path} has {header.pages} pages: save the one that is meant as a file of its own")
        count = channels or (1 if header.is_grey else 3)
        return picture_to_tensor(read_picture(path, channels=count, white=white, page=page or 0).picture)
    except OSError as error:
        raise GenpriorError(f"cannot read the image {path}: {error}") from error


def read_numbers(path: Path) -> NDArray[Any]:
    """Returns the numbers (H, W, C) that a picture stores, upright: grey, grey and alpha, RGB, or RGB and alpha.

    They are uint8, uint16 or float32, in full depth. Palettes become grey or RGB, bilevel pictures 8-bit grey, CMYK
    becomes RGB, and a transparent colour alpha. Raises OSError with a one-line reason for what cannot be decoded.
    """
    with _opened(path, 0) as stored:
        raw, deep, is_grey = raw_mode(stored), is_deep(stored), _is_grey(stored)
        with _room_for(stored):
            stored.load()
        if deep:
            values = _with_alpha(stored, deep_numbers(stored, path, 0, raw))
        else:
            has_alpha = stored.has_transparency_data
            picture = stored.convert(("LA" if is_grey else "RGBA") if has_alpha else ("L" if is_grey else "RGB"))
            values = np.array(picture).reshape(*picture.size[::-1], -1)
        turn = _TURNS.get(_orientation(stored))
        return np.ascontiguousarray(values if turn is None else turn(values))


def _with_alpha(stored: Image.Image, values: NDArray[Any]) -> NDArray[Any]:
    """Deep numbers as float32 or uint16; one colour of theirs may be transparent."""
    if stored.mode == "F":
        return values.astype(np.float32)
    if values.min() < 0 or values.max() > 65535:
        raise OSError("integer values outside [0, 65535]")
    values, key = values.astype(np.uint16), stored.info.get("transparency")
    if key is None:
        return values
    opaque = (values != np.asarray(key)).any(-1, keepdims=True)
    return np.concatenate([values, np.where(opaque, np.uint16(65535), np.uint16(0))], -1)


def picture_to_tensor(picture: Image.Image) -> Tensor:
    """Returns (1, H, W) uint8 of a picture in mode L, (3, H, W) of one in RGB, (4, H, W) of one in RGBA."""
    array = torch.from_numpy(np.array(picture))
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)


def open_regular(path: Path) -> BinaryIO:
    """Opens a file to be read; raises OSError for a pipe or device, which might be waited for in vain."""
    if path.exists() and not path.is_file():
        raise OSError("it is no regular file")
    return path.open("rb")


@contextmanager
def _opened(file: Path | BytesIO, page: int) -> Iterator[Image.Image]:
    """A file that Pillow knows; whatever a damaged one makes a decoder raise becomes an OSError with a short reason."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Never by its name: of an uncompressed file Pillow then maps the pixels into memory, with the sides exchanged
        # where a TIFF lies on its side.
        with (
            nullcontext(file) if isinstance(file, BytesIO) else open_regular(file) as content,
            Image.open(content) as stored,
        ):
            if page:
                stored.seek(page)
            yield stored
    except UnidentifiedImageError as error:
        raise OSError("not an image that Pillow knows") from error
    except GenpriorError:
        raise
    except Exception as error:  # SyntaxError, struct.error, KeyError ...: decoders fail as they like
        raise_lack_of_memory(error)
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error


@contextmanager
def _room_for(stored: Image.Image) -> Iterator[None]:
    """Lets large pictures be decoded one at a time, and none that would fill the memory."""
    pixels = stored.width * stored.height
    if pixels > MOST_PIXELS:
        raise OSError(f"it has {pixels:,} pixels, at most {MOST_PIXELS:,} are read: make it smaller")
    with ONE_AT_A_TIME if pixels > LARGE else nullcontext():
        yield


# How an array (H, W, ...) of each orientation of Exif is set upright.
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: partial(np.rot90, k=2),
    4: np.flipud,
    5: partial(np.swapaxes, axis1=0, axis2=1),
    6: partial(np.rot90, k=-1),
    7: lambda values: np.swapaxes(np.rot90(values, 2), 0, 1),
    8: np.rot90,
}


def _orientation(stored: Image.Image) -> int:
    """How a picture must be turned, 1 to 8 as in Exif; 1 is upright."""
    try:
        found = stored.getexif().get(0x0112, 1)
    except Exception:  # tags that make no sense, in as many ways, say nothing against the pixels
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    turns = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
    return picture if orientation == 1 else picture.transpose(Transpose[turns[orientation - 2]])


def _is_grey(stored: Image.Image) -> bool:
    if stored.mode in ("P", "PA"):
        palette = stored.getpalette() or [0, 0, 1]
        return palette[0::3] == palette[1::3] == palette[2::3]
    stores_grey = stored.mode in ("1", "L", "LA", "La", "F") or stored.mode.startswith("I")
    return stores_grey or raw_mode(stored) == GREY_ALPHA  # which Pillow opens as RGBA


def _shallow(stored: Image.Image, white: float | None) -> tuple[Image.Image, Extent, float]:
    """A picture that Pillow decodes to 8 bit, its numbers, and which is white."""
    top = white_of("uint8", white)
    mode = "L" if stored.mode in ("1", "L") else "RGB"
    picture = stored.convert("RGBA") if stored.has_transparency_data else stored.convert(mode)
    bands = picture.split()
    colours = bands[:3]
    counts = np.array([band.histogram() for band in colours]).sum(0)
    numbers = extent_of(counts.nonzero()[0])
    _check(numbers, top, white is not None)
    if len(bands) == 4 and bands[3].getextrema()[0] != 255:
        numbers |= Extent(top, top, 0, 0)  # white shows through, however dark the rest may be
    if white is not None:
        table = [min(255, round(255 * level / top)) for level in range(256)]
        picture = _merged([*(band.point(table) for band in colours), *bands[3:]])
    return picture, numbers, top


def _deep(stored: Image.Image, values: NDArray[Any], white: float | None) -> tuple[Image.Image, Extent, float]:
    """A picture of numbers (H, W, C), 16 bits or floating point; what they are, and which of them is white."""
    from PIL import Image

    key = stored.info.get("transparency")
    count = values.shape[2] - (values.shape[2] in (2, 4))
    colours = values[..., :count]
    numbers = extent_of(colours)
    top = white_of("float32" if stored.mode == "F" else "uint16", white)
    _check(numbers, top, white is not None)
    alpha = None if count == values.shape[2] else to_uint8(scaled(values[..., count])).numpy()
    if key is not None:  # one colour, in the numbers of the file, is transparent
        alpha = np.where((colours == np.asarray(key)).all(-1), 0, 255).astype(np.uint8)
    if alpha is not None and alpha.min() < 255:
        numbers |= Extent(top, top, 0, 0)
    bands = to_uint8(scaled(colours, top)).numpy()
    layers = [bands[..., i] for i in range(count)] + ([] if alpha is None else [alpha])
    return _merged([Image.fromarray(np.ascontiguousarray(layer)) for layer in layers]), numbers, top


def _check(numbers: Extent, white: float, is_asked: bool) -> None:
    """Raises for numbers that are no image; what somebody says of white may be what is wrong."""
    try:
        check_range(numbers, white)
    except ValueError as error:
        if is_asked:
            raise GenpriorError(str(error), argument="white") from error
        raise OSError(str(error)) from error


def _merged(bands: list[Image.Image]) -> Image.Image:
    from PIL import Image

    return bands[0] if len(bands) == 1 else Image.merge({2: "LA", 3: "RGB", 4: "RGBA"}[len(bands)], bands)


def _on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    opaque = Image.new("RGBA", picture.size, "white")
    opaque.alpha_composite(picture.convert("RGBA"))
    return opaque


def write_array(x: Tensor, path: Path) -> None:
    """Writes x (B, C, H, W) as float32 numbers, readable with `numpy.load`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_numbers(path, x.shape, [x.numpy()])
