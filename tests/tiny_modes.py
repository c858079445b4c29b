"""Runs of a benchmark of mode counts that take a second, and workers that do not return."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from genprior.data import load_data
from genprior.evaluation.mode_counts import ModeCount
from genprior.judges.mode_finder import Finder, GaussianFinder
from genprior.modes import remedies
from genprior.modes.benchmark_run import BenchmarkRun, measure, measure_run
from genprior.modes.remedies import config_of

STEPS, BATCH = 30, 32


def shrink(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Makes the bases of points tiny."""
    for name in ("ring", "grid"):
        settings = {
            **remedies.BASES[name].settings,
            "data": f"{name}:count=500",
            "batch_size": BATCH,
            "images_seen": STEPS * BATCH,
            "average_half_life": 100,
            **changes,
        }
        monkeypatch.setitem(remedies.BASES, name, replace(remedies.BASES[name], settings=settings, samples=200))


def ring_finder() -> GaussianFinder:
    data = load_data("ring:count=500")  # as the runs
    modes = data.modes
    assert modes is not None
    assert modes.centres is not None
    assert modes.sigma is not None
    return GaussianFinder(modes.centres, modes.sigma, data.some(500).flatten(1))


def ring_run(out: Path, row: str = "non-saturating", seed: int = 0, **changes: object) -> BenchmarkRun:
    """A run on a tiny ring; only after `shrink`."""
    config = config_of("ring", row, seed, 1, None).model_copy(update=changes)
    return BenchmarkRun("ring", row, seed, out / "ring" / row / str(seed), config, 200)


class Fills:
    """A finder for which there is no disk."""

    def __call__(self, x: Tensor) -> ModeCount:
        raise OSError(28, "No space left on device")


def killed_midway(item: tuple[BenchmarkRun, Finder]) -> str:
    """Measures a run; of hinge, its process is killed in the middle of training."""
    run, finder = item
    if run.row != "hinge":
        return measure(item)
    for stage in measure_run(run, finder):
        if stage.fraction > 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it was to be killed")
