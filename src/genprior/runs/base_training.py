"""A base for the samples of a flow: a mixture of factor analysers, learned from the images of its run in a minute."""

import math

import torch

from genprior.data import Dataset
from genprior.hardware import resolve_device
from genprior.progress import Stage, Task
from genprior.runs.base_settings import BaseSettings, BaseTable
from genprior.runs.kept_base import keep_base, refuse_without_base
from genprior.runs.run_folder import locked, open_run, refuse_other_data
from genprior.runs.trained_prior import load_prior
from genprior.training.expectation_maximisation import ExpectationMaximisation, MixtureSettings
from genprior.training.loop import Budget, train
from genprior.training.processes import Placement

PER_COMPONENT, MOST_COMPONENTS = 60, 1000  # images of one: more components than that are slow and hardly better
EPOCHS = 2.0


def train_base(settings: BaseSettings, _: BaseTable | None = None) -> Task[BaseTable]:
    """Learns a mixture of the images that a run has learned, and keeps it in the run's folder.

    Raises:
        GenpriorError: No run, one of another family, of points, or other data than the run's.
    """
    run = open_run(settings.run, settings.data)
    refuse_without_base(settings.run, load_prior(settings.run))
    data = run.config.load_split().learned
    refuse_other_data(run, data, "data")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    algorithm = _mixture(settings, data)
    algorithm.check(data)
    table = BaseTable(
        settings=settings,
        is_complete=False,
        source=data.name,
        images=len(data),
        components=algorithm.settings.components or 1,
        rank=settings.rank,
        bits_per_dim=math.nan,
    )
    with locked(run):
        yield Stage(0.0, f"{table.components:,} clusters of {len(data):,} images are sought")
        bits = math.nan
        for step in train(algorithm, data, Budget(epochs=EPOCHS), seed=settings.seed):
            bits = float(step.record["bits_per_dim"])
            yield Stage(step.progress, f"{step.images_seen:,} images  bits/dim {bits:.3f}")
        base = algorithm.model
        found = {"components": base.count, "rank": base.rank, "bits_per_dim": bits, "is_complete": True}
        table = table.model_copy(update=found)
        keep_base(settings.run, base.cpu(), table)
    return table


def _mixture(settings: BaseSettings, data: Dataset) -> ExpectationMaximisation:
    usual = min(MOST_COMPONENTS, max(1, len(data) // PER_COMPONENT))
    own = MixtureSettings(settings.components or usual, settings.rank, seed=settings.seed)
    return ExpectationMaximisation(data, own, placement=Placement(torch.float32, resolve_device("auto")))
