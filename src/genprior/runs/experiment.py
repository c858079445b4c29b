"""Experiments: settings in, stages out, a typed result returned. Saving, resuming and replacing are written here, once.

Knows files of results; not what is measured.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Generic, TypeVar

from genprior.errors import GenpriorError
from genprior.progress import Task
from genprior.settings import Model, Result, Settings
from genprior.stored_files import read_model, signed
from genprior.writing import refuse_unwritable, remove_leftovers, write_text

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Experiment(Generic[S, R]):
    """What a command measures, and all that is said, saved and drawn of it.

    Attributes:
        help: What the command does, in a sentence.
        settings: The model of its settings.
        result: The model of what it finds.
        file: Where the result of settings is saved.
        stages: Settings, and what an interrupted experiment of the same settings has left, or None -> a task. What is
            wrong with the settings is raised before its first stage; a stage with `found` is saved at once.
        lines: Lines to print.
        figures: Draws, and returns the files by what they show; None: nothing is drawn.
        is_derived: Whether a result is replaced without `--overwrite`: it is quickly made anew.
        is_per_run: Whether the command takes several runs and does one after another.
        is_ill: Whether a result makes the command end with exit code 1.
    """

    help: str
    settings: type[S]
    result: type[R]
    file: Callable[[S], Path]
    stages: Callable[[S, R | None], Task[R]]
    lines: Callable[[R], list[str]]
    figures: Callable[[S, R], Mapping[str, Path]] | None = None
    is_derived: bool = False
    is_per_run: bool = False
    is_ill: Callable[[R], bool] | None = None


def carry_out(
    experiment: Experiment[S, R], settings: S, *, overwrite: bool = False, draw: Callable[[R], None] | None = None
) -> Task[R]:
    """Measures what is not measured yet, saves after each stage that found something, and returns the result.

    What was found lies beside the result's file until it is whole: nobody takes a part for the whole. Whatever ends it,
    the same settings resume it after the last stage that found something.

    Arguments:
        experiment, settings: What is measured, and how.
        overwrite: Measure anew what is there.
        draw: Draws a result before it is saved: one that is there has all of its figures.

    Raises:
        GenpriorError: A result is there that must not be replaced, or whatever the experiment raises.
    """
    path = experiment.file(settings)
    refuse_unwritable(path.parent)
    remove_leftovers(path.parent, below=True)
    part = part_of(path)
    kept = None if overwrite else _kept(experiment, settings, path)
    task = experiment.stages(settings, kept)
    while True:
        try:
            stage = next(task)
        except StopIteration as end:
            result: R = end.value
            if draw is not None:
                draw(result)
            save_result(path, result)
            part.unlink(missing_ok=True)
            return result
        if stage.found is not None:
            save_result(part, stage.found)
            if overwrite:  # so that the same command without --overwrite resumes
                path.unlink(missing_ok=True)
        yield stage


def part_of(path: Path) -> Path:
    """Returns where the part of a result lies that an interrupted experiment has found."""
    return path.with_suffix(".part.json")


def save_result(path: Path, result: Model) -> None:
    """Writes a result as strict JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, signed(result.as_json()))


def read_result(path: Path, model: type[M]) -> M | None:
    """Returns the result in a file; None where there is none, or none of this form: it can be made anew."""
    try:
        return read_model(path, model, "run")
    except GenpriorError:
        return None


def is_finished(experiment: Experiment[S, R], settings: S) -> bool:
    """Returns whether a whole result of an experiment is there, which only `overwrite` replaces."""
    return read_result(experiment.file(settings), experiment.result) is not None


def _kept(experiment: Experiment[S, R], settings: S, path: Path) -> R | None:
    """What an interrupted experiment of the same settings has left."""
    if path.exists() and not experiment.is_derived:
        part = part_of(path)
        if part.exists() and part.stat().st_mtime <= path.stat().st_mtime:  # of this very result, which is whole
            part.unlink()
        raise GenpriorError(f"{path} exists; replace it with --overwrite", argument="run")
    part = part_of(path)
    found = read_result(part, experiment.result)
    if found is not None and settings.same_outcome(found.settings):
        return found
    if part.exists() and not experiment.is_derived:
        what = "another form" if found is None else "other settings"
        raise GenpriorError(f"{part} is an unfinished result of {what}; replace it with --overwrite", argument="run")
    return None


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a line for each row, its cells as wide as the widest one of their column, two spaces between them.

    Arguments:
        rows: Cells of plain text, as many in each row.

    Example:
        >>> aligned([["", "samples"], ["recall", "0.5"]])
        ['        samples', 'recall  0.5']
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    widest = sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(Text, row))
    # A wide character takes two places; a console that is too narrow would cut cells.
    console = Console(file=StringIO(), width=2 * widest + 1, color_system=None, force_terminal=False)
    lines = console.render_lines(table, pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]
