"""Cells of a benchmark of mode counts that take a second, and finders that do not return."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from genprior.data import load_data
from genprior.evaluation.mode_counts import ModeCount
from genprior.judges.mode_finder import GaussianFinder
from genprior.modes import remedies
from genprior.modes.mode_run import Cell
from genprior.modes.remedies import config_of

STEPS, BATCH = 30, 32


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the bases of points tiny."""
    for name in ("ring", "grid"):
        settings = {
            **remedies.BASES[name].settings,
            "data": f"{name}:count=500",
            "batch_size": BATCH,
            "images_seen": STEPS * BATCH,
            "average_half_life": 100,
        }
        monkeypatch.setitem(remedies.BASES, name, replace(remedies.BASES[name], settings=settings, samples=200))


def ring_finder() -> GaussianFinder:
    data = load_data("ring:count=500")  # as the cells
    modes = data.modes
    assert modes is not None
    assert modes.centres is not None
    assert modes.sigma is not None
    return GaussianFinder(modes.centres, modes.sigma, data.some(500).flatten(1))


def ring_cell(out: Path, row: str = "non-saturating", seed: int = 0, **changes: object) -> Cell:
    """A cell on a tiny ring; only after `shrink`."""
    config = config_of("ring", row, seed, 1, None).model_copy(update=changes)
    return Cell("ring", row, seed, out / "ring" / row / str(seed), config, 200, 1.0)


class Ends:
    """A finder with which its process ends."""

    def __call__(self, x: Tensor) -> ModeCount:
        os._exit(7)


class Fills:
    """A finder for which there is no disk."""

    def __call__(self, x: Tensor) -> ModeCount:
        raise OSError(28, "No space left on device")
