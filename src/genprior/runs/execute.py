"""Training of a run: launches processes, draws steps from the loop, logs, saves, and says how far it is."""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from genprior.data import Dataset
from genprior.diagnosis.health_verdict import Watch
from genprior.errors import GenpriorError
from genprior.hardware import keep_freed_memory, resolve_device
from genprior.runs.budget import Budget
from genprior.runs.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from genprior.runs.history import is_age, keep
from genprior.runs.run_folder import Run, locked, misfit
from genprior.runs.step_log import Row, StepLog, append_event, non_finite_names, read_rows, replace_alarms, rows_of
from genprior.training.loop import Learner, Step, train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from genprior.families import RunConfig

STEPS_A_FLUSH = 10
# What the processes agree on after a step; the largest wins.
GO_ON, SAVE, INTERRUPTED, FINISHED = range(4)
OUTCOMES = {INTERRUPTED: "interrupted", FINISHED: "finished"}


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        row: The newest step, as in the log.
        seconds: Time spent training, earlier stretches included.
        fraction: Share of the budget that is used, in [0, 1].
        outcome: None while training goes on; at its end "finished", "interrupted" or "non-finite".
        message: One line, where there is something to say.
    """

    row: Row
    seconds: float
    fraction: float
    outcome: str | None = None
    message: str | None = None


def launch(config: "RunConfig") -> "Fabric":
    """Returns Fabric with all its processes started: those of `torchrun` where that was used, else this one.

    Raises:
        GenpriorError: The device does not exist.
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets each process at length
    device = resolve_device(config.device)
    if device.type not in ("cpu", "cuda"):
        raise GenpriorError(f"trains on cpu and cuda, got {device}", argument="device")
    accelerator = device.type
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        devices: list[int] | int = [device.index or 0] if accelerator == "cuda" else 1
        fabric = Fabric(accelerator=accelerator, devices=devices)
    else:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        if accelerator == "cuda" and local > torch.cuda.device_count():
            have = torch.cuda.device_count()
            raise GenpriorError(
                f"{local} processes on this machine need {local} GPUs, it has {have}", argument="device"
            )
        fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=world // local, strategy="ddp")
    fabric.launch()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    keep_freed_memory()
    return fabric


def execute(
    run: Run,
    learner: Learner,
    data: Dataset,
    should_stop: Callable[[], bool] = lambda: False,
    flush_every: int = STEPS_A_FLUSH,
) -> Iterator[Progress]:
    """Trains a run from its last checkpoint to the end of its budget, and yields how far it is.

    A checkpoint is saved before the first step, every `checkpoint_seconds`, and at the end; never after a step whose
    record holds anything that is not finite: training then goes on from the last checkpoint at half the learning
    rates, or ends where the family rather stops. Each such setback stands in the run's events.

    Arguments:
        run: The run; only the first process writes to it.
        learner: As built from the run's config, in its first state.
        data: The run's data.
        should_stop: Asked after each step; True ends training with a checkpoint.
        flush_every: Steps between two looks at the record, and so between two yields.

    Raises:
        GenpriorError: The run's checkpoints are all damaged, or another process trains it.
        OSError: Disk full, for example; the last checkpoint is whole.
    """
    saved, refused = load_checkpoint(run.checkpoints)
    start = saved or Checkpoint(0, 0, 0.0, {})
    if saved is not None:
        _load(run, learner, saved)
    budget = Budget(run.config, len(data), start.seconds)
    with ExitStack() as stack:
        is_first = learner.processes.rank == 0
        if is_first:
            stack.enter_context(locked(run))
            if saved is None:
                save_checkpoint(run.checkpoints, replace(start, tensors=learner.state_dict()))
                keep(run, learner, 0)
        for line in refused:
            row: Row = {"step": start.step, "images_seen": start.images_seen}
            yield Progress(row, start.seconds, budget.fraction(start.images_seen), message=line)
        while True:
            learner.used = _used(budget, learner, start.images_seen)
            watch = _followed(run, start.step) if is_first else None
            steps = train(learner, data, seed=run.config.seed, images_seen=start.images_seen, limit=budget.images)
            with StepLog(run, start.step) if is_first else nullcontext() as log:
                setback = yield from _watch(run, learner, steps, budget, log, watch, should_stop, flush_every)
            if setback is None:
                return
            back = _rolled_back(run, learner, setback)
            fraction = budget.fraction(back.images_seen)
            if back.rate is None:
                yield Progress(setback.row, budget.seconds, fraction, "non-finite", back.message)
                return
            yield Progress(setback.row, budget.seconds, fraction, message=back.message)
            start = back


@dataclass(frozen=True)
class Setback:
    """A step with values that are not finite.

    Attributes:
        row: The step, as in the log.
        names: What was not finite.
    """

    row: Row
    names: list[str]


