"""Training of a run: draws steps from the loop, logs and saves them, and goes back after values that are not finite."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch

from genprior.data import Dataset
from genprior.diagnosis.health_verdict import Watch
from genprior.errors import raise_lack_of_memory
from genprior.progress import Stage, Task
from genprior.runs.checkpoint import (
    Checkpoint,
    Counters,
    checkpoint_path,
    is_age,
    keep_age,
    load_checkpoint,
    save_checkpoint,
)
from genprior.runs.held_out_looks import HeldOutLooks
from genprior.runs.rescue import Rescue
from genprior.runs.run_events import Alarm, Setback, append_event, replace_alarms
from genprior.runs.run_folder import LogSum, Run, locked, misfit
from genprior.runs.step_log import StepLog, in_words, non_finite_names
from genprior.runs.step_rows import Row, each_row
from genprior.runs.thread_choice import ThreadChoice
from genprior.training.loop import Learner, Step, train

STEPS_A_FLUSH = 10
# What the processes agree on after a step; the largest wins.
GO_ON, SAVE, INTERRUPTED, FINISHED = range(4)
Outcome = Literal["finished", "interrupted", "non-finite"]
OUTCOMES: dict[int, Outcome] = {INTERRUPTED: "interrupted", FINISHED: "finished"}


@dataclass(frozen=True)
class TrainingOutcome:
    """How training ended.

    Attributes:
        outcome: At the end of the budget; asked to stop; or by values that are not finite.
        row: The last step, as in the log.
        seconds: Time spent training, earlier stretches included.
    """

    outcome: Outcome
    row: Row
    seconds: float


def execute(
    run: Run,
    learner: Learner,
    data: Dataset,
    should_stop: Callable[[], bool] = lambda: False,
    flush_every: int = STEPS_A_FLUSH,
    held_out: Dataset | None = None,
    until: float = 1.0,
) -> Task[TrainingOutcome]:
    """Trains a run from its last checkpoint to the end of its budget, and returns how that ended.

    A checkpoint is saved before the first step, every `checkpoint_seconds`, at the end, and before an error between
    two steps is raised; never after a step whose record holds anything that is not finite: training then continues from
    the last checkpoint at half the learning rates, or ends where the family rather stops. Each such setback stands in
    the run's events. Now and then the weights restore held-out images, until the patience of the settings is used up.

    Arguments:
        run: The run; only the first process writes to it.
        learner: As built from the run's config, in its first state.
        data: The run's data.
        should_stop: Called after each step; True ends training with a checkpoint.
        flush_every: Steps between two looks at the record, and so between two stages.
        held_out: Images that the run never learns; None: its weights are not scored.
        until: Share of the budget at which training pauses, in (0, 1].

    Raises:
        GenpriorError: The run's checkpoints are all damaged, or another process trains it.
        OSError: Disk full, for example; the last checkpoint is whole.
    """
    threads = ThreadChoice(learner, data, run.config.threads)
    looks = HeldOutLooks(run, held_out if learner.processes.rank == 0 else None, until)
    training = _Training(run, learner, data, threads, looks, should_stop, flush_every)
    with locked(run) if training.is_first else nullcontext():
        start, refused = _begun(training)
        for line in refused:
            yield training.stage(start, alarm=line)
        while True:
            with StepLog(run, start.step, start.log) if training.is_first else nullcontext() as log:
                ended = yield from _stretch(training, start, log)
            if isinstance(ended, TrainingOutcome):
                return ended
            rate, start, message = _rolled_back(training, ended)
            yield training.stage(start, alarm=message)
            if rate is None:
                return TrainingOutcome("non-finite", ended.row, ended.seconds)


@dataclass(frozen=True)
class _Training:
    """What all stretches of a training share."""

    run: Run
    learner: Learner
    data: Dataset
    threads: ThreadChoice
    looks: HeldOutLooks
    should_stop: Callable[[], bool]
    flush_every: int

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.learner.processes.rank == 0

    def steps(self, start: Counters) -> Iterator[Step]:
        """The steps from a checkpoint to the end of the budget."""
        config = self.run.config
        if self._share(start) >= self.looks.until:
            return iter(())
        return train(
            self.learner,
            self.data,
            config.budget(),
            seed=config.seed,
            images_seen=start.images_seen,
            seconds=start.seconds,
        )

    def stage(self, at: Counters, alarm: str) -> Stage:
        """What is shown between two stretches."""
        return Stage(self._share(at), f"{at.images_seen:,} images", alarm=alarm)

    def decision(self, step: Step, save_at: float) -> int:
        """What the processes do after a step: what the one that wants most would do."""
        is_due = self.looks.is_due(step.images_seen, step.seconds, step.progress)
        wish = SAVE if is_due or time.monotonic() >= save_at or self.threads.has_fallen(step.images_seen) else GO_ON
        if self.should_stop():
            wish = INTERRUPTED
        return FINISHED if step.progress >= self.looks.until else self.learner.processes.largest(wish)

    def kept(self, step: Step, state: dict[str, torch.Tensor], log: StepLog | None, decided: int) -> int:
        """Saves a checkpoint in the process that writes; returns the decision, to which all of them come."""
        if log is not None:
            log.sync()
            self.keep(step, state, log.sum(), decided == INTERRUPTED)
        is_enough = decided != INTERRUPTED and self.learner.processes.largest(self.looks.reason is not None)
        return FINISHED if is_enough else decided

    def keep(self, step: Step, state: dict[str, torch.Tensor], log: LogSum, is_in_a_hurry: bool) -> None:
        """Saves a checkpoint, and looks at its weights where that is due; in a hurry the next start does that."""
        count = self.threads.choose(step.progress)
        at = Checkpoint(step.index, step.images_seen, step.seconds, count, log, tensors=state)
        save_checkpoint(self.run.checkpoints, at)
        if not is_in_a_hurry and self.looks.is_due(step.images_seen, step.seconds, step.progress):
            self.looks.look(at)

    def look_again(self, saved: Checkpoint) -> None:
        """Looks at a checkpoint where a kill came between its writing and its look."""
        self.looks.begin(saved)
        if saved.step and self.looks.is_due(saved.images_seen, saved.seconds, self._share(saved)):
            self.looks.look(saved)

    def _share(self, at: Counters) -> float:
        return self.run.config.budget().share(at.images_seen, at.seconds, len(self.data))


@dataclass(frozen=True)
class _Ill:
    """A step with values that are not finite: its row in the log, the first of their names, the time until then."""

    row: Row
    names: tuple[str, ...]
    seconds: float


def _stretch(
    training: _Training, start: Counters, log: StepLog | None
) -> Generator[Stage, None, TrainingOutcome | _Ill]:
    """Draws the steps, looks at their records in blocks, saves, and decides when to end."""
    rescue = Rescue(training.run, training.learner, log)
    with rescue.at_errors():
        return (yield from _blocks(training, start, log, rescue))


def _blocks(
    training: _Training, start: Counters, log: StepLog | None, rescue: Rescue
) -> Generator[Stage, None, TrainingOutcome | _Ill]:
    run, learner = training.run, training.learner
    watch = None if log is None else _followed(run, start.step)
    row: Row = {"step": start.step, "images_seen": start.images_seen}
    save_at = time.monotonic() + run.config.checkpoint_seconds
    rescue.next_block()
    for step in rescue.followed(training.steps(start)):
        if log is not None and is_age(step.images_seen, learner.images_per_update):
            keep_age(run, learner, step.images_seen)
        decided = training.decision(step, save_at)
        if decided == GO_ON and len(rescue.pending) < training.flush_every:
            continue
        rows = rescue.rows()
        row = rows[-1]
        if log is not None:
            log.append(rows)
        rescue.pending = []
        state = None if decided == GO_ON else learner.state_dict()
        ill = _ill(rows, state, step.seconds)
        if ill is not None:
            return ill
        if state is not None:
            decided = training.kept(step, state, log, decided)
            save_at = time.monotonic() + run.config.checkpoint_seconds
        for alarm in _alarms(watch, rows):
            append_event(run, alarm)
            yield Stage(step.progress, in_words(row), alarm=alarm.message)
        yield Stage(step.progress, in_words(row), alarm=training.looks.reason)
        if decided in OUTCOMES:
            return TrainingOutcome(OUTCOMES[decided], row, step.seconds)
        rescue.next_block()
    return TrainingOutcome("finished", row, start.seconds)


def _ill(rows: list[Row], state: dict[str, torch.Tensor] | None, seconds: float) -> _Ill | None:
    """What is not finite in the rows; or in the weights, which may be ill where the record is not yet."""
    bad = next((row for row in rows if non_finite_names(row)), None)
    if bad is not None:
        return _Ill(bad, tuple(non_finite_names(bad)[:3]), seconds)
    names = [name for name, value in (state or {}).items() if not bool(torch.isfinite(value).all())]
    return _Ill(rows[-1], tuple(names[:3]), seconds) if names else None


def _followed(run: Run, last_step: int) -> Watch | None:
    """The watch over a run's record up to a checkpoint, whose alarms are written anew: each stands there once."""
    game = run.config.game()
    if game is None:
        return None
    watch = Watch(game)
    replace_alarms(run, _alarms(watch, (row for row in each_row(run.steps) if row["step"] <= last_step)))
    return watch


