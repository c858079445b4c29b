"""Whether all files of a run are what was written: each is read whole and held against its checksum."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator
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
from genprior.modes.benchmark_run import MODES
from genprior.modes.mode_tables import MeasuredRun
from genprior.probes.probe_experiments import EXPERIMENTS as PROBES
from genprior.runs.base_settings import BASE, BASE_WEIGHTS
from genprior.runs.best_weights import scored_ages
from genprior.runs.checkpoint import ages, checkpoint_faults, load_age, load_counters, lost_ages
from genprior.runs.encoder_experiment import EXPERIMENTS as ENCODERS
from genprior.runs.encoder_settings import ENCODER, WEIGHTS
from genprior.runs.experiment import part_of
from genprior.runs.kept_base import read_base
from genprior.runs.kept_residual import RESIDUAL, read_residual
from genprior.runs.run_events import read_events, told_damage
from genprior.runs.run_folder import AUTO, CONFIG, TRIED, Run, open_run, read_environment
from genprior.runs.step_log import record_fault
from genprior.runs.step_rows import Row, each_row
from genprior.runs.trained_prior import read_encoder
from genprior.scoring.auto_results import AutoTraining
from genprior.scoring.scoring_experiments import EXPERIMENTS as SCORING
from genprior.stored_files import read_model

LOST = "nothing makes it again: put it back from a copy"
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


def tried(name: str, read: Callable[[], object], again: str) -> CheckedFile:
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


def reading(model: type[BaseModel], path: Path) -> Callable[[], object]:
    """Returns what reads a file of JSON."""
    return partial(read_model, path, model, "folder")


def run_files(path: Path) -> Iterator[CheckedFile]:
    """Yields all files of a run that can be checked, and what is missing."""
    run = Run(path, GANConfig.model_construct())  # whose config may be damaged: its folder is looked at
    with suppress(GenpriorError):
        run = open_run(path)  # and where its record begins
    yield tried(CONFIG, lambda: open_run(path), LOST)
    yield tried(run.environment.name, lambda: read_environment(run), LOST)
    first: list[Row] = []
    if run.steps.is_file():
        yield tried(run.steps.name, lambda: first.extend(_first_of(each_row(run.steps))), LOST)
    yield from _checkpoints(run, has_rows=bool(first))
    if run.events.is_file():
        yield tried(run.events.name, lambda: read_events(run), f"alarms: genprior resume {path}; setbacks: {LOST}")
    if run.scores.is_file():
        yield tried(run.scores.name, lambda: scored_ages(run), f"{LOST}; delete it, and the last weights are used")
    for kept, fault in checkpoint_faults(run.best).items() if run.best.is_dir() else ():
        yield CheckedFile(f"{run.best.name}/{kept.name}", fault, f"{LOST}; {UNUSED}")
    for file in ages(run).values():
        yield tried(f"{run.history.name}/{file.name}", partial(load_age, file), f"{LOST}; {UNUSED}")
    yield from _lost_ages(path, first)
    if (path / WEIGHTS).exists():
        again = f"genprior train encoder {path} --overwrite"
        yield tried(WEIGHTS, lambda: read_encoder(path / WEIGHTS), again)
        if not (path / ENCODER).exists():  # each version wrote it, right after the weights; there it is read below
            yield CheckedFile(ENCODER, "it is gone, or a kill came before it was written", again)
    if (path / RESIDUAL).exists():
        again = f"genprior train residual {path} --overwrite"
        yield tried(RESIDUAL, lambda: read_residual(path / RESIDUAL), again)
    if (path / BASE_WEIGHTS).exists():
        again = f"genprior train base {path} --overwrite"
        yield tried(BASE_WEIGHTS, lambda: read_base(path / BASE_WEIGHTS), again)
        if not (path / BASE).exists():
            yield CheckedFile(BASE, "it is gone, or a kill came before it was written", again)
    yield from _results(path)
    for auto in filter(Path.is_file, (path / AUTO, part_of(path / AUTO))):
        yield tried(auto.name, reading(AutoTraining, auto), LOST)
    for each in sorted((path / TRIED).glob("*/")):
        yield from (replace(one, name=f"{TRIED}/{each.name}/{one.name}") for one in run_files(each))
    for picture in sorted(run.figures.glob("*.png")):
        yield tried(f"{run.figures.name}/{picture.name}", partial(read_numbers, picture), "it is drawn anew")


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lines that cannot be read: told of the files themselves
        try:
            is_other = record_fault(run, each_row(run.steps), counters.step, counters.log)
            is_told = told_damage(run) is not None
        except OSError:  # told of the record itself
            return
    if is_told:
        yield CheckedFile("the record", is_other or "", "it stays said; train anew for a whole record")
        return
    name = run.events.name if is_other and is_other.startswith(str(run.events)) else run.steps.name
    yield CheckedFile(f"{name}, beside the checkpoint", is_other or "", LOST)


def _lost_ages(path: Path, first: list[Row]) -> Iterator[CheckedFile]:
    """What a run should have of its history, whose first row tells how often it may have had an age."""
    with suppress(GenpriorError):  # of what is damaged, and told elsewhere
        run = open_run(path)
        counters, _ = load_counters(run.checkpoints)
        begun, images_begun = run.config.begins_after
        is_whole = bool(first) and first[0]["step"] == begun + 1
        if counters is not None:
            seen = counters.images_seen if is_whole else 0
            for images in lost_ages(run, first[0]["images_seen"] - images_begun if is_whole else 1, seen):
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
                yield tried(each.name, reading(experiment.result, each), f"genprior {command} {path}{overwrite}")
    if (path / MODES).is_file():
        yield tried(MODES, reading(MeasuredRun, path / MODES), "delete it, and give `genprior benchmark modes` again")
