"""What a study is asked: on which images, how large, by whom. `SIZES`, at the end, says what each size spends.

Imports no torch.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from genprior.engines import EngineSettings
from genprior.errors import GenpriorError, suggestion
from genprior.settings import DataRoot, Flag, Seed, Size
from genprior.specs import Table
from genprior.study.statements import STATEMENTS


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in STATEMENTS:
            raise GenpriorError(f"unknown statement '{name}', {suggestion(name, STATEMENTS)}", argument="statement")
    return names


@dataclass(frozen=True)
class StudySize:
    """What a study spends.

    Attributes:
        seeds: How many times everything is trained.
        gan_images: Images that each GAN of the report sees.
        batch_size: Real images in an update of theirs.
        recipe_batch_size: The same for the default recipe.
        recipe_images, glo_images, vae_images, glow_images, flow_images: That the other families see.
        mixture_epochs: Passes of the mixture over the data.
        samples: Drawn of each model, at most as many as there are held-out images.
        inverted, iterations: Held-out images that are inverted as in the report, and the steps for each.
        restored: Held-out images that are restored.
        compared: Held-out images that each family inverts and restores.
        drawn, draws: Images whose posterior is drawn from, and draws of each.
        probe_steps: Steps of each player that is trained alone.
    """

    seeds: int
    gan_images: int
    batch_size: int
    recipe_images: int
    recipe_batch_size: int
    glo_images: int
    vae_images: int
    glow_images: int
    flow_images: int
    mixture_epochs: float
    samples: int
    inverted: int
    iterations: int
    restored: int
    compared: int
    drawn: int
    draws: int
    probe_steps: int


class StudySettings(EngineSettings):
    """What a study asks, of which images, and where."""

    data: Annotated[str, Field(description="What to ask: a name, a folder, an array file.")] = "mnist"
    out: Annotated[Path, Field(description="Folder of the page, the numbers and all runs."), Flag(is_outcome=False)] = (
        Path("study")
    )
    size: Annotated[
        str,
        Field(description="How much is spent; demo: minutes, lesson: an hour or two, full: the same over three seeds:"),
        Table("genprior.study.study_settings", "SIZES"),
    ] = "demo"
    statement: Annotated[
        tuple[str, ...],
        AfterValidator(_known),
        Field(description="Statement to judge; repeatable; default all."),
        Table("genprior.study.statements", "STATEMENTS"),
        Flag(is_outcome=False),
    ] = ()
    pixels: Annotated[Size, Field(description="Pixels of the images: 28 as in the report, or 32x48.")] = 28
    against: Annotated[
        Path | None,
        Field(description="study.json of another study, to be set beside this one."),
        Flag(is_outcome=False),
    ] = None
    publish: Annotated[
        Path | None,
        Field(description="Folder for a copy of page, text and numbers to show others: without links to the runs."),
        Flag(is_outcome=False),
    ] = None
    jobs: Annotated[
        int,
        Field(ge=0, le=4096, description="Pieces of work at the same time; 0: one per core."),
        Flag(is_outcome=False),
    ] = 0
    seed: Seed = 0
    data_root: DataRoot = None

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        if isinstance(self.pixels, tuple):
            return self.pixels
        side = 28 if self.pixels is None else self.pixels
        return side, side

    @property
    def spending(self) -> StudySize:
        """What the size stands for."""
        return SIZES[self.size]

    @property
    def seeds(self) -> range:
        """The seeds, from the first on."""
        return range(self.seed, self.seed + self.spending.seeds)

    @property
    def seeds_text(self) -> str:
        """The seeds in words, such as "seed 0" or "seeds 0 to 2"."""
        return f"seeds {self.seeds[0]} to {self.seeds[-1]}" if len(self.seeds) > 1 else f"seed {self.seed}"


LESSON = StudySize(
    seeds=1,
    # As many updates of the generators as the report's ten epochs had, with smaller batches.
    gan_images=175_000,
    batch_size=32,
    recipe_images=300_000,
    recipe_batch_size=48,
    glo_images=200_000,
    vae_images=300_000,
    glow_images=40_000,
    flow_images=100_000,
    mixture_epochs=1,
    samples=5000,
    # With 64, the spread over images left three seeds too little to say of edges and of loops.
    inverted=256,
    iterations=1000,
    restored=256,
    compared=64,
    drawn=32,
    draws=32,
    probe_steps=150,
)

SIZES: dict[str, StudySize] = {
    "demo": StudySize(
        seeds=1,
        gan_images=19_200,
        batch_size=32,
        recipe_images=12_800,
        recipe_batch_size=32,
        glo_images=12_800,
        vae_images=38_400,
        glow_images=2560,
        flow_images=5120,
        mixture_epochs=3,
        samples=500,
        inverted=12,
        iterations=150,
        restored=10,
        compared=10,
        drawn=8,
        draws=8,
        probe_steps=12,
    ),
    "lesson": LESSON,
    "full": replace(LESSON, seeds=3),
}
