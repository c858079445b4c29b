"""Whether all files of a folder are what was written: a run, results of images, a comparison, judges in the cache.

Each file is read whole and held against its checksum. `KINDS`, at the end, is the place to add a kind of folder.
"""

import errno
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from pydantic import BaseModel

from genprior.calibration.calibration_commands import EXPERIMENTS as CALIBRATIONS
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.families import GANConfig
from genprior.images import read_numbers
from genprior.judges.trained_judge import JUDGES, TrainedRecord
from genprior.modes.benchmark_run import MODES
from genprior.modes.mode_tables import MeasuredRun
from genprior.probes.probe_experiments import EXPERIMENTS as PROBES
from genprior.restoring.ledger import PARTS, SETTINGS, Output
from genprior.restoring.records import (
    RECORD,
    SUMMARY,
    Degradation,
    DegradeSummary,
    JobRecord,
    PartRecord,
    RestoreSummary,
)
from genprior.runs.best_weights import scored_ages
from genprior.runs.checkpoint import ages, checkpoint_faults, load_age, load_counters, lost_ages
from genprior.runs.encoder_experiment import EXPERIMENTS as ENCODERS
from genprior.runs.encoder_settings import WEIGHTS
from genprior.runs.experiment import part_of
from genprior.runs.kept_residual import RESIDUAL, read_residual
from genprior.runs.run_folder import AUTO, CONFIG, TRIED, Run, open_run, read_environment
from genprior.runs.step_log import Row, each_row, read_events, record_fault
from genprior.runs.trained_prior import read_encoder
from genprior.scoring.auto_results import AutoTraining
from genprior.scoring.comparison_experiment import FIGURE
from genprior.scoring.comparison_experiment import IMAGES as COMPARED
from genprior.scoring.scoring_experiments import EXPERIMENTS as SCORING
from genprior.scoring.scoring_results import COMPARISON, Comparison
from genprior.stored_files import read_model, read_tensors, weights_sha256

LOST = "nothing makes it again: put it back from a copy"
DENIED, RIGHT = os.strerror(errno.EACCES), "nothing need be wrong with it: give this user the right to read it"
UNUSED = "what uses it leaves it out once it is deleted"


@dataclass(frozen=True)
class CheckedFile:
    """A file, or what is missing.

    Attributes:
        name: Its path in the folder.
        fault: What is wrong with it; empty where it is whole.
        again: What makes it again, or what to do.
    """

    name: str
    fault: str = ""
    again: str = ""


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder.

    Attributes:
        title: What it is, in words.
        holds: Whether a folder is of this kind.
        files: All of its files that were looked at.
    """

    title: str
    holds: Callable[[Path], bool]
    files: Callable[[Path], Iterator[CheckedFile]]


def checked(path: Path) -> tuple[str, list[CheckedFile]]:
    """Returns what a folder is, and all of its files that can be checked.

    Raises:
        GenpriorError: About `folder`: none that genprior wrote.
    """
    for kind in KINDS.values():
        if kind.holds(path):
            return kind.title, list(kind.files(path))
    expected = ", ".join(kind.title for kind in KINDS.values())
    raise GenpriorError(f"expected {expected}; {path} is none of them", argument="folder")


def check_lines(path: Path, title: str, files: Sequence[CheckedFile]) -> list[str]:
    """Returns what is damaged and what makes it again, and counts."""
    damaged = [each for each in files if each.fault]
    lines = [f"  {each.name}: {each.fault}; {RIGHT if DENIED in each.fault else each.again}" for each in damaged]
    return [f"{path}: {title}", *lines, f"{len(files) - len(damaged)} files are whole, {len(damaged)} are damaged"]


def _tried(name: str, read: Callable[[], object], again: str) -> CheckedFile:
    """Reads a file; an error or a warning is what is wrong with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read()
        except Exception as error:  # readers of foreign formats fail as they like
            raise_lack_of_memory(error)
            message = error.message if isinstance(error, GenpriorError) else str(error)
            return CheckedFile(name, " ".join(message.split()) or type(error).__name__, again)
    return CheckedFile(name, str(caught[0].message) if caught else "", again)


