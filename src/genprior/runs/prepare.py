"""From a config, or a folder, to a run that is ready to be trained: processes, data, learner."""

import logging
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.data.spec import absolute_spec, parse_spec
from genprior.errors import GenpriorError
from genprior.families import BUDGETS, RunConfig, parse_config
from genprior.hardware import keep_freed_memory, resolve_device, resolve_precision
from genprior.memory import networks_within_memory
from genprior.runs.best_weights import impatience, scored_ages
from genprior.runs.checkpoint import Counters, age_fault, ages, load_counters, lost_ages, settle
from genprior.runs.files import write_json
from genprior.runs.run_folder import (
    CONFIG,
    Run,
    create_run,
    differences,
    environment,
    locked,
    open_run,
    refuse_to_fill,
)
from genprior.runs.step_log import record_fault, tensorboard_writer
from genprior.runs.step_rows import each_row
from genprior.training.loop import Learner
from genprior.writing import refuse_unwritable, remove_leftovers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

WEIGHT_BYTES = 5 * 4  # a weight, its slope, two means of Adam, and the moving average, in float32


@dataclass(frozen=True)
class PreparedRun:
    """A run with all that its training needs.

    Attributes:
        run: Folder and config.
        learner: In its first state; `execute` loads the checkpoint.
        data: As the config names it.
        held_out: Images that it never learns; None: there are none.
        notes: Lines to show before training begins.
    """

    run: Run
    learner: Learner
    data: Dataset
    held_out: Dataset | None
    notes: list[str]


class Start(Protocol):
    """What a new run goes on from."""

    def load(self, learner: Learner, data: Dataset) -> list[str]:
        """Puts the learner where training goes on, and returns lines to be shown; raises `GenpriorError` where it does
        not fit."""

    def begin(self, run: Run, learner: Learner) -> None:
        """Writes that state into the folder of the new run."""


def new_run(path: Path, config: RunConfig, *, overwrite: bool = False, start: Start | None = None) -> PreparedRun:
    """Returns a new run; its folder is made last, so that bad input leaves nothing behind.

    Arguments:
        path: Of its folder.
        config: Its settings.
        overwrite: Whether a run that is there is replaced.
        start: From where it goes on; None: from the beginning.

    Raises:
        GenpriorError: Bad data, an unknown name, or a folder that may not be written.
    """
    refuse_to_fill(path, overwrite=overwrite)
    refuse_among_images(path, config.data)
    config.check_names()  # before data are read, or fetched
    if config.tensorboard:
        tensorboard_writer()
    fabric = launch(config)
    split = _load_split(config, fabric)
    data, held_out = split.learned, split.load_held_out()
    if config.patience is not None and held_out is None:
        raise GenpriorError(f"needs held-out images, {config.data} has none", argument="patience")
    config, fitted = config.fitted(data) if start is None else (config, [])
    config = resolved(config, fabric)
    if start is None:
        config = config.model_copy(update={"forked_from": None})  # of a file of settings
    learner = _built(config, data, fabric, held_out)
    learner.check(data)
    run = Run(path, config)
    notes = [_headline(run, learner, split), *fitted, *([] if start is None else start.load(learner, data))]
    if fabric is None or fabric.is_global_zero:
        facts = environment(learner, data)  # takes its time, so before the folder is there
        run = create_run(path, config, overwrite=overwrite)
        write_json(run.environment, facts.model_dump(mode="json"))
        if start is not None:
            start.begin(run, learner)
    _wait(fabric)
    return PreparedRun(run, learner, data, held_out, notes)


def refuse_among_images(path: Path, data: str, argument: str = "out") -> None:
    """Raises `GenpriorError` where what is written would lie among the images that are learned, and become data.

    Arguments:
        path: Where it would be written.
        data: What is learned.
        argument: That named the path.
    """
    spec = parse_spec(data)
    folder = Path(spec.rest)
    if spec.source is None and folder.is_dir() and path.resolve().is_relative_to(folder.resolve()):
        raise GenpriorError(f"{path} lies in the folder of images {folder}; choose another folder", argument=argument)


