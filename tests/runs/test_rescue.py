"""An error that ends training leaves a checkpoint of the last whole step, and a record that goes as far."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genprior.errors import GenpriorError
from genprior.progress import Stage, show
from genprior.runs import execute as execution
from genprior.runs import rescue
from genprior.runs.checkpoint import load_checkpoint, save_checkpoint
from genprior.runs.execute import execute
from genprior.runs.prepare import PreparedRun, new_run, resumed_run
from genprior.runs.run_folder import Run
from genprior.runs.step_log import StepLog
from genprior.runs.step_rows import Row, read_rows
from genprior.training.adversarial import GAN
from small import points_config

Patch = pytest.MonkeyPatch


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def at_call(number: int, act: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """A function that raises an error in place of its nth call."""
    calls = iter(range(1, 10**6))

    def called(*values: Any, **named: Any) -> Any:  # noqa: ANN401
        if next(calls) == number:
            raise error
        return act(*values, **named)

    return called


def torn_row(patch: Patch) -> None:
    """Half of a block of rows is written, then the disk is full for a moment."""
    real = StepLog.append

    def half(log: StepLog, rows: list[Row]) -> None:
        log._file.write('{"step": 1')
        log._file.flush()
        raise full()

    calls = iter([real, half])
    patch.setattr(StepLog, "append", lambda log, rows: next(calls, real)(log, rows))


def after_rows(patch: Patch) -> None:
    """The rows stand in the log, and what comes after them in the same call fails."""
    real = StepLog.append

    def then_fail(log: StepLog, rows: list[Row]) -> None:
        real(log, rows)
        raise RuntimeError("TensorBoard")

    calls = iter([real, then_fail])
    patch.setattr(StepLog, "append", lambda log, rows: next(calls, real)(log, rows))


def patch_call(where: object, name: str, number: int, error: Exception) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(where, name, at_call(number, getattr(where, name), error))


FAULTS = {  # what fails, and the step that is saved
    "rows torn": (torn_row, 10),
    "after the rows": (after_rows, 10),
    "memory for rows": (patch_call(rescue, "rows_of", 2, MemoryError()), 10),
    "an age": (patch_call(execution, "keep_age", 2, full()), 20),  # the first is that before training
    "an event": (patch_call(execution, "_alarms", 3, RuntimeError("a sign")), 10),
}


def trained(prepared: PreparedRun, stop: Callable[[], bool] = lambda: False) -> None:
    show(execute(prepared.run, prepared.learner, prepared.data, stop, flush_every=5))


def state_of(run: Run) -> tuple[int, dict[str, Any], list[Row], dict[str, bytes]]:
    """All that must be equal in the end."""
    saved, _ = load_checkpoint(run.checkpoints)
    assert saved is not None
    rows = [{k: v for k, v in row.items() if k != "images_per_second"} for row in read_rows(run.steps)]
    history = {path.name: path.read_bytes() for path in run.history.iterdir()}
    return saved.step, {name: value.tolist() for name, value in saved.tensors.items()}, rows, history


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], list[Row], dict[str, bytes]]:
    prepared = new_run(tmp_path_factory.mktemp("whole") / "run", points_config(images_seen=1500))
    trained(prepared)
    return state_of(prepared.run)


def check_resumed(path: Path, step: int, undisturbed: object) -> None:
    run = resumed_run(path, {}).run
    saved, refused = load_checkpoint(run.checkpoints)
    assert saved is not None
    assert (saved.step, refused) == (step, [])
    assert [row["step"] for row in read_rows(run.steps)] == [*range(1, step + 1)]
    again = resumed_run(path, {})
    assert not any("damaged" in note for note in again.notes)
    trained(again)
    assert state_of(run) == undisturbed


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_between_two_steps_saves_the_last_one(fault: str, tmp_path: Path, undisturbed: object) -> None:
    fail, step = FAULTS[fault]
    prepared = new_run(tmp_path / "run", points_config(images_seen=1500))
    with pytest.MonkeyPatch.context() as patch:
        fail(patch)
        with pytest.raises((OSError, RuntimeError, MemoryError)):
            trained(prepared)
    check_resumed(tmp_path / "run", step, undisturbed)


@pytest.mark.parametrize("call", ["flush", "fsync"])
def test_an_error_of_the_record_names_its_file(call: str, tmp_path: Path, monkeypatch: Patch) -> None:
    run = new_run(tmp_path / "run", points_config()).run
    with StepLog(run, 0) as log:
        if call == "fsync":
            monkeypatch.setattr(os, "fsync", at_call(1, os.fsync, full()))
        else:
            log._file.close()
            monkeypatch.setattr(log, "_file", Failing())
        with pytest.raises(OSError, match=r"No space left on device: .*steps\.jsonl"):
            log.sync() if call == "fsync" else log.append([{"step": 1, "images_seen": 1}])


class Failing:
    """A file on a full disk."""

    def write(self, _: str) -> None:
        raise full()

    def close(self) -> None:
        """Does nothing."""


def test_an_error_of_the_one_who_asks_to_stop_saves_the_last_step(tmp_path: Path, undisturbed: object) -> None:
    prepared = new_run(tmp_path / "run", points_config(images_seen=1500))
    with pytest.raises(ZeroDivisionError):
        trained(prepared, at_call(7, lambda: False, ZeroDivisionError()))
    check_resumed(tmp_path / "run", 7, undisturbed)


def test_an_error_while_a_stage_is_shown_saves_the_last_step(
    tmp_path: Path, undisturbed: object, monkeypatch: Patch
) -> None:
    prepared = new_run(tmp_path / "run", points_config(images_seen=1500))
    with monkeypatch.context() as patch:
        patch.setattr("genprior.progress._Line.show", at_call(2, lambda *_: None, ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            trained(prepared)
    check_resumed(tmp_path / "run", 10, undisturbed)


def test_a_loop_that_is_left_saves_the_last_step(tmp_path: Path, undisturbed: object) -> None:
    prepared = new_run(tmp_path / "run", points_config(images_seen=1500))
    stages: list[Stage] = []
    for stage in execute(prepared.run, prepared.learner, prepared.data, flush_every=5):
        stages.append(stage)
        if len(stages) == 3:
            break
    del stage
    check_resumed(tmp_path / "run", 15, undisturbed)


def test_an_error_within_a_step_leaves_the_checkpoint_before_it(
    tmp_path: Path, undisturbed: object, monkeypatch: Patch
) -> None:
    prepared = new_run(tmp_path / "run", points_config(images_seen=1500))
    with monkeypatch.context() as patch:
        patch.setattr(GAN, "average_weights", at_call(8, GAN.average_weights, MemoryError()))
        with pytest.raises(MemoryError):
            trained(prepared)
    saved, _ = load_checkpoint(prepared.run.checkpoints)
    assert saved is not None
    assert saved.step == 0
    trained(resumed_run(tmp_path / "run", {}))
    assert state_of(prepared.run) == undisturbed


def test_where_no_checkpoint_can_be_saved_the_first_error_is_told(tmp_path: Path, monkeypatch: Patch) -> None:
    prepared = new_run(tmp_path / "run", points_config())
    failing = at_call(1, save_checkpoint, full())
    monkeypatch.setattr(rescue, "save_checkpoint", failing)
    with pytest.raises(GenpriorError, match="the first one"):
        trained(prepared, at_call(7, lambda: False, GenpriorError("the first one")))
    saved, _ = load_checkpoint(prepared.run.checkpoints)
    assert saved is not None
    assert saved.step == 0