def _of(model: type[BaseModel], path: Path) -> Callable[[], object]:
    return partial(read_model, path, model, "folder")


def _run_files(path: Path) -> Iterator[CheckedFile]:
    run = Run(path, GANConfig.model_construct())  # whose config may be damaged: only its folder is looked at
    yield _tried(CONFIG, lambda: open_run(path), LOST)
    yield _tried(run.environment.name, lambda: read_environment(run), LOST)
    first: list[Row] = []
    if run.steps.is_file():
        yield _tried(run.steps.name, lambda: first.extend(_first_of(each_row(run.steps))), LOST)
    yield from _checkpoints(run, has_rows=bool(first))
    if run.events.is_file():
        yield _tried(run.events.name, lambda: read_events(run), f"alarms: genprior resume {path}; setbacks: {LOST}")
    if run.scores.is_file():
        yield _tried(run.scores.name, lambda: scored_ages(run), f"{LOST}; delete it, and the last weights are used")
    for kept, fault in checkpoint_faults(run.best).items() if run.best.is_dir() else ():
        yield CheckedFile(f"{run.best.name}/{kept.name}", fault, f"{LOST}; {UNUSED}")
    for file in ages(run).values():
        yield _tried(f"{run.history.name}/{file.name}", partial(load_age, file), f"{LOST}; {UNUSED}")
    yield from _lost_ages(path, first)
    if (path / WEIGHTS).exists():
        again = f"genprior train encoder {path} --overwrite"
        yield _tried(WEIGHTS, lambda: read_encoder(path / WEIGHTS), again)
    if (path / RESIDUAL).exists():
        again = f"genprior calibrate {path} with --residual 200 --overwrite"
        yield _tried(RESIDUAL, lambda: read_residual(path / RESIDUAL), again)
    yield from _results(path)
    for auto in filter(Path.is_file, (path / AUTO, part_of(path / AUTO))):
        yield _tried(auto.name, _of(AutoTraining, auto), LOST)
    for each in sorted((path / TRIED).glob("*/")):
        yield from (replace(one, name=f"{TRIED}/{each.name}/{one.name}") for one in _run_files(each))
    for picture in sorted(run.figures.glob("*.png")):
        yield _tried(f"{run.figures.name}/{picture.name}", partial(read_numbers, picture), "it is drawn anew")


def _first_of(rows: Iterator[Row]) -> list[Row]:
    """Reads all rows, which may be many, and keeps the first, where there is one."""
    first = list(islice(rows, 1))
    deque(rows, 0)
    return first


def _checkpoints(run: Run, *, has_rows: bool) -> Iterator[CheckedFile]:
    """The checkpoints, and whether the record is that of the one that is used."""
    found = checkpoint_faults(run.checkpoints)
    is_one_whole = "" in found.values()
    for path, fault in found.items():
        again = f"another one is whole: genprior resume {run.path}" if is_one_whole else LOST
        yield CheckedFile(f"{run.checkpoints.name}/{path.name}", fault, again)
    if not is_one_whole:
        if has_rows and not found:
            yield CheckedFile(run.checkpoints.name, "it is gone", LOST)
        return
    counters, _ = load_counters(run.checkpoints)
    assert counters is not None
    try:
        is_other = record_fault(run, each_row(run.steps), counters.step, counters.log)
    except OSError:  # told of the record itself
        return
    name = run.events.name if is_other and is_other.startswith(str(run.events)) else run.steps.name
    yield CheckedFile(f"{name}, beside the checkpoint", is_other or "", LOST)


