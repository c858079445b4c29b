"""How many CPU threads train a run: what its settings say, or what is fastest, found out by trial."""

import copy
import time

import torch

from genprior.cpu_cores import others_want_cores, thread_counts
from genprior.data import Dataset
from genprior.hardware import TRIAL_SECONDS, TURNS, fastest_threads
from genprior.training.loop import Batch, Learner

REST = 50  # times as long as a trial takes, until the next one: trials take two hundredths of the time at most
WINDOW_SECONDS = 2.0  # over which a rate is measured
QUICK_SECONDS = 0.1  # of work with each number of threads, where nobody else wants the cores
FALLEN = 0.6  # share of the best rate since the last trial below which another number of threads may be faster


class ThreadChoice:
    """The number of CPU threads that a run is trained with.

    A number in the settings stays. Else one thread and all cores are tried on a copy of what is trained: before the
    first step, at checkpoints, and when the rate falls, as it does when other programs want the cores. On a quiet
    machine a glance is enough. Training itself is not touched by a trial. Numbers of threads may differ in the last
    digits of a step, so each checkpoint records the number that the steps after it are made with, and a resumed run
    starts with that one.

    Arguments:
        learner: What is trained; nothing is tried on a GPU, or in several processes.
        data: What it learns from.
        fixed: The number in the settings; None: chosen by trial.
    """

    def __init__(self, learner: Learner, data: Dataset, fixed: int | None) -> None:
        self.learner, self.data = learner, data
        is_alone = learner.processes.count == 1 and torch.device(learner.device).type == "cpu"
        self.is_tried = fixed is None and is_alone and len(thread_counts()) > 1
        self._next_trial = time.monotonic()
        self._images, self._began, self._best, self._is_slow = 0, time.monotonic(), 0.0, False

    def begin(self, recorded: int | None) -> None:
        """Sets the number for the first step: that of the checkpoint it starts from, or the fastest."""
        if not self.is_tried:
            return
        if recorded is None:
            self.choose(0.0)
        else:
            torch.set_num_threads(recorded)

    def choose(self, progress: float) -> int:
        """Tries which number is fastest now, unless the last trial was a short while ago; returns the number set.

        Arguments:
            progress: Share of the budget that is used, in [0, 1].
        """
        if self.is_tried and progress < 1 and time.monotonic() >= self._next_trial:
            began = time.monotonic()
            torch.set_num_threads(self._fastest(progress))
            ended = time.monotonic()
            self._next_trial = ended + REST * (ended - began)
            self._began, self._best, self._is_slow = ended, 0.0, False
        return torch.get_num_threads()

    def has_fallen(self, images_seen: int) -> bool:
        """Whether training has become so much slower that another trial is worth its time.

        Arguments:
            images_seen: Images so far.
        """
        now = time.monotonic()
        if not self.is_tried or now - self._began < WINDOW_SECONDS:
            return False
        rate = (images_seen - self._images) / (now - self._began)
        was_slow = self._is_slow
        self._best = max(self._best, rate)
        self._images, self._began, self._is_slow = images_seen, now, rate < FALLEN * self._best
        return self._is_slow and was_slow and now >= self._next_trial

    def _fastest(self, progress: float) -> int:
        twin = copy.deepcopy(self.learner)
        indices = torch.arange(self.learner.images_per_update) % len(self.data)
        batch = Batch(self.data.take(indices), indices)
        is_quiet = not self._is_slow and not others_want_cores()
        seconds, turns = (QUICK_SECONDS, 1) if is_quiet else (TRIAL_SECONDS, TURNS)
        generator = torch.Generator()
        return fastest_threads(
            lambda: twin.update(batch, progress, generator.manual_seed(0)), thread_counts(), seconds, turns
        )
