"""Whether all files of a folder are what was written: a run, a study, results of images, an export, cached judges.

Each file is read whole and held against its checksum. `KINDS`, at the end, is the place to add a kind of folder.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genprior.errors import GenpriorError
from genprior.exporting.export_results import EXPORT, Export
from genprior.images import read_numbers
from genprior.judges.trained_judge import JUDGES, TrainedRecord
from genprior.restoring.ledger import PARTS, SETTINGS, Output, row_files
from genprior.restoring.records import (
    RECORD,
    SUMMARY,
    Degradation,
    DegradeSummary,
    JobRecord,
    PartRecord,
    RestoreSummary,
)
from genprior.run_check import LOST, CheckedFile, reading, run_files, tried
from genprior.runs.experiment import part_of
from genprior.runs.files import file_sha256
from genprior.runs.run_folder import CONFIG
from genprior.scoring.comparison_experiment import FIGURE
from genprior.scoring.comparison_experiment import IMAGES as COMPARED
from genprior.scoring.scoring_results import COMPARISON, Comparison
from genprior.stored_files import read_model, read_tensors, weights_sha256
from genprior.study.study_check import study_files
from genprior.study.study_experiment import ASKED, RESULT

UNFINISHED = "not finished: the same command goes on with it"
DENIED, RIGHT = os.strerror(errno.EACCES), "nothing need be wrong with it: give this user the right to read it"


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder.

    Attributes:
        title: What it is, in words.
        holds: Whether a folder is of this kind.
        files: All of its files that were looked at.
        last: The file that is written when all the others are there; empty where there is none.
    """

    title: str
    holds: Callable[[Path], bool]
    files: Callable[[Path], Iterator[CheckedFile]]
    last: str = ""


def checked(path: Path) -> tuple[str, list[CheckedFile]]:
    """Returns what a folder is and whether it was interrupted, and all of its files that can be checked.

    Raises:
        GenpriorError: About `folder`: none that genprior wrote.
    """
    for kind in KINDS.values():
        if kind.holds(path):
            is_finished = not kind.last or (path / kind.last).is_file()
            return kind.title if is_finished else f"{kind.title}, {UNFINISHED}", list(kind.files(path))
    expected = ", ".join(kind.title for kind in KINDS.values())
    raise GenpriorError(f"expected {expected}; {path} is none of them", argument="folder")


def check_lines(path: Path, title: str, files: Sequence[CheckedFile]) -> list[str]:
    """Returns what is damaged and what makes it again, and counts."""
    damaged = [each for each in files if each.fault]
    lines = [f"  {each.name}: {each.fault}; {RIGHT if DENIED in each.fault else each.again}" for each in damaged]
    return [f"{path}: {title}", *lines, f"{len(files) - len(damaged)} files are whole, {len(damaged)} are damaged"]


def _has_result(name: str, path: Path) -> bool:
    """Whether a result is there, or the part of one that was interrupted."""
    return (path / name).is_file() or part_of(path / name).is_file()


def _job_files(path: Path) -> Iterator[CheckedFile]:
    output, again = Output(path, 0, 1), "the command that made it makes it again"
    yield tried(SETTINGS, reading(JobRecord, path / SETTINGS), f"{LOST}, or start anew with --overwrite")
    is_degraded, rows = (path / RECORD).is_file(), 0
    is_tidy = is_degraded and output.summary.is_file()
    for file in row_files(path):
        name = f"{PARTS}/{file.name}"
        part = tried(name, reading(PartRecord, file), f"delete it, and {again}")
        yield part
        if not part.fault:
            record = read_model(file, PartRecord, "folder")
            rows += len(record.rows)
            yield from _with_checksums(record.files, output.damaged_of(int(file.stem), is_tidy=is_tidy), again)
    if not output.summary.is_file():
        return
    model = DegradeSummary if is_degraded else RestoreSummary
    summary = tried(SUMMARY, reading(model, output.summary), f"delete it, and {again}")
    yield summary
    if is_degraded:
        yield tried(RECORD, reading(Degradation, path / RECORD), again)
    if not summary.fault:
        found = read_model(output.summary, model, "folder")
        yield from _with_checksums(found.files, output.damaged(found.files), again)
        if rows != found.images:
            yield CheckedFile(PARTS, f"its files tell of {rows} images, {SUMMARY} of {found.images}", again)


def _with_checksums(files: Iterable[str], damaged: Sequence[str], again: str) -> Iterator[CheckedFile]:
    for name in files:
        yield CheckedFile(name, "it is gone or was altered" if name in damaged else "", again)


def _comparison_files(path: Path) -> Iterator[CheckedFile]:
    again = "genprior compare with --overwrite makes it again"
    file = path / COMPARISON
    for each in filter(Path.is_file, (file, part_of(file))):
        yield tried(each.name, reading(Comparison, each), again)
    yield tried(COMPARED, lambda: read_tensors(path / COMPARED), again)
    if (path / FIGURE).is_file():
        yield tried(FIGURE, lambda: read_numbers(path / FIGURE), again)


def _export_files(path: Path) -> Iterator[CheckedFile]:
    again, file = "genprior export with --overwrite makes it again", path / EXPORT
    if not file.is_file():
        yield tried(part_of(file).name, reading(Export, part_of(file)), again)
        return
    record = tried(EXPORT, reading(Export, file), again)
    yield record
    if not record.fault:
        for name, checksum in read_model(file, Export, "folder").written().items():
            yield tried(name, partial(_read_exported, path / name, checksum), again)


def _read_exported(file: Path, checksum: str) -> None:
    if file_sha256(file) != checksum:
        raise ValueError(f"it is not what {EXPORT} tells of")


def _judge_folders(path: Path) -> list[Path]:
    names = {kind.folder for kind in JUDGES.values()}
    return [each for each in (path, *(path / name for name in sorted(names))) if each.name in names and each.is_dir()]


def _judge_files(path: Path) -> Iterator[CheckedFile]:
    for folder in _judge_folders(path):
        for file in sorted(folder.glob("*.json")):
            yield tried(file.relative_to(path).as_posix(), partial(_read_judge, file), "it is trained anew when needed")


def _read_judge(file: Path) -> None:
    record = read_model(file, TrainedRecord, "folder")
    if weights_sha256(read_tensors(file.with_suffix(".safetensors"))) != record.sha256:
        raise ValueError("its weights are not those that it tells of")


KINDS: dict[str, FolderKind] = {
    "run": FolderKind("a run", lambda path: (path / CONFIG).is_file(), run_files),
    "job": FolderKind(
        "results of invert, restore or degrade",
        lambda path: (path / SETTINGS).is_file() or (path / PARTS).is_dir(),
        _job_files,
        SUMMARY,
    ),
    "comparison": FolderKind(
        "a comparison",
        partial(_has_result, COMPARISON),
        _comparison_files,
        COMPARISON,
    ),
    "export": FolderKind(
        "an export",
        partial(_has_result, EXPORT),
        _export_files,
        EXPORT,
    ),
    "study": FolderKind("a study", lambda path: (path / ASKED).is_file(), study_files, RESULT),
    "judges": FolderKind("judges in a cache", lambda path: bool(_judge_folders(path)), _judge_files),
}
