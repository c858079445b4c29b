"""Whether all files of a study are what was written: its verdicts, its measurements with their pictures, its runs."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from genprior.run_check import LOST, CheckedFile, reading, run_files, tried
from genprior.runs.experiment import part_of
from genprior.runs.run_folder import CONFIG
from genprior.stored_files import read_tensors
from genprior.study.statements import STATEMENTS
from genprior.study.study_evidence import StripsOf
from genprior.study.study_experiment import ASKED, RESULT, AskedStudy
from genprior.study.study_record import StudiedRun, StudyResult

AGAIN = "the command that made it makes it again"
MEASURED = {kind.__name__: kind for each in STATEMENTS.values() for _, kind in each.needs}
PICTURED = {
    (figure.cell, figure.kind.__name__)
    for each in STATEMENTS.values()
    for figure in each.figures
    if isinstance(figure, StripsOf)
}


def study_files(path: Path) -> Iterator[CheckedFile]:
    """Yields all files of a study that can be checked; the page and the text are made anew by the same command."""
    yield tried(ASKED, reading(AskedStudy, path / ASKED), LOST)
    for each in filter(Path.is_file, (path / RESULT, part_of(path / RESULT))):
        yield tried(each.name, reading(StudyResult, each), AGAIN)
    for seed in sorted((path / "measured").glob("*/*/")):
        yield from _measured_files(path, seed)
    for run in sorted((path / "runs").glob("*/*/")):
        if (run / CONFIG).is_file():  # else killed before it began: the study makes it anew
            yield from (
                replace(each, name=f"{run.relative_to(path).as_posix()}/{each.name}") for each in run_files(run)
            )


def _measured_files(path: Path, seed: Path) -> Iterator[CheckedFile]:
    """What was measured of a run, and whether that run is there."""
    cell = seed.parent.name
    trained = seed / f"{StudiedRun.__name__}.json"
    if trained.is_file():
        yield tried(trained.relative_to(path).as_posix(), reading(StudiedRun, trained), AGAIN)
        if not (path / "runs" / cell / seed.name / CONFIG).is_file():
            again = f"delete {trained}, and {AGAIN}"
            yield CheckedFile(f"runs/{cell}/{seed.name}", "it is gone", again)
    for name, kind in MEASURED.items():
        file = seed / f"{name}.json"
        if not file.is_file():
            continue
        yield tried(file.relative_to(path).as_posix(), reading(kind, file), AGAIN)
        pictures = file.with_suffix(".safetensors")
        if pictures.is_file() or (cell, name) in PICTURED:
            again = f"delete {file}, and {AGAIN}"
            yield tried(pictures.relative_to(path).as_posix(), partial(read_tensors, pictures), again)