def _alarms(watch: Watch | None, rows: Iterable[Row]) -> list[Alarm]:
    """Looks at the next rows; returns an event for each sign that begins or ends."""
    events: list[Alarm] = []
    if watch is None:
        return events
    for row in rows:
        for change, seen in watch.look([row]):
            message = f"no longer {seen.name} ({seen.first:,} to {seen.last:,} images)"
            event: Literal["alarm", "recovered"] = "recovered"
            if change == "begins":
                event, message = "alarm", f"{seen.name} since {seen.first:,} images: {seen.text}"
            events.append(
                Alarm(event=event, step=row["step"], images_seen=seen.last, verdict=seen.name, message=message)
            )
    return events


def _begun(training: _Training) -> tuple[Counters, list[str]]:
    """Loads the last checkpoint, or saves the first; returns where training starts, and lines to be shown."""
    run, learner = training.run, training.learner
    saved, refused = load_checkpoint(run.checkpoints)
    start = Counters(0, 0, 0.0) if saved is None else _restored(run, learner, saved)
    training.threads.begin(start.threads)
    if training.is_first and saved is None:
        _save_first(run, learner)
    elif training.is_first and saved is not None:
        training.look_again(saved)
    return start, refused


def _save_first(run: Run, learner: Learner) -> None:
    """Saves a run before its first step, to which the first setback leads."""
    first = Checkpoint(0, 0, 0.0, torch.get_num_threads(), tensors=learner.state_dict())
    keep_age(run, learner, 0)  # before the checkpoint, which is what says that training began
    save_checkpoint(run.checkpoints, first)


