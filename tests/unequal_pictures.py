"""A folder of grey pictures of different sizes, with texture that differs from place to place."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDES = ((40, 60), (47, 53), (64, 41), (40, 90), (55, 70))


def write_pictures(folder: Path) -> Path:
    """Writes a picture for each of `SIDES`, called 0.png and so on; returns the folder."""
    folder.mkdir()
    for i, shape in enumerate(SIDES):
        values = np.random.default_rng(i).integers(0, 256, shape).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{i}.png")
    return folder
