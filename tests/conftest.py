"""Shared by all tests: threads, seeds, and small runs."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from genprior.config import GANConfig
from genprior.runs import Run, execute, new_run

os.environ.setdefault("GENPRIOR_DATA", str(Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    """Each test starts from the same seed, with a fixed number of threads."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def points_config(**changes: object) -> GANConfig:
    """A run of a few milliseconds a step."""
    settings = {"preset": "points", "data": "ring:count=500", "batch_size": 50, "images_seen": 1000, "threads": 1}
    if "minutes" in changes:
        del settings["images_seen"]
    return GANConfig.model_validate({**settings, "precision": "float32", **changes})


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Trains a small run to the end of its budget."""

    def make(name: str = "run", **changes: object) -> Run:
        prepared = new_run(tmp_path / name, points_config(**changes))
        for _ in execute(prepared.run, prepared.gan, prepared.data):
            pass
        return prepared.run

    return make
