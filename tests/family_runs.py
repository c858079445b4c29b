"""A small run of each family, on discs of random colours, as a folder of images would give it."""

from pathlib import Path

import numpy as np
import torch

from genprior.families import FAMILIES, parse_config
from genprior.images import to_uint8
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from genprior.seeding import derived_generator

COUNT = 160
OBLONG, GREY = (3, 16, 24), (1, 16, 16)
SMALL: dict[str, dict[str, object]] = {
    "flow-matching": {"model": "unet:width=4,levels=1,blocks=1"},
    "gan": {"preset": "pyramid", "model": "pyramid:generator_width=2,discriminator_width=2", "latent_size": 4},
    "glo": {"model": "pyramid:generator_width=2", "latent_size": 4},
    "glow": {"levels": 1, "steps": 1, "width": 4},
    "mixture": {"components": 2, "rank": 3},
    "vae": {"model": "dense:width=8,depth=1", "latent_size": 4},
}
assert SMALL.keys() == FAMILIES.keys()


def discs(count: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Returns discs of random places, sizes and colours on white (count, C, H, W) in [0, 1]."""
    channels, height, width = shape
    generator = derived_generator(0, "discs")
    place = torch.rand(count, 2, 1, 1, generator=generator) * torch.tensor([height, width]).view(1, 2, 1, 1)
    radius = (0.15 + 0.25 * torch.rand(count, 1, 1, generator=generator)) * min(height, width)
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    inside = (rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2 < radius**2
    return torch.where(inside[:, None], torch.rand(count, channels, 1, 1, generator=generator), 1.0)


def write_discs(path: Path, shape: tuple[int, int, int]) -> Path:
    """Writes 160 images (H, W, C) of discs as an array; returns where."""
    np.save(path, to_uint8(discs(COUNT, shape)).permute(0, 2, 3, 1).numpy())
    return path


def make_family_run(
    path: Path, family: str, shape: tuple[int, int, int], images_seen: int = 256, **settings: object
) -> Path:
    """Trains a run for a few steps; returns its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = write_discs(path.with_suffix(".npy"), shape)
    given = {"family": family, "data": str(data), "images_seen": images_seen, "threads": 1, "score_every": 0}
    prepared = new_run(path, parse_config({**given, **SMALL[family], **settings}))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return path
