"""The log of steps is strict JSON, whole lines, and never hides a number that is not finite."""

import json
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genprior.runs.checkpoint import load_counters
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_events import Alarm, Damage, Setback, append_event, read_events, replace_alarms
from genprior.runs.run_folder import Run
from genprior.runs.step_log import StepLog, record_fault, rows_of
from genprior.runs.step_rows import StepRows, read_rows
from genprior.runs.summary import summary
from genprior.training.loop import Step
from small import gone_through, points_config


def test_every_step_has_a_line_with_the_whole_record(make_run: Callable[..., Run]) -> None:
    rows = read_rows(make_run().steps)
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert [row["images_seen"] for row in rows] == list(range(50, 1001, 50))
    promised = {
        "discriminator_loss",
        "generator_loss",
        "real_logit_mean",
        "real_logit_std",
        "fake_logit_mean",
        "fake_logit_std",
        "d_real",
        "d_fake",
        "accuracy_real",
        "accuracy_fake",
        "discriminator_gradient_norm",
        "generator_gradient_norm",
        "images_per_second",
        "non_finite_logits",
        "non_finite_gradients",
    }
    assert all(promised <= row.keys() for row in rows)


def test_rows_are_held_as_numbers_and_come_back_as_they_were() -> None:
    rows: list[dict[str, object]] = [
        {"step": 1, "images_seen": 2**60 + 1, "loss": 0.1},
        {"step": 2, "images_seen": 7, "loss": None, "share": -2.5, "not_finite": {"loss": "nan"}},
        {"step": 3, "images_seen": 8},
    ]
    held = StepRows(rows)
    assert list(held) == rows
    assert held[-1] == rows[-1]
    assert held[1:] == rows[1:]
    assert held.names == {"step", "images_seen", "loss", "share"}
    assert held.column("share").tolist() == pytest.approx([math.nan, -2.5, math.nan], nan_ok=True)
    assert held.column("loss").tolist() == pytest.approx([0.1, math.nan, math.nan], nan_ok=True)
    assert np.isnan(held.column("absent")).sum() == len(held) == 3


def test_a_long_record_takes_eight_bytes_a_number(tmp_path: Path) -> None:
    names = [f"number-{i}" for i in range(20)]
    path = tmp_path / "steps.jsonl"
    path.write_text(
        "".join(json.dumps({"step": i, "images_seen": i, **dict.fromkeys(names, i / 7)}) + "\n" for i in range(2000))
    )
    tracemalloc.start()
    try:
        held = read_rows(path)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1.5 * 8 * 22 * len(held)  # a list of tables takes 1,400 bytes a row


