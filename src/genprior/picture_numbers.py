"""The numbers that a picture file stores, in full: Pillow keeps the upper byte alone where colours have 16 bits.

Imports nothing of ours.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

# By how the pixels of a file lie: what reads the lower bytes. Little-endian numbers that are read as big-endian ones
# give their lower byte as the upper one, and the other way round.
LOWER = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if np.little_endian else "RGB;16L",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B" if np.little_endian else "RGBA;16L",
}
GREY_ALPHA = "LA;16B"  # four bytes a pixel, which can be read as RGBA of 8 bits


def raw_mode(stored: Image.Image) -> str:
    """Returns how the pixels lie in a file, such as "RGB;16B"; "" where none wait to be read."""
    tiles = getattr(stored, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def is_deep(stored: Image.Image) -> bool:
    """Returns whether a file stores more than 8 bits for a number; to be asked before pixels are loaded."""
    return stored.mode == "F" or stored.mode.startswith("I") or raw_mode(stored) in {*LOWER, GREY_ALPHA}


def deep_numbers(stored: Image.Image, file: Path | BytesIO, page: int, raw: str) -> NDArray[Any]:
    """Returns the numbers (H, W, C) of such a file, whose pixels are loaded; transparency last where it is a channel.

    Arguments:
        stored: The open file.
        file, page: Where it is, to be opened once more.
        raw: Its `raw_mode`.
    """
    if raw == GREY_ALPHA:
        upper, lower = np.moveaxis(_read_as(file, page, "RGBA").reshape(stored.height, stored.width, 2, 2), 3, 0)
    elif raw in LOWER:
        upper, lower = np.asarray(stored), _read_as(file, page, LOWER[raw])
    else:
        return np.asarray(stored)[..., None]
    return upper.astype(np.uint16) * 256 + lower


def _read_as(file: Path | BytesIO, page: int, raw: str) -> NDArray[np.uint8]:
    """The bytes of a file, its pixels read in another way, as they are set upright by a TIFF."""
    from PIL import Image
    from PIL.ImageFile import ImageFile

    content = file.getvalue() if isinstance(file, BytesIO) else file.read_bytes()
    with Image.open(BytesIO(content)) as stored:
        if page:
            stored.seek(page)
        assert isinstance(stored, ImageFile)
        stored.tile = [tile._replace(args=_exchanged(tile.args, raw)) for tile in stored.tile]
        stored.load()
        return np.asarray(stored)


def _exchanged(arguments: Any, raw: str) -> Any:  # noqa: ANN401 - as many as the decoder takes
    return (raw, *arguments[1:]) if isinstance(arguments, tuple) else raw
