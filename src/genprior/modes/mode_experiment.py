"""The benchmark of mode counts as an experiment: settings, stages, result, lines and figures. Does not import torch.

`EXPERIMENTS`, at the end, is the place to add one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from genprior.engines import EngineSettings, worked_off
from genprior.errors import GenpriorError
from genprior.modes.mode_tables import CountedModes, ModeTable, lines_of, table_of
from genprior.modes.remedies import BASES, PLAIN, ROWS, SUITE, config_of, known
from genprior.progress import Stage, Task, within
from genprior.runs.experiment import Experiment, aligned
from genprior.runs.run_folder import CONFIG
from genprior.settings import DataRoot, Flag, Result
from genprior.specs import Table
from genprior.writing import csv_text, write_text

if TYPE_CHECKING:
    from genprior.data import Dataset
    from genprior.judges.mode_finder import Finder
    from genprior.modes.benchmark_run import BenchmarkRun
    from genprior.plotting.sample_figures import Samples

REMEDIES = "genprior.modes.remedies"
POINTS, IMAGES = 1000, 64  # samples in a figure
EXPLANATION = (
    "mean +- standard deviation over seeds; published rows: as their source has them.",
    "speed: images trained on in a second of a core, in units of the plain row's; runs shared the cores.",
)


class ModeSettings(EngineSettings):
    """What the benchmark of mode counts trains, and where."""

    out: Annotated[Path, Field(description="Folder of runs, tables and figures.")] = Path("runs/modes")
    data: Annotated[
        tuple[str, ...],
        AfterValidator(lambda names: known(names or SUITE, BASES, "data")),
        Field(description="Data set to learn; repeatable."),
        Table(REMEDIES, "BASES"),
    ] = SUITE
    row: Annotated[
        tuple[str, ...],
        AfterValidator(lambda names: known(names, ROWS, "row")),
        Field(description="Loss or remedy to train; repeatable; default all."),
        Table(REMEDIES, "ROWS"),
    ] = ()
    seeds: Annotated[int, Field(ge=1, le=1000, description="How many seeds, from 0 on.")] = 3
    jobs: Annotated[
        int, Field(ge=0, le=4096, description="Runs at the same time; 0: one per core."), Flag(is_outcome=False)
    ] = 0
    threads: Annotated[int, Field(ge=1, le=1024, description="CPU threads of each run."), Flag(is_outcome=False)] = 1
    data_root: DataRoot = None

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of `ROWS` that are trained."""
        return self.row or tuple(ROWS)


class ModeBenchmark(Result):
    """Modes that losses and remedies reach.

    Attributes:
        plain_row: The row in units of whose speed the others are.
        tables: One for each data set in the folder, those that only earlier commands trained on included.
    """

    settings: ModeSettings
    plain_row: str = PLAIN
    tables: tuple[ModeTable, ...]


def stages(settings: ModeSettings, kept: ModeBenchmark | None = None) -> Task[ModeBenchmark]:
    """Trains each row on each data set with each seed, and counts the modes of samples.

    Each run has a folder of its own, `<out>/<data>/<row>/<seed>`; one that is measured is never trained again, so
    nothing else is kept of an interrupted benchmark.

    Raises:
        GenpriorError: The folder holds something else, another process works in it, or no classifier can judge.
    """
    from genprior.modes.benchmark_run import measure
    from genprior.runs.run_folder import alone_in

    runs = planned(settings)
    with alone_in(settings.out):
        left = [run for run in runs if run.measured() is None]
        yield Stage(0.0, "data", notes=(_headline(settings, len(runs) - len(left), len(runs)),))
        finders = yield from _finders(left)
        # One data set after another; the longest first, for the workers to end at about the same time.
        order = sorted(left, key=lambda run: (settings.data.index(run.data), -(run.config.images_seen or 0)))
        measured = worked_off(measure, [(run, finders[run.data]) for run in order], settings)
        for done, _ in enumerate(chain([None], measured), len(runs) - len(left)):
            yield Stage(done / len(runs), f"{done} of {len(runs)} runs", found=_written(settings, runs))
        return _written(settings, runs)


def planned(settings: ModeSettings) -> "list[BenchmarkRun]":
    """Returns all runs of the benchmark.

    Raises:
        GenpriorError: The folder holds something else, or runs of other settings.
    """
    out = settings.out
    if (out / CONFIG).is_file() or (out.exists() and not out.is_dir()):
        raise GenpriorError(f"{out} is no folder of a benchmark; choose another one", argument="out")
    names = [(data, row, seed) for data in settings.data for row in settings.rows for seed in range(settings.seeds)]
    runs = [_run(settings, *name) for name in names]
    for run in runs:
        run.check()
    return runs


def _run(settings: ModeSettings, data: str, row: str, seed: int) -> "BenchmarkRun":
    from genprior.modes.benchmark_run import BenchmarkRun

    config = config_of(data, row, seed, settings.threads, settings.data_root)
    return BenchmarkRun(data, row, seed, settings.out / data / row / str(seed), config, BASES[data].samples)


