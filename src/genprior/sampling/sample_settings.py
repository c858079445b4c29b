"""What decides which samples are made; each description is the help of its flag. Never imports torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from genprior.errors import GenpriorError
from genprior.settings import Flag, RunFolder, Settings, Weights

MOST_SIDE, MOST_NEAREST = 15, 20


class SampleSettings(Settings):
    """Which run is sampled, and how."""

    run: RunFolder
    count: Annotated[int, Field(ge=1, description="Number of samples."), Flag(letter="-n")] = 64
    first: Annotated[int, Field(ge=0, description="Number of the first sample, or of the first latent of a file.")] = 0
    latents: Annotated[
        Path | None,
        Field(
            description="File of latents z (N, k) to decode in place of new ones: .npy, or .safetensors as of invert."
        ),
    ] = None
    interpolate: Annotated[
        bool, Field(description="A row of eight pictures from each latent to the next, on the sphere.")
    ] = False
    around: Annotated[
        bool, Field(description="A map: a square of pictures around one latent, where the image changes most.")
    ] = False
    side: Annotated[
        int, Field(ge=3, le=MOST_SIDE, description="Pictures in a row of a map, an odd number, so that one is middle.")
    ] = 5
    step: Annotated[
        float, Field(gt=0, le=1, description="Change from a picture of a map to the next, root mean square of pixels.")
    ] = 0.08
    nearest: Annotated[
        int,
        Field(ge=0, le=MOST_NEAREST, description="Training images to show beside each sample, those nearest to it."),
    ] = 0
    truncation: Annotated[
        float, Field(gt=0, le=1, description="Factor of the latents: below 1 more typical and less varied samples.")
    ] = 1.0
    seed: Annotated[int, Field(description="Any integer.")] = 0
    weights: Weights = "auto"
    no_average: Annotated[bool, Field(description="Use the last weights, not their moving average.")] = False

    @model_validator(mode="after")
    def _check_together(self) -> "SampleSettings":
        if self.around and self.interpolate:
            raise GenpriorError("goes without --interpolate: one is a map, the other rows", argument="around")
        if self.side % 2 == 0:
            raise GenpriorError(
                f"expected an odd number, so that one picture is in the middle, got {self.side}", argument="side"
            )
        return self
