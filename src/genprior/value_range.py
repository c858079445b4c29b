"""Numbers of any type become values in [0, 1]: which of them is white, and what looks wrong. Knows no files."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROUNDING = 1e-4  # of white, by which a number may leave the range after somebody's arithmetic in single precision
SLIVER = 1 / 4  # of the range: numbers that use no more of it were probably stored with fewer bits
USUAL = (1, 255, 1023, 4095, 16383, 65535)  # whites of 1, 8, 10, 12, 14 and 16 bits


@dataclass(frozen=True)
class Extent:
    """What numbers there are.

    Attributes:
        low, high: The smallest and the largest finite one; inf and -inf where there is none.
        strange: How many are not finite.
        count: How many there are.
        step: The largest whole number of which all are multiples; 0 where they are not whole, or all 0.
    """

    low: float
    high: float
    strange: int
    count: int
    step: int = 0

    def __or__(self, other: "Extent") -> "Extent":
        """Returns the extent of both."""
        ends = min(self.low, other.low), max(self.high, other.high)
        return Extent(*ends, self.strange + other.strange, self.count + other.count, math.gcd(self.step, other.step))


NOTHING = Extent(np.inf, -np.inf, 0, 0)


def extent_of(values: NDArray[Any]) -> Extent:
    """Returns what numbers an array of any shape holds."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (np.inf, -np.inf)
    step = int(np.gcd.reduce(values, axis=None)) if values.dtype.kind in "iu" and values.size else 0
    return Extent(low, high, values.size - finite.size, values.size, step)


def bits_used(found: Extent) -> str | None:
    """Returns how many bits the numbers need, in words; None where they are not whole.

    Example:
        >>> bits_used(Extent(0, 4095, 0, 9, step=1)), bits_used(Extent(0, 65535, 0, 9, step=257))
        ('12 bits', '8 bits (multiples of 257)')
    """
    if not found.step:
        return None
    bits = int(found.high / found.step).bit_length()
    return f"{bits} {'bit' if bits == 1 else 'bits'}" + (f" (multiples of {found.step})" if found.step > 1 else "")


def white_of(kind: str, white: float | None = None) -> float:
    """Returns the number that is white: the one given, else that of the type.

    Arguments:
        kind: Name of a numpy type, such as "uint16".
        white: What the user says, above 0.

    Raises:
        ValueError: The type has no white of its own.
    """
    if white is not None:
        return white
    if kind not in WHITES:
        raise ValueError(
            f"expected numbers of type {', '.join(WHITES)}, got {kind}: convert them, or say which number is white "
            "with --white"
        )
    return WHITES[kind]


def scaled(values: NDArray[Any], white: float | None = None) -> Tensor:
    """Returns x = values / white, float32 in [0, 1], of the same shape: the one way from stored numbers to an image.

    Arguments:
        values: Real numbers of any type and shape.
        white: The number that is white; None: 255 for uint8, 65535 for uint16, 1 for bool and floating point.

    Raises:
        ValueError: Numbers that are not finite, or outside [0, white] by more than rounding; a type that has no white.
            The message is one line, to stand behind the name of the file.
    """
    top = white_of(values.dtype.name, white)
    check_range(extent_of(values), top)
    return torch.from_numpy(np.asarray(values, np.float64) / top).clamp_(0, 1).float()


def check_range(found: Extent, white: float) -> str | None:
    """Returns what looks wrong with numbers of which `white` is white, in a line with its remedy; None: nothing.

    Raises:
        ValueError: Numbers that are not finite, or outside [0, white] by more than rounding.
    """
    if found.strange:
        raise ValueError(f"expected finite numbers, got {found.strange:,} of {found.count:,} that are not")
    if found.low < -ROUNDING * white or found.high > (1 + ROUNDING) * white:
        raise ValueError(
            f"expected numbers from 0 to {white:g}, got {found.low:g} to {found.high:g}: {_remedy(found, white)}"
        )
    if 0 < found.high <= SLIVER * white:
        return (
            f"the largest number is {found.high:g} where {white:g} is white, so all images are dark; if another number "
            f"is white, name it: --white {likely_white(found.high):g}"
        )
    return None


def likely_white(high: float) -> float:
    """Returns which number is probably white where this is the largest.

    Example:
        >>> likely_white(3977.0), likely_white(1.0), likely_white(0.0039)
        (4095, 1, 0.0039)
    """
    return next((top for top in USUAL if high <= top), high) if high >= 0.5 else high


def _remedy(found: Extent, white: float) -> str:
    if found.low >= -ROUNDING * white:
        return f"say which number is white, such as --white {likely_white(found.high):g}"
    if white == 1 and found.low >= -1 - ROUNDING and found.high <= 1 + ROUNDING:
        return "values from -1 to 1 become images as (x + 1) / 2; save them so"
    return "add what is missing to 0, and save them again"


WHITES = {
    "bool": 1.0,
    "uint8": 255.0,
    "uint16": 65535.0,
    "float16": 1.0,
    "float32": 1.0,
    "float64": 1.0,
}