def _headline(settings: ModeSettings, done: int, total: int) -> str:
    counts = f"{len(settings.data)} data sets x {len(settings.rows)} rows x {settings.seeds} seeds = {total} runs"
    return f"{settings.out}: {counts}" + (f", {done} of them are measured" if done else "")


def _finders(runs: "list[BenchmarkRun]") -> "Task[dict[str, Finder]]":
    """Makes what counts the modes of each data set; what is wrong with a run is found before any is trained."""
    from genprior.judges.mode_finder import run_finder

    finders: dict[str, Finder] = {}
    for name in dict.fromkeys(run.data for run in runs):
        configs = {run.row: run.config for run in runs if run.data == name}
        data: Dataset | None = None
        for config in configs.values():
            data = data or config.load_data()
            config.build(data).check(data)
        assert data is not None
        finders[name] = yield from within(run_finder(config, data), 0.0, 0.0, f"{name}: ")
    return finders


def _written(settings: ModeSettings, runs: "list[BenchmarkRun]") -> ModeBenchmark:
    """What is known so far, earlier commands included; its tables are written as CSV too."""
    asked = {run.name for run in runs}
    tables = [_table(settings, data, asked) for data in BASES]
    tables = [table for table in tables if table.data in settings.data or table.rows or table.left_out]
    write_text(settings.out / "table.csv", "".join(csv_text(_cells(tables))))
    is_complete = all(run.measured() is not None for run in runs)
    return ModeBenchmark(is_complete=is_complete, settings=settings, tables=tuple(tables))


def _table(settings: ModeSettings, data: str, asked: set[str]) -> ModeTable:
    paths = [path.parent for row in ROWS for path in sorted((settings.out / data / row).glob("*/modes.json"))]
    runs = [_run(settings, data, path.parent.name, int(path.name)) for path in paths if path.name.isdecimal()]
    of_today = [run for run in runs if run.name in asked or run.is_of_today]
    wanted = {*(settings.rows if data in settings.data else ()), *(run.row for run in of_today)}
    found = [each for each in (run.measured() for run in of_today) if each is not None]
    left_out = [run.name for run in runs if run not in of_today]
    return table_of(data, [row for row in ROWS if row in wanted], found, left_out)


def _cells(tables: Iterable[ModeTable]) -> Iterator[Sequence[str]]:
    """Rows of all tables, with the lines that stand below each."""
    for table in tables:
        cells, notes = lines_of(table)
        yield from [*cells, *([note] for note in notes), []]


def lines(result: ModeBenchmark) -> list[str]:
    """Returns the tables of the data sets that were asked for, as text."""
    text: list[str] = []
    for table in result.tables:
        if table.data in result.settings.data:
            cells, notes = lines_of(table)
            text += [*aligned(cells), *notes, ""]
    return [*text, *EXPLANATION, f"runs, tables and figures: {result.settings.out}"]


def figures(settings: ModeSettings, result: ModeBenchmark) -> Mapping[str, Path]:
    """Draws real data and samples of each row, for each data set that was asked for; returns the files."""
    from genprior.plotting.sample_figures import write_digits, write_points

    files = {}
    for table in result.tables:
        if table.data not in settings.data:
            continue
        data = config_of(table.data, PLAIN, 0, settings.threads, settings.data_root).load_data()
        path, panels = settings.out / "figures" / f"{table.data}.png", list(_panels(settings, table, data))
        if data.modes is not None and data.modes.centres is not None:
            write_points(panels, data.modes.centres, path)
        else:
            write_digits(panels, path)
        files[f"samples of {table.data}"] = path
    return files


def _panels(settings: ModeSettings, table: ModeTable, data: "Dataset") -> "Iterator[Samples]":
    """Real data, and samples of each row, of its first seed that did not fail; none where all failed."""
    import torch

    from genprior.evaluation.mode_counts import near_centres
    from genprior.plotting.sample_figures import Samples
    from genprior.runs.trained_prior import load_prior

    count, modes = POINTS if data.is_points else IMAGES, data.modes
    shown = [(f"real ({table.of} modes)", data.some(count))]
    for row in table.rows:
        title, x = f"{row.row}\nfailed", torch.empty(0, *data.image_shape)
        for found in row.seeds:
            if found.modes is not None:
                title = f"{row.row}\n{_found(found.modes)}"
                x = load_prior(settings.out / table.data / row.row / str(found.seed)).sample(count, found.seed)
                break
        shown.append((title, x))
    for title, x in shown:
        if modes is None or modes.centres is None or modes.sigma is None:
            yield Samples(title, x)
        else:
            yield Samples(title, x, near_centres(x, modes.centres, modes.sigma)[0])


def _found(modes: CountedModes) -> str:
    divergence = modes.divergences["uniform"]
    return f"{modes.found} of {modes.of} modes" + ("" if divergence is None else f", KL {divergence.raw:.2g}")


EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    "benchmark modes": Experiment(
        help="Count the modes that GAN losses and remedies against mode collapse reach; resumes what was interrupted.",
        settings=ModeSettings,
        result=ModeBenchmark,
        file=lambda settings: settings.out / "modes.json",
        stages=stages,
        lines=lines,
        figures=figures,
        is_derived=True,  # of what is in the folders of the runs
    ),
}
