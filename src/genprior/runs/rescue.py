"""What an error leaves of training: the checkpoint of the last whole step, with all rows up to it in the record."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

import torch

from genprior.runs.checkpoint import Checkpoint, checkpoint_path, is_age, keep_age, save_checkpoint
from genprior.runs.run_folder import Run
from genprior.runs.step_log import StepLog, non_finite_names, rows_of
from genprior.runs.step_rows import Row
from genprior.training.loop import Learner, Step


class Rescue:
    """Knows which steps are not in the record yet, and whether the learner stands between two steps.

    Arguments:
        run, learner: What is trained.
        log: The record; None: another process writes it, and nothing is rescued here.

    Attributes:
        pending: Steps since the last block of rows.
        began: `time.perf_counter()` at the first of them.
    """

    def __init__(self, run: Run, learner: Learner, log: StepLog | None) -> None:
        self.run, self.learner, self.log = run, learner, log
        self.pending: list[Step] = []
        self.began = time.perf_counter()
        self._last: Step | None = None

    def followed(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Yields the steps; in between the learner is whole."""
        for step in steps:
            self.pending.append(step)
            self._last = step
            yield step
            self._last = None  # half of an update is nothing to be saved

    def rows(self) -> list[Row]:
        """Returns the rows of the block of steps that ends here."""
        return rows_of(self.pending, self.learner.images_per_update, self.began)

    def next_block(self) -> None:
        """Begins another block: the rows of this one are in the record."""
        self.pending, self.began = [], time.perf_counter()

    @contextmanager
    def at_errors(self) -> Generator[None]:
        """Saves a checkpoint when an error, or whoever trains, ends the block between two steps.

        The error is what is raised then, whether or not there was room for a checkpoint.
        """
        try:
            yield
        except (Exception, GeneratorExit):
            if self.log is not None and self._last is not None:
                with suppress(Exception):
                    self._save(self.log, self._last)
            raise

    def _save(self, log: StepLog, last: Step) -> None:
        if checkpoint_path(self.run.checkpoints, last.index).exists():
            return
        log.mend()
        rows = [row for row in self.rows() if row["step"] > log.last_step] if self.pending else []
        state = self.learner.state_dict()
        is_finite = all(bool(torch.isfinite(value).all()) for value in state.values())
        if not is_finite or any(map(non_finite_names, rows)):
            return
        if is_age(last.images_seen, self.learner.images_per_update):
            keep_age(self.run, self.learner, last.images_seen)
        if rows:
            log.append(rows)
        log.sync()
        threads = torch.get_num_threads()
        at = Checkpoint(last.index, last.images_seen, last.seconds, threads, log.sum(), tensors=state)
        save_checkpoint(self.run.checkpoints, at)
