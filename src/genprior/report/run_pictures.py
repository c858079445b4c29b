"""The pictures that a run leaves behind."""

import math
from pathlib import Path

from genprior.data import Dataset
from genprior.families import GANConfig
from genprior.plotting.run_figures import (
    Row,
    write_curves,
    write_losses,
    write_probabilities,
    write_real_and_generated,
)
from genprior.runs.run_folder import Run
from genprior.runs.step_log import read_rows
from genprior.runs.trained_prior import load_prior
from genprior.specs import build
from genprior.training.losses import LOSSES

IMAGES, POINTS = 64, 2000


def write_run_pictures(run: Run, data: Dataset) -> dict[str, Path]:
    """Writes the pictures of a run into its folder; returns what each shows, and where it is."""
    count = POINTS if data.is_points else IMAGES
    paths = {"real and generated": run.figures / "samples.png"}
    write_real_and_generated(data.some(count), load_prior(run.path).sample(count), paths["real and generated"])
    rows = read_rows(run.steps)
    if not rows:
        return paths
    if isinstance(run.config, GANConfig):
        return paths | _write_players(run.config, rows, run.figures)
    for name, curves in run.config.CURVES.items():
        paths[curves.title] = run.figures / f"{name}.png"
        write_curves(rows, curves.labels, curves.title, curves.unit, paths[curves.title], is_log=curves.is_log)
    return paths


def _write_players(config: GANConfig, rows: list[Row], folder: Path) -> dict[str, Path]:
    """The curves of two players, with the values that they have at equilibrium."""
    paths = {
        "losses of both players": folder / "losses.png",
        "D(x) and D(G(z))": folder / "probabilities.png",
        "gradient norms": folder / "gradients.png",
    }
    losses, probabilities, gradients = paths.values()
    loss = build(LOSSES, config.loss, "loss")
    write_losses(rows, loss, str(config.loss), losses)
    write_probabilities(rows, probabilities, 1 / (1 + math.exp(-loss.equilibrium_logit)))
    players = {f"{player}_gradient_norm": player for player in ("discriminator", "generator")}
    write_curves(rows, players, "gradients of both players", "norm of the gradient", gradients, is_log=True)
    return paths