def refuse_same_place(path: Path, other: Path, becomes: str) -> None:
    """Raises `GenpriorError` where a new run would lie in the run that it begins from, hold it or replace it."""
    there, here = other.resolve(), path.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise GenpriorError(
            f"{path} is the run that is to be {becomes}, holds it or lies in it; choose another folder", argument="out"
        )


def resumed_run(path: Path, changes: Mapping[str, float | str | None]) -> PreparedRun:
    """Returns the run at `path`, ready to be continued.

    Arguments:
        path: Folder of the run.
        changes: At most one of `images_seen`, `epochs` and `minutes`, to replace the run's budget; `patience`,
            `device`, and `data`, where the same images are now.

    Raises:
        GenpriorError: No run, other data than before, or a budget that is used up.
    """
    run = open_run(path)
    refuse_unwritable(path)  # before minutes of work
    given = {name: value for name, value in changes.items() if value is not None}
    if "data" in given:
        given["data"] = absolute_spec(str(given["data"]))
    if given:
        own = run.config.model_dump()
        if given.keys() & set(BUDGETS):
            own = {name: value for name, value in own.items() if name not in BUDGETS}
        run = Run(path, parse_config({**own, **given}))
    begun, _ = load_counters(run.checkpoints)
    if begun is None:
        _refuse_without_weights(run)
    fabric = launch(run.config)
    split = _load_split(run.config, fabric)
    data, held_out = split.learned, split.load_held_out()
    learner = _built(run.config, data, fabric, held_out)
    learner.check(data)
    is_first = fabric is None or fabric.is_global_zero
    if is_first and not run.environment.exists() and begun is None:
        facts = environment(learner, data)  # killed between the first two files of the run
        write_json(run.environment, facts.model_dump(mode="json"))
    _wait(fabric)
    notes = [_headline(run, learner, split), *differences(run, learner, data), *_lost_notes(run, begun, learner)]
    if is_first and begun is not None:
        with locked(run):  # where training was ended after its last checkpoint, nobody else would
            settle(run.checkpoints, begun.step)
            remove_leftovers(path, below=True)
    _refuse_finished(run, begun, data)
    if is_first and given:
        with locked(run):
            write_json(path / CONFIG, run.config.model_dump())
    _wait(fabric)
    return PreparedRun(run, learner, data, held_out, notes)


def launch(config: "RunConfig") -> "Fabric | None":
    """Returns Fabric with all its processes started, where `torchrun` was used; None where this process is alone.

    Raises:
        GenpriorError: The device does not exist.
    """
    device = resolve_device(config.device)
    if device.type not in ("cpu", "cuda"):
        raise GenpriorError(f"trains on cpu and cuda, got {device}", argument="device")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    fabric = None if world == 1 else _connected(device.type, world)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    keep_freed_memory()
    return fabric


def _connected(accelerator: str, world: int) -> "Fabric":
    from lightning_fabric import Fabric  # takes seconds, which one process need not wait

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets each process at length
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if accelerator == "cuda" and local > torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise GenpriorError(f"{local} processes on this machine need {local} GPUs, it has {have}", argument="device")
    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=world // local, strategy="ddp")
    fabric.launch()
    return fabric


def _built(config: RunConfig, data: Dataset, fabric: "Fabric | None", held_out: Dataset | None) -> Learner:
    """The learner; it is refused before its networks fill the memory."""
    is_on_cpu = resolve_device(config.device).type == "cpu"
    with networks_within_memory(WEIGHT_BYTES if is_on_cpu else 4):
        return config.build(data, fabric, held_out)


def _wait(fabric: "Fabric | None") -> None:
    if fabric is not None:
        fabric.barrier()


