"""What decides an automatic training, which families it tries, and what it finds. Importing this imports no torch.

`TRIES`, at the end, is the place to add one.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from genprior.errors import GenpriorError, suggestion
from genprior.settings import (
    Channels,
    DataRoot,
    Fit,
    Flag,
    Model,
    Number,
    Result,
    Seed,
    Settings,
    Size,
    Strict,
    Threads,
    White,
    is_path,
)

MINUTES = 10.0
LARGEST_OF_WIDE = 48  # pixels a side
Shape = tuple[int, int, int]
Recipe = Callable[[Shape, int], dict[str, Any]]
"""The shape of images (C, H, W) and how many are learned -> settings of a family."""


class AutoSettings(Settings):
    """What decides an automatic training."""

    out: Annotated[Path, Field(description="Folder of the run; an unfinished one is resumed."), Flag(is_outcome=False)]
    data: Annotated[str, Field(description="What to train on: a name, a folder, an array file.")]
    data_root: DataRoot = None
    size: Size = None
    channels: Channels = None
    fit: Fit = "crop"
    white: White = None
    strict: Strict = False
    held_out: Annotated[
        float, Field(gt=0, lt=1, description="Share of images never learned where the data have no test images.")
    ] = 0.1
    family: Annotated[
        tuple[str, ...],
        Field(description="What is tried, repeatable; default: glo, vae, gan, mixture and flow-matching."),
    ] = ()
    minutes: Annotated[
        float | None, Field(gt=0, le=1e6, description=f"Budget in minutes, tries included; default {MINUTES:g}.")
    ] = None
    images_seen: Annotated[
        int | None, Field(ge=1, description="Budget in images, tries included; the same seed then gives the same run.")
    ] = None
    seed: Seed = 0
    threads: Threads = None

    @field_validator("data")
    @classmethod
    def _whole_path(cls, data: str) -> str:
        return str(Path(data).expanduser().absolute()) if is_path(data) else data

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.minutes is not None and self.images_seen is not None:
            raise GenpriorError("give one of minutes and images_seen", argument="minutes")
        for name in self.family:
            if name not in TRIES:
                raise GenpriorError(f"unknown '{name}', {suggestion(name, TRIES)}", argument="family")
        return self

    @property
    def tried(self) -> list[str]:
        """Names of what is tried, each once."""
        return list(dict.fromkeys(self.family or TRIES))

    def images(self) -> dict[str, Any]:
        """Returns what says which images these are, as settings of a run."""
        return self.model_dump(include={"data", "size", "channels", "fit", "white", "strict", "held_out"}) | {
            "data_root": None if self.data_root is None else str(self.data_root)
        }


class TriedFamily(Model):
    """What came of a try.

    Attributes:
        name: In `TRIES`.
        images_seen, minutes: Of its training.
        psnr: Of each held-out image in dB, the same images and damage for all tries; empty where it failed.
        failed: Why there are none.
    """

    name: str
    images_seen: int = 0
    minutes: float = 0.0
    psnr: tuple[Number, ...] = ()
    failed: str = ""

    @property
    def mean(self) -> float:
        """The mean PSNR in dB; minus infinity where it failed."""
        return fmean(self.psnr) if self.psnr else float("-inf")

    def __str__(self) -> str:
        return f"{self.name}: {self.mean:.2f} dB" if self.psnr else f"{self.name}: {self.failed}"


class AutoTraining(Result):
    """What was tried, and what training went on with.

    Attributes:
        tries: In their order.
        winner: Name of the one that training went on with; empty before that is decided.
        reason: Why, in words.
        images_seen, minutes: Of the winner's training in the end.
    """

    settings: AutoSettings
    tries: tuple[TriedFamily, ...] = ()
    winner: str = ""
    reason: str = ""
    images_seen: int = 0
    minutes: float = 0.0


def _glo(shape: Shape, count: int) -> dict[str, Any]:
    """What a code cannot say, no search can find; yet a code of more numbers than images knows each by heart."""
    longest = min(800, shape[0] * shape[1] * shape[2] // 3, count // 3)
    return {"preset": "pyramid", "batch_size": 32, "latent_size": longest}


def _vae(shape: Shape, count: int) -> dict[str, Any]:
    """Pixels of little deviation draw closer images; convolutions are for squares alone."""
    model = "conv" if shape[1] == shape[2] else "dense"
    return {"model": model, "likelihood": "gaussian:sigma=0.1", "batch_size": 32, "latent_size": min(100, count // 2)}


def _flow(shape: Shape, count: int) -> dict[str, Any]:
    """Large images get fewer channels and one resolution more, as the preset for 64 pixels has it."""
    model = "unet:width=32,levels=3" if max(shape[1:]) > LARGEST_OF_WIDE else "unet"
    return {"model": model, "batch_size": 32, "learning_rate": 0.001}


# Batches are small: in minutes the number of updates decides.
TRIES: dict[str, Recipe] = {
    "glo": _glo,
    "vae": _vae,
    "gan": lambda _, count: {"preset": "pyramid", "latent_size": min(100, count // 2)},
    "mixture": lambda _, count: {},
    "flow-matching": _flow,
}
