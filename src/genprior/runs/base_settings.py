"""What decides how the base of a flow is learned, what is known of it then, and its words. Imports no torch."""

from typing import Annotated

from pydantic import Field

from genprior.settings import Moved, Number, Result, RunFolder, Seed, Settings, Threads

BASE, BASE_WEIGHTS = "base.json", "base.safetensors"


class BaseSettings(Settings):
    """What decides how a base is learned."""

    run: RunFolder
    components: Annotated[
        int | None,
        Field(
            ge=1,
            le=100_000,
            description="Factor analysers; default: one for 60 images, at most 1,000, fewer of large ones.",
        ),
    ] = None
    rank: Annotated[int, Field(ge=1, le=100_000, description="Factors of each.")] = 10
    seed: Seed = 0
    threads: Threads = None
    data: Moved = None


class BaseTable(Result):
    """How a base was learned.

    Attributes:
        source, data_sha256: Name and fingerprint of the images that it was learned from.
        image_shape: (C, H, W).
        images: How many these are.
        components, rank: Factor analysers, and factors of each.
        bits_per_dim: Of the last batch, at the middle of each level; NaN before training has ended.
    """

    settings: BaseSettings
    source: str
    data_sha256: str
    image_shape: tuple[int, int, int]
    images: int
    components: int
    rank: int
    bits_per_dim: Number


def base_lines(found: BaseTable) -> list[str]:
    """Returns what was learned, and what uses it."""
    return [
        f"{found.components:,} factor analysers of rank {found.rank} from {found.images:,} images ({found.source})",
        f"base: {found.settings.run / BASE_WEIGHTS}; samples begin at it now, with 6 evaluations in place of 50",
    ]
