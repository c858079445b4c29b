"""A run of images of 8 x 8 pixels that trains in a second, and settings with which restoring takes milliseconds."""

from pathlib import Path

from genprior.families import GANConfig
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run

SHAPE = (1, 8, 8)
QUICK = {"starts": 2, "iterations": 4}


def make_tiny_run(path: Path, seed: int = 0, **changes: object) -> Path:
    """Trains the run, at `path`."""
    settings = {
        "data": "digits[:64]",
        "held_out": 0,
        "size": 8,
        "latent_size": 4,
        "model": "dcgan:generator_width=4,discriminator_width=4,norm=none",
        "batch_size": 8,
        "images_seen": 48,
        "threads": 1,
        "seed": seed,
        "precision": "float32",
    }
    config = GANConfig.model_validate({**settings, **changes})
    prepared = new_run(path, config)
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return path
