"""Settings of runs that take milliseconds a step, and tasks with all their stages."""

from typing import TypeVar

from genprior.families import GANConfig
from genprior.progress import Stage, Task
from genprior.restoration.fidelity import FIDELITIES, Fidelity

R = TypeVar("R")


def points_config(**changes: object) -> GANConfig:
    """Small players on 2-D points, 20 steps in all."""
    settings = {"preset": "points", "data": "ring:count=500", "batch_size": 50, "images_seen": 1000, "threads": 1}
    if "minutes" in changes:
        del settings["images_seen"]
    return GANConfig.model_validate({**settings, "precision": "float32", **changes})


def gone_through(task: Task[R]) -> tuple[list[Stage], R]:
    """Returns the stages of a task, and what it returns."""
    stages: list[Stage] = []
    while True:
        try:
            stages.append(next(task))
        except StopIteration as end:
            return stages, end.value


def data_term(name: str, **options: float) -> Fidelity:
    """A data term with its defaults; some have options that the noise tells, and no default."""
    needed = {"poisson": {"gain": 1.0}, "clipped": {"sigma": 0.2}}
    return FIDELITIES[name](**needed.get(name, {}) | options)
