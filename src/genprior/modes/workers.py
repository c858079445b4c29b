"""Processes that work on the cells of a benchmark, each on one at a time, and say how far they are."""

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from genprior.errors import GenpriorError
from genprior.judges.mode_finder import Finder
from genprior.modes.mode_run import Cell, measure_cell

TELL_SECONDS = 0.3  # between two words on how far a cell is
STOP_SECONDS = 20  # that a process gets to save its run and end


@dataclass
class Worker:
    """A process and the cell that it works on.

    Attributes:
        process: The process.
        line: To it go cells, and None to end it; from it come words on how far it is.
        cell: What it works on; None before its first.
        fraction: Share of the cell that is done.
        what: What it does.
    """

    process: BaseProcess
    line: Connection
    cell: Cell | None = None
    fraction: float = 0.0
    what: str = field(default="starting")


def work_on(cells: Sequence[Cell], finders: Mapping[str, Finder], count: int) -> Iterator[list[Worker]]:
    """Measures cells in processes of their own, and yields the processes a few times a second and after each cell.

    What ends the caller's loop ends the processes too; each saves its run first.

    Arguments:
        cells: To be measured, at least one.
        finders: By the name of a data set.
        count: Of processes, at least 1.

    Raises:
        GenpriorError: What went wrong in a process.
    """
    left = list(cells)
    workers = [_started(finders) for _ in range(min(count, len(left)))]
    try:
        for worker in workers:
            _give(worker, left)
        while any(worker.cell is not None for worker in workers):
            busy = [worker for worker in workers if worker.cell is not None]
            spoke = wait([worker.line for worker in busy], timeout=TELL_SECONDS)
            for worker in busy:
                if worker.line in spoke and _hear(worker):
                    _give(worker, left)
            yield workers
    finally:
        _end(workers)


def _started(finders: Mapping[str, Finder]) -> Worker:
    context = get_context("spawn")  # a forked process would share torch's threads
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, dict(finders)), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _give(worker: Worker, left: list[Cell]) -> None:
    """Gives it the next cell, or none where none is left."""
    worker.cell, worker.fraction = (left.pop(0) if left else None), 0.0
    with suppress(OSError):  # it has ended by itself, which `_hear` finds out
        worker.line.send(worker.cell)


def _hear(worker: Worker) -> bool:
    """Takes what it says; returns whether its cell is measured."""
    try:
        worker.fraction, worker.what, error = worker.line.recv()
    except (EOFError, OSError):
        worker.process.join(STOP_SECONDS)
        assert worker.cell is not None
        raise GenpriorError(
            f"the process that worked on {worker.cell.name} ended by itself (exit code {worker.process.exitcode}), for "
            "want of memory perhaps: try fewer --workers; the same command goes on where this one ended",
            argument="workers",
        ) from None
    if error is not None:
        raise error
    return worker.fraction >= 1


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.line.close()  # each notices, saves and ends
    until = time.monotonic() + STOP_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


# What follows runs in a process of its own.


def _serve(line: Connection, finders: Mapping[str, Finder]) -> None:
    """Works on cells until there are none, or the other end of the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the caller has ended
        while (cell := line.recv()) is not None:
            try:
                _work(line, cell, finders[cell.data])
            except (GenpriorError, OSError) as error:
                if line.poll():
                    return
                line.send((0.0, cell.name, error))
                return


def _work(line: Connection, cell: Cell, finder: Finder) -> None:
    told = 0.0
    for advance in measure_cell(cell, finder, should_stop=line.poll):  # nothing comes while it works, but the end
        if advance.fraction >= 1 or time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            line.send((advance.fraction, advance.what, None))