def _load_split(config: RunConfig, fabric: "Fabric | None") -> Split:
    with nullcontext() if fabric is None else fabric.rank_zero_first():  # one downloads, the others find it there
        return config.load_split()


def resolved(config: RunConfig, fabric: "Fabric | None" = None) -> RunConfig:
    """Returns settings with what was "auto" as it turned out, and with whole paths: as a run keeps them.

    So it resumes in the same arithmetic on any machine. The number of threads of one process is left open: checkpoints
    record it (`thread_choice`).

    Arguments:
        config: As given.
        fabric: Of the processes that train; None: one process.

    Raises:
        GenpriorError: No such device here.
    """
    found: dict[str, object] = {"precision": resolve_precision(config.precision, resolve_device(config.device))}
    if fabric is not None:
        found["precision"] = fabric.broadcast(found["precision"])
        found["threads"] = fabric.broadcast(config.threads or torch.get_num_threads())
        torch.set_num_threads(int(str(found["threads"])))
    found["data"] = absolute_spec(config.data)  # must hold wherever the run is resumed from
    if config.data_root is not None:
        found["data_root"] = os.path.abspath(os.path.expanduser(config.data_root))
    return config.model_copy(update=found)


def _refuse_without_weights(run: Run) -> None:
    """Raises `GenpriorError` where a run without a checkpoint cannot begin anew and be what it says."""
    origin = run.config.forked_from
    if origin is not None:
        raise GenpriorError(
            f"{run.path} was to go on {origin.in_words()}; it was killed before it had the weights: give the command "
            "that made it again, with --overwrite",
            argument="run",
        )
    if any(True for _ in each_row(run.steps)):
        raise GenpriorError(f"{run.path} has steps but no checkpoint; train it anew with --overwrite", argument="run")


def _refuse_finished(run: Run, begun: Counters | None, data: Dataset) -> None:
    if begun is not None:
        refuse_used_budget(run, begun, data, "run")
    reason = impatience(scored_ages(run), run.config.patience)
    if reason is not None:
        raise GenpriorError(f"{run.path}: {reason}; continue it with a larger --patience", argument="run")


def refuse_used_budget(run: Run, begun: Counters, data: Dataset, argument: str) -> None:
    """Raises `GenpriorError` about `argument` where the budget of a run's settings is used up."""
    if run.config.budget().share(begun.images_seen, begun.seconds, len(data)) >= 1:
        raise GenpriorError(
            f"{run.path} is finished: {begun.images_seen:,} images seen in {begun.seconds / 60:.1f} minutes; give a "
            f"larger budget, such as --epochs {2 * begun.images_seen / len(data):.3g}",
            argument=argument,
        )


def _lost_notes(run: Run, begun: Counters | None, learner: Learner) -> list[str]:
    """Lines about what resuming does not bring back."""
    if begun is None:
        return []
    fault = record_fault(run, each_row(run.steps), begun.step, begun.log)
    lost = lost_ages(run, learner.images_per_update, begun.images_seen)
    files = ", ".join(f"{age}.safetensors" for age in lost)
    return [
        *([f"the record is damaged, and stays so for the steps until here: {fault}"] if fault else []),
        *([f"gone from {run.history}: {files}; report and probes show no images of that age"] if lost else []),
        *filter(None, map(age_fault, ages(run).values())),
    ]


def _headline(run: Run, learner: Learner, split: Split) -> str:
    data = split.learned
    counts = " and ".join(f"{part} {count:,}" for part, count in learner.parameter_counts().items())
    shape = "x".join(map(str, data.image_shape))
    held = f" ({split.set_apart:,} more are held out)" if split.set_apart else ""
    beside = "".join(f"; {name}: {fact}" for name, fact in run.config.facts(data.image_shape).items())
    return (
        f"{run.path}: {run.config.title}, parameters: {counts}; {len(data):,} images of {shape} from "
        f"{run.config.data}{held}, {run.config.budget().text(len(data))}, {run.config.arithmetic} on "
        f"{learner.device}{beside}"
    )
