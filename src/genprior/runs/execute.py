"""Training of a run: launches processes, draws steps from the loop, logs, saves, and says how far it is."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.hardware import keep_freed_memory, resolve_device
from genprior.runs.budget import Budget
from genprior.runs.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from genprior.runs.folder import Run, locked, misfit
from genprior.runs.log import Row, StepLog, non_finite_names, rows_of
from genprior.training.gan import GAN
from genprior.training.loop import Step, train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from genprior.config import GANConfig

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


def launch(config: "GANConfig") -> "Fabric":
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
    gan: GAN,
    data: Dataset,
    should_stop: Callable[[], bool] = lambda: False,
    flush_every: int = STEPS_A_FLUSH,
) -> Iterator[Progress]:
    """Trains a run from its last checkpoint to the end of its budget, and yields how far it is.

    A checkpoint is saved before the first step, every `checkpoint_seconds`, and at the end; never after a step whose
    record holds anything that is not finite: training then ends, and the last checkpoint is the last good one.

    Arguments:
        run: The run; only the first process writes to it.
        gan: As built from the run's config, in its first state.
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
        try:
            gan.load_state_dict(saved.tensors)
        except (RuntimeError, KeyError) as error:
            raise misfit(run) from error
    budget = Budget(run.config, len(data), start.seconds)
    with ExitStack() as stack:
        log = None
        if gan.processes.rank == 0:
            stack.enter_context(locked(run))
            log = stack.enter_context(StepLog(run, start.step))
            if saved is None:
                save_checkpoint(run.checkpoints, replace(start, tensors=gan.state_dict()))
        for line in refused:
            row: Row = {"step": start.step, "images_seen": start.images_seen}
            yield Progress(row, start.seconds, budget.fraction(start.images_seen), message=line)
        good = checkpoint_path(run.checkpoints, start.step)
        steps = train(gan, data, seed=run.config.seed, images_seen=start.images_seen, limit=budget.images)
        yield from _watch(run, gan, steps, budget, log, should_stop, flush_every, good)


def _watch(
    run: Run,
    gan: GAN,
    steps: Iterator[Step],
    budget: Budget,
    log: StepLog | None,
    should_stop: Callable[[], bool],
    flush_every: int,
    good: Path,
) -> Iterator[Progress]:
    """Draws the steps, looks at their records in blocks, saves, and decides when to end."""
    pending: list[Step] = []
    block_began = time.perf_counter()
    save_at = budget.seconds + run.config.checkpoint_seconds
    for step in steps:
        pending.append(step)
        decided = gan.processes.largest(_wish(budget, step, should_stop, save_at))
        if decided == GO_ON and len(pending) < flush_every:
            continue
        rows = rows_of(pending, gan.images_per_update, block_began)
        if log is not None:
            log.append(rows)
        fraction = budget.fraction(step.images_seen)
        bad = next((row for row in rows if non_finite_names(row)), None)
        if bad is not None:
            message = _non_finite_message(int(bad["step"]), non_finite_names(bad)[:3], good)
            yield Progress(bad, budget.seconds, fraction, "non-finite", message)
            return
        if decided != GO_ON:
            # A step's record comes from before its update: the weights may be ill where the record is not yet.
            state = gan.state_dict()
            ill = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
            if ill:
                message = _non_finite_message(step.index, ill[:3], good)
                yield Progress(rows[-1], budget.seconds, fraction, "non-finite", message)
                return
            if log is not None:
                log.sync()
                at = Checkpoint(step.index, step.images_seen, budget.seconds, state)
                good = save_checkpoint(run.checkpoints, at)
            save_at = budget.seconds + run.config.checkpoint_seconds
        outcome = OUTCOMES.get(decided)
        yield Progress(rows[-1], budget.seconds, fraction, outcome)
        if outcome is not None:
            return
        pending, block_began = [], time.perf_counter()


def _wish(budget: Budget, step: Step, should_stop: Callable[[], bool], save_at: float) -> int:
    """What this process alone would do after a step."""
    if budget.fraction(step.images_seen) >= 1:
        return FINISHED
    if should_stop():
        return INTERRUPTED
    return SAVE if budget.seconds >= save_at else GO_ON


def _non_finite_message(step: int, names: list[str], good: Path) -> str:
    return (
        f"step {step} has values that are not finite ({', '.join(names)}); training stopped. Last good checkpoint: "
        f"{good}. Train anew with a lower learning rate, less weight decay or --precision float32"
    )