def _watch(
    run: Run,
    learner: Learner,
    steps: Iterator[Step],
    budget: Budget,
    log: StepLog | None,
    watch: Watch | None,
    should_stop: Callable[[], bool],
    flush_every: int,
) -> Generator[Progress, None, Setback | None]:
    """Draws the steps, looks at their records in blocks, saves, and decides when to end; returns what went wrong."""
    pending: list[Step] = []
    block_began = time.perf_counter()
    save_at = budget.seconds + run.config.checkpoint_seconds
    for step in steps:
        pending.append(step)
        if log is not None and is_age(step.images_seen, learner.images_per_update):
            keep(run, learner, step.images_seen)
        decided = learner.processes.largest(_wish(budget, step, should_stop, save_at))
        learner.used = _used(budget, learner, step.images_seen)
        if decided == GO_ON and len(pending) < flush_every:
            continue
        rows = rows_of(pending, learner.images_per_update, block_began)
        if log is not None:
            log.append(rows)
        bad = next((row for row in rows if non_finite_names(row)), None)
        if bad is not None:
            return Setback(bad, non_finite_names(bad)[:3])
        if decided != GO_ON:
            # A step's record comes from before its update: the weights may be ill where the record is not yet.
            state = learner.state_dict()
            ill = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
            if ill:
                return Setback(rows[-1], ill[:3])
            if log is not None:
                log.sync()
                save_checkpoint(run.checkpoints, Checkpoint(step.index, step.images_seen, budget.seconds, state))
            save_at = budget.seconds + run.config.checkpoint_seconds
        alarms = _alarms(watch, rows) if watch is not None else []
        for alarm in alarms:
            append_event(run, alarm)
            yield Progress(rows[-1], budget.seconds, budget.fraction(step.images_seen), message=alarm["message"])
        outcome = OUTCOMES.get(decided)
        yield Progress(rows[-1], budget.seconds, budget.fraction(step.images_seen), outcome)
        if outcome is not None:
            return None
        pending, block_began = [], time.perf_counter()
    return None


def _followed(run: Run, last_step: int) -> Watch | None:
    """The watch over a run's record up to a checkpoint, whose alarms are written anew: each stands there once."""
    game = run.config.game()
    if game is None:
        return None
    watch = Watch(game)
    replace_alarms(run, _alarms(watch, [row for row in read_rows(run.steps) if row["step"] <= last_step]))
    return watch


def _alarms(watch: Watch, rows: list[Row]) -> list[dict[str, Any]]:
    """Looks at the next rows; returns an event for each sign that begins or ends."""
    events = []
    for row in rows:
        for change, seen in watch.look([row]):
            if change == "begins":
                message = f"{seen.name} since {seen.first:,} images: {seen.text}"
            else:
                message = f"no longer {seen.name} ({seen.first:,} to {seen.last:,} images)"
            event = {"event": "alarm" if change == "begins" else "recovered", "step": row["step"]}
            events.append(event | {"images_seen": seen.last, "verdict": seen.name, "message": message})
    return events


def _load(run: Run, learner: Learner, saved: Checkpoint) -> None:
    try:
        learner.load_state_dict(saved.tensors)
    except (RuntimeError, KeyError) as error:
        raise misfit(run) from error


@dataclass(frozen=True)
class RolledBack(Checkpoint):
    """The checkpoint that a run went back to.

    Attributes:
        rate: Share of the learning rates that is left; None where the family stops instead.
        message: What happened, in a line.
    """

    rate: float | None
    message: str


def _rolled_back(run: Run, learner: Learner, setback: Setback) -> RolledBack:
    """Takes the learner back to its last good checkpoint, to go on at half the learning rates, and records it."""
    good, _ = load_checkpoint(run.checkpoints)
    assert good is not None, "a checkpoint is saved before the first step"
    _load(run, learner, good)
    rate = learner.slow_down()
    learner.processes.largest(0)  # all have read the checkpoint before the first one writes it anew
    what = f"step {setback.row['step']} has values that are not finite ({', '.join(setback.names)})"
    path = checkpoint_path(run.checkpoints, good.step)
    if rate is None:
        message = (
            f"{what}; training stopped. Last good checkpoint: {path}. Train anew with a lower learning rate, less "
            "weight decay or --precision float32"
        )
    else:
        message = f"{what}; went back to step {good.step:,}, learning rates at {rate:g} of the settings"
    if learner.processes.rank == 0:
        if rate is not None:
            save_checkpoint(run.checkpoints, replace(good, tensors=learner.state_dict()))
        event = {"event": "stopped" if rate is None else "rolled back", "step": setback.row["step"]}
        event |= {"images_seen": setback.row["images_seen"], "not_finite": setback.names, "back_to": good.step}
        append_event(run, event | {"rate": rate})
    return RolledBack(good.step, good.images_seen, good.seconds, {}, rate, message)


def _used(budget: Budget, learner: Learner, images_seen: int) -> float:
    """The used share of the budget; where it is a matter of time, that of the process that is furthest."""
    used = budget.fraction(images_seen)
    return used if budget.images is not None else learner.processes.largest(round(used * 10**6)) / 10**6


def _wish(budget: Budget, step: Step, should_stop: Callable[[], bool], save_at: float) -> int:
    """What this process alone would do after a step."""
    if budget.fraction(step.images_seen) >= 1:
        return FINISHED
    if should_stop():
        return INTERRUPTED
    return SAVE if budget.seconds >= save_at else GO_ON
