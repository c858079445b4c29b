"""What decides how a residual is learned, what is known of it then, and its words. Imports no torch."""

from typing import Annotated

from pydantic import Field

from genprior.settings import DataRoot, Number, Result, RunFolder, Seed, Settings, Threads

LEARNED = "residual.json"
FEWEST = 20  # images: fewer show neither variances nor directions


class ResidualSettings(Settings):
    """What decides how a residual is learned."""

    run: RunFolder
    images: Annotated[
        str | None, Field(description="Images that the run has not learned; default: those that it holds out.")
    ] = None
    count: Annotated[
        int, Field(ge=FEWEST, le=10_000, description="How many of them at most; others are left for calibrate.")
    ] = 200
    seed: Seed = 0
    threads: Threads = None
    data_root: DataRoot = None


class ResidualTable(Result):
    """How a residual was learned, and how large it is.

    Attributes:
        generator_sha256: Of the generator's weights; the residual is of use for no others.
        source: Name of the images that it was learned from.
        images: How many these are.
        rank: Directions of its covariance, beside the variance of each pixel; None before all images are inverted.
        size: Root of the mean squared residual, of images in [0, 1]; NaN before that.
    """

    settings: ResidualSettings
    generator_sha256: str
    source: str
    images: int
    rank: int | None
    size: Number


def residual_lines(found: ResidualTable) -> list[str]:
    """Returns how large the residual is, and what uses it."""
    return [
        f"images of the run miss {found.images:,} others ({found.source}) by {found.size:.3f}, root mean square",
        f"residual: {found.settings.run / 'residual.safetensors'}; draws of restore, compare and calibrate have it now",
    ]
