"""The live lines of tasks that do not yield `genprior.progress.Stage` yet; goes when the last of them does."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from genprior.progress import Stage
    from genprior.restoring.parallel import JobProgress


class Advancing(Protocol):
    """Whatever tells which share of it is done."""

    @property
    def fraction(self) -> float:
        """In [0, 1]."""


P = TypeVar("P", bound=Advancing)
T = TypeVar("T")

PLAIN_SECONDS = 10  # between lines where the output is a file
LEAST_SHARE = 0.01  # from which on the remaining time can be told


def show_job(steps: "Iterable[JobProgress]", notes: list[str], quiet: bool) -> None:
    """Works through a job and shows how far it is, as `show` does."""
    if not quiet:
        for note in notes:
            print(note, flush=True)
    for _ in steps if quiet else _shown(steps, _job_line):
        pass


def show_stages(stages: "Iterable[Stage]", notes: list[str]) -> None:
    """Goes through the stages of a task and shows how far it is, as `show` does."""
    for note in notes:
        print(note, flush=True)
    began = time.monotonic()
    for _ in _shown(stages, lambda stage: _stage_line(stage, time.monotonic() - began)):
        pass


def _shown(steps: Iterable[P], line: Callable[[P], str]) -> Iterator[P]:
    return _live(steps, line) if sys.stdout.isatty() else _plain(steps, line)


def _live(steps: Iterable[P], line: Callable[[P], str]) -> Iterator[P]:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    with Bar(TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn()) as bar:
        task = bar.add_task("starting", total=1.0)
        for progress in steps:
            bar.update(task, completed=progress.fraction, description=line(progress))
            yield progress


def _plain(steps: Iterable[P], line: Callable[[P], str]) -> Iterator[P]:
    next_line = time.monotonic()
    for progress in steps:
        is_end = progress.fraction >= 1 or getattr(progress, "outcome", None) is not None
        if time.monotonic() >= next_line or is_end:
            next_line = time.monotonic() + PLAIN_SECONDS
            print(f"{100 * progress.fraction:3.0f} %  {line(progress)}", flush=True)
        yield progress


def _job_line(progress: "JobProgress") -> str:
    parts = [f"{progress.done:,} of {progress.total:,} images"]
    if progress.per_second is not None:
        rate = progress.per_second
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        left = (progress.total - progress.done) / rate
        parts += [f"{_clock(left)} left"] if left > 0 else []
    return "  ".join(parts)


def _stage_line(stage: "Stage", seconds: float) -> str:
    if not LEAST_SHARE <= stage.fraction < 1:
        return stage.what
    left = seconds * (1 - stage.fraction) / stage.fraction
    return f"{stage.what}  {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
