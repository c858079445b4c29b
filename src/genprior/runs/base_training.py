"""A base for the samples of a flow: a mixture of factor analysers, learned from the images of its run."""

import math

import torch

from genprior.data import Dataset
from genprior.hardware import resolve_device
from genprior.memory import refuse_beyond_memory
from genprior.progress import Stage, Task
from genprior.runs.base_settings import BASE, BaseSettings, BaseTable
from genprior.runs.kept_base import keep_base, refuse_without_base
from genprior.runs.run_folder import locked, open_run, refuse_other_data
from genprior.training.expectation_maximisation import START_NUMBERS, ExpectationMaximisation, MixtureSettings
from genprior.training.loop import Budget, train
from genprior.training.mixture_start import MOST_NUMBERS
from genprior.training.processes import Placement

PER_COMPONENT, MOST_COMPONENTS = 60, 1000  # images of one: of fewer, samples come too near to them
EPOCHS = 2.0
BYTES = 40  # of each number of all factors: statistics, and copies of both in float64


def train_base(settings: BaseSettings, _: BaseTable | None = None) -> Task[BaseTable]:
    """Learns a mixture of the images that a run has learned, and keeps it in the run's folder.

    Raises:
        GenpriorError: No run, one of another family, of points, or other data than the run's.
    """
    run = open_run(settings.run, settings.data)
    refuse_without_base(run)
    with locked(run):
        data = run.config.load_split().learned
        refuse_other_data(run, data, "data")
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        algorithm = _mixture(settings, data)
        algorithm.check(data)
        table = _table(settings, data, algorithm.settings)
        yield Stage(0.0, f"{table.components:,} clusters of {len(data):,} images are sought")
        bits = math.nan
        for step in train(algorithm, data, Budget(epochs=EPOCHS), seed=settings.seed):
            bits = float(step.record["bits_per_dim"])
            yield Stage(step.progress, f"{step.images_seen:,} images  bits/dim {bits:.3f}")
        base = algorithm.model
        found = {"components": base.count, "rank": base.rank, "bits_per_dim": bits, "is_complete": True}
        table = table.model_copy(update=found)
        (settings.run / BASE).unlink(missing_ok=True)  # of an older base: a kill between both leaves none
        keep_base(settings.run, base.cpu(), table)
    return table


def _table(settings: BaseSettings, data: Dataset, mixture: MixtureSettings) -> BaseTable:
    """The table of a base before its training."""
    return BaseTable(
        settings=settings,
        is_complete=False,
        source=data.name,
        data_sha256=data.fingerprint(),
        image_shape=data.image_shape,
        images=len(data),
        components=mixture.components or 1,
        rank=settings.rank,
        bits_per_dim=math.nan,
    )


def _mixture(settings: BaseSettings, data: Dataset) -> ExpectationMaximisation:
    size = math.prod(data.image_shape)
    seen = min(len(data), START_NUMBERS // size)  # images that the start is made of
    usual = max(1, min(MOST_COMPONENTS, seen // PER_COMPONENT, MOST_NUMBERS // (size * settings.rank)))
    own = MixtureSettings(settings.components or usual, settings.rank, seed=settings.seed)
    refuse_beyond_memory(
        BYTES * (own.components or 1) * size * settings.rank, "so many factors", "components", "lower it, or --rank"
    )
    return ExpectationMaximisation(data, own, placement=Placement(torch.float32, resolve_device("auto")))