def _lost_ages(path: Path, first: list[Row]) -> Iterator[CheckedFile]:
    """What a run should have of its history, whose first row tells how often it may have had an age."""
    with suppress(GenpriorError):  # of what is damaged, and told elsewhere
        run = open_run(path)
        counters, _ = load_counters(run.checkpoints)
        is_whole = bool(first) and first[0]["step"] == 1
        if counters is not None:
            seen = counters.images_seen if is_whole else 0
            for images in lost_ages(run, first[0]["images_seen"] if is_whole else 1, seen):
                yield CheckedFile(f"{run.history.name}/{images}.safetensors", "it is gone", f"{LOST}; {UNUSED}")


def _results(path: Path) -> Iterator[CheckedFile]:
    """What experiments have found of a run."""
    for command, experiment in {**ENCODERS, **SCORING, **PROBES, **CALIBRATIONS}.items():
        if "run" not in experiment.settings.model_fields:
            continue
        file = experiment.file(experiment.settings.model_construct(run=path))
        for each in (file, part_of(file)):
            if each.is_file():
                overwrite = "" if experiment.is_derived else " --overwrite"
                yield _tried(each.name, _of(experiment.result, each), f"genprior {command} {path}{overwrite}")
    if (path / MODES).is_file():
        yield _tried(MODES, _of(MeasuredRun, path / MODES), "delete it, and give `genprior benchmark modes` again")


def _job_files(path: Path) -> Iterator[CheckedFile]:
    output, again = Output(path, 0, 1), "the command that made it makes it again"
    yield _tried(SETTINGS, _of(JobRecord, path / SETTINGS), f"{LOST}, or start anew with --overwrite")
    is_degraded, rows = (path / RECORD).is_file(), 0
    is_tidy = is_degraded and output.summary.is_file()
    for file in sorted((path / PARTS).glob("[0-9]*.json")):
        name = f"{PARTS}/{file.name}"
        part = _tried(name, _of(PartRecord, file), f"delete it, and {again}")
        yield part
        if not part.fault:
            record = read_model(file, PartRecord, "folder")
            rows += len(record.rows)
            yield from _with_checksums(record.files, output.damaged_of(int(file.stem), is_tidy=is_tidy), again)
    if not output.summary.is_file():
        return
    model = DegradeSummary if is_degraded else RestoreSummary
    summary = _tried(SUMMARY, _of(model, output.summary), f"delete it, and {again}")
    yield summary
    if is_degraded:
        yield _tried(RECORD, _of(Degradation, path / RECORD), again)
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
        yield _tried(each.name, _of(Comparison, each), again)
    yield _tried(COMPARED, lambda: read_tensors(path / COMPARED), again)
    if (path / FIGURE).is_file():
        yield _tried(FIGURE, lambda: read_numbers(path / FIGURE), again)


def _judge_folders(path: Path) -> list[Path]:
    names = {kind.folder for kind in JUDGES.values()}
    return [each for each in (path, *(path / name for name in sorted(names))) if each.name in names and each.is_dir()]


def _judge_files(path: Path) -> Iterator[CheckedFile]:
    for folder in _judge_folders(path):
        for file in sorted(folder.glob("*.json")):
            yield _tried(
                file.relative_to(path).as_posix(), partial(_read_judge, file), "it is trained anew when needed"
            )


def _read_judge(file: Path) -> None:
    record = read_model(file, TrainedRecord, "folder")
    if weights_sha256(read_tensors(file.with_suffix(".safetensors"))) != record.sha256:
        raise ValueError("its weights are not those that it tells of")


KINDS: dict[str, FolderKind] = {
    "run": FolderKind("a run", lambda path: (path / CONFIG).is_file(), _run_files),
    "job": FolderKind(
        "results of invert, restore or degrade",
        lambda path: (path / SETTINGS).is_file() or (path / PARTS).is_dir(),
        _job_files,
    ),
    "comparison": FolderKind(
        "a comparison",
        lambda path: any(map(Path.is_file, (path / COMPARISON, part_of(path / COMPARISON)))),
        _comparison_files,
    ),
    "judges": FolderKind("judges in a cache", lambda path: bool(_judge_folders(path)), _judge_files),
}
