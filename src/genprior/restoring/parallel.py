"""Work on all parts of an output, alone or beside other processes, and how far it is."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from genprior.errors import GenpriorError
from genprior.restoring.ledger import COLLECT, Output, Row

POLL_SECONDS = 0.2  # between looks at parts that others work on


class Work(Protocol):
    """What is done with the items of an output."""

    def is_readable(self, place: int) -> bool:
        """Returns whether an item can be worked on."""

    def do(self, output: Output, part: int) -> list[Row]:
        """Writes the files of a part, each whole or not at all; returns a row for each of its items."""

    def collect(self, output: Output) -> None:
        """Writes what is made of all parts, the summary last; may be done again."""


@dataclass(frozen=True)
class Job:
    """A job that is ready to be worked through.

    Attributes:
        output: Where its results go.
        work: What is done with them.
        notes: Lines to show before work begins.
    """

    output: Output
    work: Work
    notes: list[str]


@dataclass(frozen=True)
class JobProgress:
    """How far a job is.

    Attributes:
        done: Items in finished parts, whoever finished them.
        total: Items in all.
        began: Items that were done when this process began.
        seconds: Since this process began.
    """

    done: int
    total: int
    began: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Share of the items that is done, in [0, 1]."""
        return self.done / self.total

    @property
    def per_second(self) -> float | None:
        """Items a second since this process began, those of its companions included; None while there are none."""
        new = self.done - self.began
        return new / self.seconds if new > 0 and self.seconds > 0 else None


def work_through(job: Job) -> Iterator[JobProgress]:
    """Does all parts that are not done and that no other process is doing, then collects; yields how far it is.

    Finished parts in which an item failed that can be read now are done again. It ends when the whole job is done:
    parts that other processes hold are waited for, and taken over should they die.
    Any exception leaves the finished parts as they are, and the part at hand to be done again.

    Raises:
        GenpriorError: Whatever `work` raises.
    """
    output, work = job.output, job.work
    _reopen_mended(output, work)
    start, began = time.perf_counter(), output.finished_items()

    def progress() -> JobProgress:
        return JobProgress(output.finished_items(), output.count, began, time.perf_counter() - start)

    yield progress()
    left = list(range(output.parts))
    while left := [part for part in left if not output.is_finished(part)]:
        worked = False
        for part in left:
            if _done_here(output, work, part):
                worked = True
                yield progress()
        if not worked:
            time.sleep(POLL_SECONDS)
            yield progress()
    with output.claimed(COLLECT, wait=True):
        if not output.summary.exists():
            work.collect(output)
            output.close()


def _done_here(output: Output, work: Work, part: int) -> bool:
    if output.is_finished(part):
        return False
    with output.claimed(part) as mine:
        if not mine or output.is_finished(part):
            return False
        start = time.perf_counter()
        rows = work.do(output, part)
        output.finish(part, rows, time.perf_counter() - start)
        return True


def _reopen_mended(output: Output, work: Work) -> None:
    for part in filter(output.is_finished, range(output.parts)):
        if not output.failed_items(part):
            continue
        with output.claimed(part) as mine:  # another process may just have done it again
            if mine and output.is_finished(part) and any(map(work.is_readable, output.failed_items(part))):
                output.reopen(part)


def refuse_overwriting_together(overwrite: bool) -> None:
    """Raises `GenpriorError` where one of several processes might remove what another one has just written."""
    if overwrite and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise GenpriorError(
            "several processes cannot start anew together: remove the folder, or choose another one",
            argument="overwrite",
        )
