"""What a picture in a file shows, by its colours."""

from pathlib import Path

import numpy as np
from PIL import Image


def pixels_of(path: Path, colour: str) -> int:
    """Number of pixels of about that colour, such as "#2166ac"."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int((np.abs(pixels - wanted).max(axis=2) < 40).sum())
