"""The number of CPU threads of a run: found by trial, recorded in checkpoints, of no matter to the training."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from genprior.hardware import TRIAL_SECONDS, TURNS
from genprior.progress import result_of
from genprior.runs import thread_choice
from genprior.runs.checkpoint import load_checkpoint, load_counters
from genprior.runs.execute import execute
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.thread_choice import ThreadChoice
from small import points_config

DIGITS = {
    "preset": "dcgan-28",
    "data": "digits[:120]",
    "size": 8,
    "model": "dcgan:generator_width=8,discriminator_width=8",
    "batch_size": 20,
    "images_seen": 600,
    "checkpoint_seconds": 1e-6,
}


@pytest.fixture
def fastest(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes trials find these numbers of threads, one after another and then the last again; each trial does work."""

    def find(*counts: int) -> None:
        left: Iterator[int] = iter(counts)

        def tried(work: Callable[[], object], *_: object) -> int:
            work()
            return next(left, counts[-1])

        monkeypatch.setattr(thread_choice, "fastest_threads", tried)
        monkeypatch.setattr(thread_choice, "thread_counts", lambda: [1, 2])
        monkeypatch.setattr(thread_choice, "REST", 0)

    return find


def _prepared(path: Path, threads: int | None, **changes: object) -> PreparedRun:
    return new_run(path, points_config(**{**DIGITS, "threads": threads, **changes}))


def _trained(prepared: PreparedRun) -> dict[str, torch.Tensor]:
    result_of(execute(prepared.run, prepared.learner, prepared.data))
    checkpoint, _ = load_checkpoint(prepared.run.checkpoints)
    assert checkpoint is not None
    return checkpoint.tensors


def _assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_trials_leave_training_as_it_was(tmp_path: Path, fastest: Callable[..., None]) -> None:
    fastest(1)
    _assert_equal(_trained(_prepared(tmp_path / "tried", None)), _trained(_prepared(tmp_path / "given", 1)))


def test_each_checkpoint_records_the_number_for_the_steps_after_it(
    tmp_path: Path, fastest: Callable[..., None]
) -> None:
    fastest(1, 2)
    prepared = _prepared(tmp_path / "run", None)
    task = execute(prepared.run, prepared.learner, prepared.data)
    next(task)
    counters, _ = load_counters(prepared.run.checkpoints)
    assert counters is not None
    assert (counters.step, counters.threads, torch.get_num_threads()) == (1, 2, 2)
    task.close()
    fastest(2)
    torch.set_num_threads(1)
    resumed = resumed_run(prepared.run.path, {})
    next(execute(resumed.run, resumed.learner, resumed.data))
    assert torch.get_num_threads() == 2


def test_a_number_in_the_settings_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise AssertionError("tried")

    monkeypatch.setattr(thread_choice, "fastest_threads", fail)
    _trained(_prepared(tmp_path / "run", 1))


def test_another_trial_is_wanted_once_the_rate_has_fallen_for_two_windows(
    tmp_path: Path, fastest: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fastest(1)
    clock = [0.0]
    monkeypatch.setattr(thread_choice.time, "monotonic", lambda: clock[0])
    prepared = _prepared(tmp_path / "run", None)
    choice = ThreadChoice(prepared.learner, prepared.data, None)
    seen, wishes = 0, []
    for images in (100, 100, 30, 30, 100):
        clock[0] += 2.5
        seen += images
        wishes.append(choice.has_fallen(seen))
    assert wishes == [False, False, False, True, False]
    clock[0] += 0.1
    assert not choice.has_fallen(seen)  # the window is too short to tell


def test_trials_take_a_small_share_of_the_time(
    tmp_path: Path, fastest: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fastest(1, 2)
    monkeypatch.setattr(thread_choice, "REST", 50)
    clock = [0.0]
    monkeypatch.setattr(thread_choice.time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 1) or clock[0])
    prepared = _prepared(tmp_path / "run", None)
    choice = ThreadChoice(prepared.learner, prepared.data, None)
    assert choice.choose(0.0) == 1
    assert choice.choose(0.1) == 1
    clock[0] += 60
    assert choice.choose(0.2) == 2


@pytest.mark.parametrize(("is_busy", "turns"), [(False, 1), (True, TURNS)])
def test_a_glance_is_enough_on_a_quiet_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_busy: bool, turns: int
) -> None:
    def tried(_: object, counts: list[int], seconds: float, turns: int) -> int:
        found.append((seconds < TRIAL_SECONDS, turns))
        return 1

    found: list[tuple[bool, int]] = []
    monkeypatch.setattr(thread_choice, "fastest_threads", tried)
    monkeypatch.setattr(thread_choice, "thread_counts", lambda: [1, 2])
    monkeypatch.setattr(thread_choice, "others_want_cores", lambda: is_busy)
    prepared = _prepared(tmp_path / "run", None)
    ThreadChoice(prepared.learner, prepared.data, None).begin(None)
    assert found == [(not is_busy, turns)]


def test_a_fallen_rate_is_looked_into_thoroughly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    clock = [0.0]
    monkeypatch.setattr(thread_choice.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(thread_choice, "fastest_threads", lambda *given: turns.append(given[-1]) or 1)
    monkeypatch.setattr(thread_choice, "thread_counts", lambda: [1, 2])
    monkeypatch.setattr(thread_choice, "others_want_cores", lambda: False)
    prepared = _prepared(tmp_path / "run", None)
    choice = ThreadChoice(prepared.learner, prepared.data, None)
    fallen = []
    for images in (100, 200, 210, 220):
        clock[0] += 2.5
        fallen.append(choice.has_fallen(images))
    assert fallen == [False, False, False, True]
    choice.choose(0.5)
    assert turns == [TURNS]
