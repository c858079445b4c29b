"""The hole that a visitor paints: what comes of the page is checked, and becomes a mask."""

from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError

MISSING, KNOWN = "1", "0"


def hole_of(drawn: object, height: int, width: int) -> Tensor:
    """Returns which pixels are missing (1, H, W), bool.

    Arguments:
        drawn: What the page sends: a table whose `hole` is a text of H W characters, 1 for missing, row by row.
        height, width: Of the image.

    Raises:
        GenpriorError: Anything else, no hole, or nothing but a hole.
    """
    text = drawn.get("hole") if isinstance(drawn, dict) else None
    if not text:
        raise GenpriorError("paint over the part that is missing first", argument="hole")
    if not isinstance(text, str) or len(text) != height * width or not set(text) <= {MISSING, KNOWN}:
        raise GenpriorError(f"expected {height * width} characters 0 or 1, row by row", argument="hole")
    missing = torch.frombuffer(bytearray(text, "ascii"), dtype=torch.uint8).view(1, height, width) == ord(MISSING)
    if not bool(missing.any()):
        raise GenpriorError("paint over the part that is missing first", argument="hole")
    if bool(missing.all()):
        raise GenpriorError("something must be left of the image", argument="hole")
    return missing


def canvas_value(source: str, height: int, width: int, description: str) -> dict[str, Any]:
    """Returns what the canvas shows: an image as a data URI, its size, and what it is in words."""
    return {"source": source, "height": height, "width": width, "hole": "", "description": description}


def painter_asset(name: str) -> str:
    """Returns the text of a file of the page that lies beside this one."""
    return (files("genprior.studio") / name).read_text(encoding="utf-8")
