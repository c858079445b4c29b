"""Benchmark of mode counts: losses and remedies on data sets whose modes are known, over several seeds."""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.families import RunConfig
from genprior.judges.mode_finder import Finder, run_finder
from genprior.modes.mode_run import MODES, Cell
from genprior.modes.mode_tables import Table, table_of, write_tables
from genprior.modes.remedies import BASES, ROWS, SUITE, config_of, known
from genprior.modes.workers import Worker, work_on
from genprior.progress import Stage
from genprior.runs.run_folder import CONFIG, Run, locked
from genprior.settings import at_least_one

MOST_SEEDS = 1000
SHOWN = 3  # processes in the live line


@dataclass
class ModeBenchmark:
    """Trains each row on each data set with each seed, and counts the modes of samples.

    Each cell is a run in a folder of its own, `<out>/<data>/<row>/<seed>`; one that is measured is never done again.

    Arguments:
        out: Folder of all that is made.
        data: Names of `BASES`; none: the small suite.
        rows: Names of `ROWS`; none: all.
        seeds: How many, from 0 on.
        workers: Processes that train at the same time; None: as many as this process may use cores.
        threads: Of each of them.
        data_root: Of named data sets.

    Raises:
        GenpriorError: An unknown name, a number out of range, or a folder that holds something else.
    """

    out: Path
    data: Sequence[str] = ()
    rows: Sequence[str] = ()
    seeds: int = 3
    workers: int | None = None
    threads: int = 1
    data_root: Path | None = None
    finders: dict[str, Finder] = field(default_factory=dict, init=False)
    sets: dict[str, Dataset] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.workers = cores() if self.workers is None else self.workers
        at_least_one(seeds=self.seeds, workers=self.workers, threads=self.threads)
        if self.seeds > MOST_SEEDS:
            raise GenpriorError(f"expected at most {MOST_SEEDS}, got {self.seeds}", argument="seeds")
        self.data = known(tuple(self.data) or SUITE, BASES, "data")
        self.rows = known(tuple(self.rows) or tuple(ROWS), ROWS, "row")
        if (self.out / CONFIG).is_file() or (self.out.exists() and not self.out.is_dir()):
            raise GenpriorError(f"{self.out} is no folder of a benchmark; choose another one", argument="out")
        self.cells = [
            self._cell(data, row, seed) for data in self.data for row in self.rows for seed in range(self.seeds)
        ]
        for cell in self.cells:
            cell.check()

    @property
    def notes(self) -> list[str]:
        """Lines to show before."""
        counts = f"{len(self.data)} data sets x {len(self.rows)} rows x {self.seeds} seeds = {len(self.cells)} cells"
        done = len(self.cells) - len(self._left(self.cells))
        found = f", {done} of them are measured" if done else ""
        return [f"{self.out}: {counts}{found}; {self.workers} processes of {self.threads} threads"]

    def measure(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Stage]:
        """Measures what is not measured, yields how far it is, and keeps the tables in the folder up to date.

        Arguments:
            should_stop: Asked a few times a second; True ends it, every run saved.

        Raises:
            GenpriorError: Another process works in the folder, or no classifier can judge.
        """
        with _alone_in(self.out, self.cells[0].config):
            yield from self._measured(should_stop)

    def _measured(self, should_stop: Callable[[], bool]) -> Iterator[Stage]:
        yield from self._find_finders()
        left = self._left(self.cells)
        total = sum(cell.seconds for cell in left)
        write_tables(self._all_tables(), self.out)
        if left and not should_stop():
            assert self.workers is not None
            # One data set after another; the longest first, for the processes to end at about the same time.
            order = sorted(left, key=lambda cell: (self.data.index(cell.data), -cell.seconds))
            at_work: list[str] = []
            for workers in work_on(order, self.finders, self.workers):
                before, at_work = at_work, [worker.cell.name for worker in workers if worker.cell is not None]
                if at_work != before:  # one is measured; files are not read a few times a second
                    left = self._left(left)
                    write_tables(self._all_tables(), self.out)
                if should_stop():
                    return
                share = 1 - sum(_left_of(cell, workers) for cell in left) / total
                what = f"{len(self.cells) - len(left)} of {len(self.cells)} cells; {_doing(workers)}"
                yield Stage(min(0.999, share), what)
        if not left:
            yield Stage(1.0, f"{len(self.cells)} cells")

    def tables(self) -> list[Table]:
        """Returns what is known so far, that of earlier commands included, a table for each data set asked for."""
        return [self._table(data) for data in self.data]

    def _all_tables(self) -> list[Table]:
        """With those of data sets that only earlier commands asked for."""
        tables = [self._table(data) for data in BASES]
        return [table for table in tables if table.data in self.data or table.rows or table.left_out]

    def _table(self, data: str) -> Table:
        cells = [cell for row in ROWS for cell in self._measured_cells(data, row)]
        checked = {cell.name for cell in self.cells}
        of_today = [cell for cell in cells if cell.name in checked or cell.is_of_today]
        asked = self.rows if data in self.data else ()
        rows = [row for row in ROWS if row in asked or any(cell.row == row for cell in of_today)]
        found = [table for table in (cell.measured() for cell in of_today) if table is not None]
        return table_of(data, rows, found, [cell.name for cell in cells if cell not in of_today])

    def _measured_cells(self, data: str, row: str) -> list[Cell]:
        """Those of earlier commands too."""
        paths = (self.out / data / row).glob(f"*/{MODES}")
        seeds = sorted(int(path.parent.name) for path in paths if path.parent.name.isdecimal())
        return [self._cell(data, row, seed) for seed in seeds]

    def _find_finders(self) -> Iterator[Stage]:
        """Loads the data and makes what counts modes: what is wrong is found before anything is trained."""
        for data in self.data:
            configs = [cell.config for cell in self.cells if cell.data == data and cell.seed == 0]
            self.sets[data] = configs[0].load_data()
            for config in configs:
                config.build(self.sets[data]).check(self.sets[data])
            self.finders[data] = yield from _with_stages(run_finder(configs[0], self.sets[data]), data)

    def _cell(self, data: str, row: str, seed: int) -> Cell:
        config = config_of(data, row, seed, self.threads, self.data_root)
        base = BASES[data]
        return Cell(data, row, seed, self.out / data / row / str(seed), config, base.samples, base.seconds_of(row))

    def _left(self, cells: Sequence[Cell]) -> list[Cell]:
        return [cell for cell in cells if cell.measured() is None]


