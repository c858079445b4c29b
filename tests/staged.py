"""What a task shows on its way."""

from typing import TypeVar

from genprior.progress import Task

R = TypeVar("R")


def gone_through(task: Task[R]) -> tuple[R, list[float], tuple[str, ...]]:
    """Returns what a task returns, the shares of its stages, and their notes."""
    shares: list[float] = []
    notes: tuple[str, ...] = ()
    while True:
        try:
            stage = next(task)
        except StopIteration as end:
            return end.value, shares, notes
        shares.append(stage.fraction)
        notes += stage.notes
