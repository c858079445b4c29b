"""The pictures that a run leaves behind."""

import math
from pathlib import Path

from genprior.config import build
from genprior.data import Dataset
from genprior.figures import (
    write_gradients,
    write_losses,
    write_probabilities,
    write_real_and_generated,
)
from genprior.runs import Run, load_prior
from genprior.runs.log import read_rows
from genprior.training.losses import LOSSES

IMAGES, POINTS = 64, 2000


def write_run_pictures(run: Run, data: Dataset) -> dict[str, Path]:
    """Writes the pictures of a run into its folder; returns what each shows, and where it is."""
    config, folder = run.config, run.figures
    count = POINTS if data.is_points else IMAGES
    paths = {
        "real and generated": folder / "samples.png",
        "losses of both players": folder / "losses.png",
        "D(x) and D(G(z))": folder / "probabilities.png",
        "gradient norms": folder / "gradients.png",
    }
    samples, losses, probabilities, gradients = paths.values()
    write_real_and_generated(data.some(count), load_prior(run.path).sample(count), samples)
    rows = read_rows(run.steps)
    if not rows:
        return {"real and generated": samples}
    loss = build(LOSSES, config.loss, "loss")
    write_losses(rows, loss, config.loss, losses)
    write_probabilities(rows, probabilities, 1 / (1 + math.exp(-loss.equilibrium_logit)))
    write_gradients(rows, gradients)
    return paths