def _restored(run: Run, learner: Learner, saved: Checkpoint) -> Counters:
    """Loads a checkpoint into a learner, and returns its counters."""
    try:
        learner.load_state_dict(saved.tensors)
    except (RuntimeError, KeyError) as error:
        raise_lack_of_memory(error)
        raise misfit(run) from error
    return Counters(saved.step, saved.images_seen, saved.seconds, saved.threads, saved.log)


def _rolled_back(training: _Training, ill: _Ill) -> tuple[float | None, Counters, str]:
    """Takes the learner back to its last good checkpoint, to continue at half the learning rates, and records it.

    Returns:
        The share of the learning rates that is left, None where the family stops instead; where training continues,
        with the time that it has taken; and what happened, in a line.
    """
    run, learner = training.run, training.learner
    good, _ = load_checkpoint(run.checkpoints)
    assert good is not None, "a checkpoint is saved before the first step"
    start = _restored(run, learner, good)
    rate = learner.slow_down()
    learner.processes.largest(0)  # all have read the checkpoint before the first one writes it anew
    message = f"step {ill.row['step']} has values that are not finite ({', '.join(ill.names)})"
    if rate is None:
        message += (
            f"; training stopped. Last good checkpoint: {checkpoint_path(run.checkpoints, good.step)}. Train anew with "
            "a lower learning rate, less weight decay or --precision float32"
        )
    else:
        message += f"; went back to step {good.step:,}, learning rates at {rate:g} of the settings"
    if training.is_first:
        if rate is not None:
            save_checkpoint(run.checkpoints, replace(good, tensors=learner.state_dict()))
        setback = Setback(
            event="stopped" if rate is None else "rolled back",
            step=ill.row["step"],
            images_seen=ill.row["images_seen"],
            not_finite=ill.names,
            back_to=good.step,
            rate=rate,
        )
        append_event(run, setback)
    return rate, replace(start, seconds=ill.seconds), message