def test_a_number_that_only_some_steps_have_stands_in_their_rows_alone() -> None:
    records = {"loss": 1.0}, {"loss": 2.0, "share": 0.5}, {"loss": float("nan")}
    tensors = [{name: torch.tensor(value) for name, value in each.items()} for each in records]
    rows = rows_of([Step(i, 50 * i, 1.0, 0.0, each) for i, each in enumerate(tensors)], 50, 0.0)
    assert [row.keys() - {"step", "images_seen", "images_per_second"} for row in rows] == [r.keys() for r in records]
    assert rows[1]["share"] == 0.5
    assert math.isnan(rows[2]["loss"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_number_is_null_and_named(make_run: Callable[..., Run], value: float) -> None:
    run = make_run()
    row = rows_of([Step(21, 1050, 1.0, 0.0, {"loss": torch.tensor(value)})], 50, 0.0)[0]
    with StepLog(run, last_step=20) as log:
        log.append([row])

    def refuse(text: str) -> float:
        raise AssertionError(f"not strict JSON: {text}")

    last = json.loads(run.steps.read_text().splitlines()[-1], parse_constant=refuse)
    assert last["loss"] is None
    assert last["not_finite"] == {"loss": str(value)}


def test_lines_after_the_checkpoint_are_dropped(make_run: Callable[..., Run]) -> None:
    run = make_run()
    with StepLog(run, last_step=7):
        pass
    assert [row["step"] for row in read_rows(run.steps)] == list(range(1, 8))


def test_line_cut_off_by_a_kill_is_left_out(make_run: Callable[..., Run]) -> None:
    run = make_run()
    text = run.steps.read_text()
    run.steps.write_text(text[:-20])
    assert [row["step"] for row in read_rows(run.steps)] == list(range(1, 20))


@pytest.mark.parametrize("line", ["{broken", "5", '{"foo": 1}', '{"step": "x", "images_seen": 1}'])
def test_unreadable_line_costs_no_other(make_run: Callable[..., Run], line: str) -> None:
    run = make_run()
    lines = run.steps.read_text().splitlines()
    lines[4] = line
    run.steps.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match=r"line 5 of .*steps\.jsonl cannot be read"):
        rows = read_rows(run.steps)
    assert [row["step"] for row in rows] == [step for step in range(1, 21) if step != 5]


def test_tensorboard_gets_every_scalar(make_run: Callable[..., Run]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(tensorboard=True)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("d_real")] == list(range(50, 1001, 50))
    assert set(events.Tags()["scalars"]) >= {"generator_loss", "images_per_second"}


def test_tensorboard_hides_what_was_written_after_the_checkpoint(make_run: Callable[..., Run]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(tensorboard=True)
    rows = read_rows(run.steps)
    with StepLog(run, last_step=10) as log:  # killed after step 20, resumed from a checkpoint of step 10
        log.append([row for row in rows if row["step"] > 10])
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("d_real")] == list(range(50, 1001, 50))


def test_missing_tensorboard_is_told_before_training(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    import sys

    from genprior.errors import GenpriorError

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(GenpriorError, match=r"pip install 'genprior\[tensorboard\]'"):
        make_run(tensorboard=True)


def test_progress_is_yielded_after_each_flush(make_run: Callable[..., Run], tmp_path: object) -> None:
    run = make_run("other")
    prepared = new_run(run.path.parent / "flushes", points_config())
    stages, ended = gone_through(execute(prepared.run, prepared.learner, prepared.data, flush_every=5))
    assert [stage.fraction for stage in stages] == [0.25, 0.5, 0.75, 1.0]
    assert [stage.what.split("  ")[0] for stage in stages] == [f"{n} images" for n in ("250", "500", "750", "1,000")]
    assert all(word in stages[0].what for word in ("/s", "D(x) 0.", "D(G(z)) 0."))
    assert (ended.outcome, ended.row["step"]) == ("finished", 20)


def test_events_are_read_as_they_were_written(make_run: Callable[..., Run]) -> None:
    run = make_run()
    setback = Setback(event="rolled back", step=9, images_seen=450, not_finite=("loss",), back_to=4, rate=0.5)
    alarm = Alarm(event="alarm", step=7, images_seen=350, verdict="saturated", message="since 300 images")
    append_event(run, setback)
    replace_alarms(run, [alarm])
    assert read_events(run) == [alarm, setback]
    replace_alarms(run, [])
    assert read_events(run) == [setback]
    with run.events.open("a") as file:
        file.write('{"event": "stopped", "step": 3}\n{"event": "ala')
    with pytest.warns(UserWarning, match=r"line 3 of .*events.jsonl cannot be read"):
        assert read_events(run) == [setback]


def _without(line: int) -> Callable[[str], str]:
    return lambda text: "".join(each for i, each in enumerate(text.splitlines(keepends=True)) if i != line)


ALTERED = {
    "whole": (lambda text: text, None),
    "empty": (lambda text: "", "ends at step 0, and the checkpoint stands at step 20"),
    "cut off": (lambda text: text[: len(text) // 2], "ends at step 10, and the checkpoint stands at step 20"),
    "without its last line": (_without(19), "ends at step 19, and the checkpoint stands at step 20"),
    "without a line": (_without(7), "lacks 1 of the 20 steps up to the checkpoint"),
    "another number": (
        lambda text: text.replace('"d_real": 0.', '"d_real": 1.', 1),
        "was altered since the checkpoint",
    ),
    "more of it": (lambda text: text + text.splitlines()[-1].replace('"step": 20', '"step": 21') + "\n", None),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_record_that_is_not_that_of_its_checkpoint_is_told(make_run: Callable[..., Run], name: str) -> None:
    run = make_run()
    change, expected = ALTERED[name]
    run.steps.write_text(change(run.steps.read_text()))
    at, _ = load_counters(run.checkpoints)
    assert at is not None
    found = record_fault(run, read_rows(run.steps), at.step, at.log)
    assert (found is None) is (expected is None)
    assert expected is None or f"{run.steps} {expected}" in str(found)
    assert ("record" in summary(run.path)) is (expected is not None)


@pytest.mark.parametrize(
    "change", [None, lambda text: "", lambda text: text.replace("loss", "lass"), lambda text: text[:-9]]
)
def test_events_that_are_gone_or_altered_are_told(
    make_run: Callable[..., Run], change: Callable[[str], str] | None
) -> None:
    run = make_run()
    append_event(run, Setback(event="rolled back", step=9, images_seen=450, not_finite=("loss",), back_to=4, rate=0.5))
    at, _ = load_counters(run.checkpoints)
    assert at is not None
    assert record_fault(run, read_rows(run.steps), at.step, at.log) is None
    if change is None:
        run.events.unlink()
    else:
        run.events.write_text(change(run.events.read_text()))
    assert record_fault(run, read_rows(run.steps), at.step, at.log) == f"{run.events} is gone, or was altered"


def test_a_resumed_run_says_what_its_record_lacks_and_goes_on_saying_it(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.steps.write_text("")
    prepared = resumed_run(run.path, {"images_seen": 2000})
    assert any("the record is damaged" in note for note in prepared.notes)
    gone_through(execute(prepared.run, prepared.learner, prepared.data))
    assert "lacks 20 of the 40 steps" in str(summary(run.path)["record"])


@pytest.mark.parametrize("file", ["steps", "events"])
def test_an_altered_record_stays_altered_however_often_training_is_resumed(
    make_run: Callable[..., Run], file: str
) -> None:
    run = make_run()
    append_event(run, Setback(event="rolled back", step=9, images_seen=450, not_finite=("loss",), back_to=4, rate=0.5))
    path = run.steps if file == "steps" else run.events
    path.write_text(path.read_text().replace('"step": 10', '"step": 10, "more": 1').replace('"step":9', '"step":8'))
    for images in (2000, 3000):
        prepared = resumed_run(run.path, {"images_seen": images})
        assert any("the record is damaged" in note for note in prepared.notes)
        gone_through(execute(prepared.run, prepared.learner, prepared.data))
        told = str(summary(run.path)["record"])
        assert "damaged already when training was resumed" in told
        assert told.count("resumed") == 1
        assert path.name in told


@pytest.mark.parametrize("lost", [["events"], ["steps"], ["steps", "events"]])
def test_a_kill_before_the_next_checkpoint_forgets_no_damage(make_run: Callable[..., Run], lost: list[str]) -> None:
    run = make_run()
    for name in lost:
        getattr(run, name).unlink()
    at, _ = load_counters(run.checkpoints)
    assert at is not None
    for _ in range(2):  # a second try neither forgets it nor tells it twice
        StepLog(run, at.step, at.log).__exit__(None, None, None)
        assert str(summary(run.path)["record"])
        (event,) = read_events(run)
        assert isinstance(event, Damage)
        assert getattr(run, lost[0]).name in event.message


def test_a_checkpoint_without_a_sum_of_the_record_is_of_an_older_version(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.events.unlink()
    assert record_fault(run, read_rows(run.steps), 20, None) is None
