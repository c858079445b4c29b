"""What decides the result of a job, checked; each description is the help of its flag. Never imports torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from genprior.errors import GenpriorError
from genprior.settings import DataRoot, Flag, Seed, Settings, Threads, Weights, White
from genprior.specs import Spec, Table

OPERATORS = Table("genprior.restoration.operators", "OPERATORS")
NOISES = Table("genprior.restoration.noise", "NOISES")
FIDELITIES = Table("genprior.restoration.fidelity", "FIDELITIES")
FORMATS = Table("genprior.restoring.picture_formats", "FORMATS")
SEARCHES = Table("genprior.restoration.search_settings", "SEARCHES")

Images = Annotated[
    str,
    Field(description="A file, a folder, a .npy or .npz array, or data: mnist:test[:100]."),
    Flag(metavar="IMAGES", is_outcome=False),  # what lies there counts, and is recorded beside the settings
]
Trained = Annotated[Path, Field(description="Folder of a run."), Flag(metavar="RUN", is_outcome=False)]
Whole = Annotated[int | None, Field(ge=1, le=10**6)]  # more is a slip
FromZero = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]


class JobSettings(Settings):
    """What all jobs have in common."""

    seed: Seed = 0
    batch_size: Annotated[
        int, Field(ge=1, le=4096, description="Images in a part, the unit of work; it changes nothing but rounding.")
    ] = 128
    threads: Threads = None
    data_root: DataRoot = None
    white: White = None


class _Search(Settings):
    """How images are searched for in a prior's range."""

    fidelity: Annotated[
        Spec | None, FIDELITIES, Field(description="Default: what noise and operator suggest. Data term:")
    ] = None
    noise_level: Annotated[
        FromZero,
        Field(le=1000, description="Standard deviation of the noise in the images, where its kind is not named."),
    ] = None
    preset: Annotated[str, SEARCHES, Field(description="Of the search:")] = "default"
    starts: Annotated[Whole, Field(description="Searches for each image; default: the preset's.")] = None
    iterations: Annotated[
        Whole, Field(description="Evaluations of a search once it competes with no other; default: the preset's.")
    ] = None
    energy_weight: Annotated[FromZero, Field(description="Weight of the prior's energy; default: from the noise.")] = (
        None
    )
    candidates: Annotated[
        int | None, Field(ge=1, le=64, description="Distinct solutions wanted for each image; default: the preset's.")
    ] = None
    draws: Annotated[
        int,
        Field(ge=0, le=10_000, description="Draws of each image's posterior, 64 say: mean, deviation, probabilities."),
    ] = 0
    estimate: Annotated[
        Literal["mean", "median", "map"] | None,
        Field(description="The restored image: mean or median of draws (default: mean), or map, the most likely."),
    ] = None
    beyond: Annotated[
        bool, Field(description="Leave the prior's range where that leaves more than noise, for few training images.")
    ] = False
    resize: Annotated[
        bool, Field(description="Make images and masks smaller, or grey, that are more than the prior's.")
    ] = False
    format: Annotated[str, FORMATS, Field(description="Of restored pictures:")] = "png"
    weights: Weights = "auto"
    no_average: Annotated[bool, Field(description="Use the last weights of the prior, not their moving average.")] = (
        False
    )


class _Damage(Settings):
    """What damaged the images."""

    operator: Annotated[Spec, OPERATORS, Field(description="What damaged the images:")] = Spec.parse("denoise")
    noise: Annotated[
        Spec | None, NOISES, Field(description="Default: unknown, or none with --simulate. Noise in the images:")
    ] = None
    simulate: Annotated[bool, Field(description="IMAGES are whole: damage them first, and compare with the truth.")] = (
        False
    )
    mask: Annotated[
        Path | None,
        Field(
            description="With inpaint: a picture, or a folder with one for each image; white known, black or "
            "transparent missing."
        ),
    ] = None
    no_keep: Annotated[
        bool, Field(description="Let the prior draw known pixels too; default: without noise they stay as given.")
    ] = False


class _Inputs(Settings):
    """A prior and images."""

    run: Trained
    images: Images


class InvertSettings(JobSettings, _Search, _Inputs):
    """What decides what `invert` gives, but for the weights of the prior and the contents of the images."""


class RestoreSettings(JobSettings, _Search, _Damage, _Inputs):
    """What decides what `restore` gives, but for the weights of the prior and the contents of images and masks."""

    @model_validator(mode="after")
    def _check_together(self) -> "RestoreSettings":
        if self.mask is not None and self.simulate:
            raise GenpriorError(
                "is for images that are damaged already; with --simulate give --operator inpaint:box=... instead",
                argument="mask",
            )
        if self.mask is not None and self.operator != "inpaint":
            raise GenpriorError(
                f"says which pixels are missing and goes with --operator inpaint, without options, got {self.operator}",
                argument="mask",
            )
        if self.noise_level is not None and (self.noise is not None or self.simulate):
            raise GenpriorError("is for damaged images whose noise --noise does not name", argument="noise_level")
        return self


class DegradeSettings(JobSettings):
    """What decides what `degrade` gives, but for the contents of the images."""

    images: Images
    operator: Annotated[Spec, OPERATORS, Field(description="What damages the images:")]
    noise: Annotated[Spec, NOISES, Field(description="Noise that they get:")] = Spec.parse("none")
    size: Annotated[int | None, Field(ge=1, le=1024, description="Resize images to this many pixels a side.")] = None
    channels: Annotated[
        Literal[1, 3] | None, Field(description="1 for grey, 3 for colour; default as the first image.")
    ] = None


class JobFlags(Settings):
    """Where the results of a job go."""

    out: Annotated[
        Path, Field(description="Folder of the results; an unfinished job is resumed."), Flag(is_outcome=False)
    ]
    overwrite: Annotated[
        bool, Field(description="Start anew where results of this command are there."), Flag(is_outcome=False)
    ] = False