@contextmanager
def _alone_in(folder: Path, config: RunConfig) -> Iterator[None]:
    """Makes the folder, and keeps a second process out of it while this one works there."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(Run(folder, config)))
        except OSError as error:
            raise GenpriorError(f"cannot write to {folder}: {error.strerror}", argument="out") from None
        except GenpriorError:
            raise GenpriorError(f"another process works in {folder}; wait for it", argument="out") from None
        yield


def cores() -> int:
    """Returns how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _with_stages(work: Generator[Stage, None, Finder], data: str) -> Generator[Stage, None, Finder]:
    while True:
        try:
            share = next(work).fraction
        except StopIteration as done:
            finder: Finder = done.value
            return finder
        if share < 1:
            yield Stage(0.0, f"classifier for {data}: {share:.0%}")


def _left_of(cell: Cell, workers: Sequence[Worker]) -> float:
    """Seconds that a cell still takes, about."""
    done = sum(worker.fraction for worker in workers if worker.cell is cell)
    return cell.seconds * (1 - done)


def _doing(workers: Sequence[Worker]) -> str:
    busy = [worker.what for worker in workers if worker.cell is not None]
    more = f" and {len(busy) - SHOWN} more" if len(busy) > SHOWN else ""
    return "; ".join(busy[:SHOWN]) + more
