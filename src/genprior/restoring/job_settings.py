"""What decides the result of a job, checked, and stored beside it."""

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

from genprior.errors import GenpriorError

PART = 128  # images in a part: the most that a kill can cost
LARGEST_PART = 4096
MOST_CANDIDATES = 64
MOST = 10**6  # starts or iterations; more is a slip


@dataclass(frozen=True)
class RestoreSettings:
    """What decides what `invert` and `restore` give, but for the prior itself.

    Attributes:
        images: A file, a folder, an array file or a data spec.
        operator: Which operator damaged the images, as in "inpaint:box=14"; None to invert images that are whole.
        noise: Which noise they have, as in "gaussian:sigma=0.1"; None: none when simulating, else not known.
        simulate: Damage the images first; else they are damaged already.
        mask: A picture, or a folder with one for each image: white is known, black is missing. For "inpaint".
        fidelity: The data term, as in "huber:delta=0.2"; None: what noise and operator suggest.
        noise_level: Standard deviation of the noise, where `noise` does not tell.
        preset: Of the search.
        starts, iterations, energy_weight: Of the search, in place of the preset's.
        candidates: Distinct solutions asked for.
        beyond: Leave the prior's range at the end.
        seed: Of the search and, when simulating, of the damage.
        batch_size: Images in a part.
        resize: Convert images and masks of another size or another number of channels.
        average: Use the moving average of the prior's weights.
    """

    images: str
    operator: str | None = None
    noise: str | None = None
    simulate: bool = False
    mask: str | None = None
    fidelity: str | None = None
    noise_level: float | None = None
    preset: str = "default"
    starts: int | None = None
    iterations: int | None = None
    energy_weight: float | None = None
    candidates: int | None = None
    beyond: bool = False
    seed: int = 0
    batch_size: int = PART
    resize: bool = False
    average: bool = True

    def __post_init__(self) -> None:
        """Raises `GenpriorError` for values out of range and for settings that exclude each other."""
        _check_whole(self.batch_size, LARGEST_PART, "batch_size")
        _check_whole(self.starts, MOST, "starts")
        _check_whole(self.iterations, MOST, "iterations")
        _check_whole(self.candidates, MOST_CANDIDATES, "candidates")
        _check_from_0(self.energy_weight, "energy_weight")
        _check_from_0(self.noise_level, "noise_level")
        self._check_together()

    @property
    def command(self) -> str:
        """The command that these settings are for."""
        return "invert" if self.operator is None else "restore"

    def stored(self) -> dict[str, Any]:
        """Returns what must not change while a job goes on, without what the source says of itself."""
        mask = None if self.mask is None else os.path.abspath(os.path.expanduser(self.mask))
        return {name: value for name, value in (asdict(self) | {"mask": mask}).items() if name != "images"}

    def _check_together(self) -> None:
        if self.mask is not None and self.simulate:
            raise GenpriorError(
                "is for images that are damaged already; with --simulate give --operator inpaint:box=... instead",
                argument="mask",
            )
        name, _, options = (self.operator or "").partition(":")
        if self.mask is not None and (name != "inpaint" or options):
            raise GenpriorError(
                f"says which pixels are missing and goes with --operator inpaint, without options, got {self.operator}",
                argument="mask",
            )
        if self.noise_level is not None and (self.noise is not None or self.simulate):
            raise GenpriorError("is for damaged images whose noise --noise does not name", argument="noise_level")


@dataclass(frozen=True)
class DegradeSettings:
    """What decides what `degrade` gives.

    Attributes:
        images: A file, a folder, an array file or a data spec.
        operator: What damages them, as in "inpaint:box=14".
        noise: Which noise they get, as in "gaussian:sigma=0.1".
        size: Pixels a side that images are resized to; None: they must be as large as the first.
        channels: 1 or 3, that they are converted to; None: they must be as the first.
        seed: Of what is random in operator and noise.
        batch_size: Images in a part.
    """

    images: str
    operator: str
    noise: str = "none"
    size: int | None = None
    channels: int | None = None
    seed: int = 0
    batch_size: int = PART

    def __post_init__(self) -> None:
        """Raises `GenpriorError` for values out of range."""
        _check_whole(self.batch_size, LARGEST_PART, "batch_size")
        _check_whole(self.size, 1024, "size")
        if self.channels not in (None, 1, 3):
            raise GenpriorError(f"expected 1 (grey) or 3 (RGB), got {self.channels}", argument="channels")

    def stored(self) -> dict[str, Any]:
        """Returns what must not change while a job goes on, without what the source says of itself."""
        return {name: value for name, value in asdict(self).items() if name != "images"}


def _check_whole(value: int | None, most: int, argument: str) -> None:
    if value is not None and not 1 <= value <= most:
        raise GenpriorError(f"expected a whole number from 1 to {most}, got {value}", argument=argument)


def _check_from_0(value: float | None, argument: str) -> None:
    if value is not None and not 0 <= value < math.inf:  # the comparison is false for NaN
        raise GenpriorError(f"expected a finite number from 0 up, got {value}", argument=argument)
