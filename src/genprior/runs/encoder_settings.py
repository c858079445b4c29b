"""What decides how an encoder is trained, and what is known of it then. Importing this module does not import torch."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from genprior.errors import GenpriorError
from genprior.settings import Moved, Number, Result, RunFolder, Seed, Settings, Threads

MINUTES = 1.0
ENCODER, WEIGHTS = "encoder.json", "encoder.safetensors"


class EncoderSettings(Settings):
    """What decides how an encoder is trained."""

    run: RunFolder
    minutes: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False, description=f"Budget in minutes; default {MINUTES:g}.")
    ] = None
    images_seen: Annotated[
        int | None, Field(ge=1, description="Budget in images; the same seed then gives the same encoder.")
    ] = None
    seed: Seed = 0
    threads: Threads = None
    data: Moved = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.minutes is not None and self.images_seen is not None:
            raise GenpriorError("give one of minutes and images_seen", argument="minutes")
        return self


class EncoderTable(Result):
    """How an encoder was trained, and how good it is.

    Attributes:
        generator_sha256: Of the generator's weights; the encoder is of use for no others.
        image_shape: (C, H, W).
        latent_size: Length of a latent.
        width: Channels of the encoder's first layer.
        batch_size, pairs: Real and generated images in an update.
        learning_rate: Adam's largest step size.
        sigma: How far a reconstruction may be from its image.
        precision: Arithmetic of the networks.
        images_seen: Images that training saw.
        seconds: Time that it took.
        held_out: Name of the images that it never saw.
        held_out_images: How many these are.
        held_out_error: Mean squared error of G(E(x)) on them, undamaged; NaN before training has ended.
    """

    settings: EncoderSettings
    generator_sha256: str
    image_shape: tuple[int, int, int]
    latent_size: int
    width: int
    batch_size: int
    pairs: int
    learning_rate: float
    sigma: float
    precision: str
    images_seen: int
    seconds: float
    held_out: str = ""
    held_out_images: int
    held_out_error: Number
