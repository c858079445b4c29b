"""The benchmark as an experiment: what is measured stays, whoever dies, and other settings are refused."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from genprior.errors import GenpriorError
from genprior.modes import benchmark_run
from genprior.modes import mode_experiment as experiments
from genprior.modes.benchmark_run import measure
from genprior.modes.mode_experiment import EXPERIMENTS, ModeBenchmark, ModeSettings, planned, stages
from genprior.modes.mode_tables import lines_of
from genprior.progress import result_of
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.experiment import carry_out, part_of, read_result
from genprior.runs.run_folder import CONFIG, Run, locked, open_run
from genprior.settings import validated
from tiny_modes import killed_midway, ring_finder, ring_run, shrink

TIMES = ("training_seconds", "images_per_core_second", "images_per_second", "seconds", "checkpoint_seconds")
EXPERIMENT = EXPERIMENTS["benchmark modes"]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def _settings(out: Path, **changes: object) -> ModeSettings:
    some = {"data": ["ring"], "row": ["non-saturating", "hinge"], "seeds": 1, "jobs": 1}
    return validated(ModeSettings, {"out": out, **some, **changes})


def _carried_out(settings: ModeSettings) -> ModeBenchmark:
    return result_of(carry_out(EXPERIMENT, settings))


def test_a_benchmark_that_was_interrupted_is_resumed_to_the_same_numbers(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "modes")
    first, second = planned(settings)
    work = carry_out(EXPERIMENT, settings)
    shares = []
    for stage in work:
        shares.append(stage.fraction)
        if "1 of 2 runs" in stage.what:
            break
    work.close()
    assert shares == sorted(shares)
    assert [run.measured() is not None for run in (first, second)] == [True, False]
    with (tmp_path / "modes" / "table.csv").open(newline="") as file:  # of what is known
        assert [row[0] for row in csv.reader(file) if row][:3] == ["ring", "non-saturating", "hinge"]
    kept = read_result(part_of(tmp_path / "modes" / "modes.json"), ModeBenchmark)
    assert kept is not None
    assert not kept.is_complete

    before = (first.path / "modes.json").read_bytes()
    notes = [note for stage in carry_out(EXPERIMENT, settings) for note in stage.notes]
    assert "= 2 runs, 1 of them are measured" in notes[0]
    assert (first.path / "modes.json").read_bytes() == before
    result = read_result(tmp_path / "modes" / "modes.json", ModeBenchmark)
    assert result is not None
    assert result.is_complete
    assert [row.modes is not None for row in result.tables[0].rows] == [True, True]

    alone = ring_run(tmp_path / "alone", "hinge")
    measure((alone, ring_finder()))
    here, there = alone.measured(), second.measured()
    assert here is not None
    assert there is not None
    assert here.modes == there.modes


def test_what_is_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(tmp_path / "modes", row=["hinge"])
    found = _carried_out(settings)
    monkeypatch.setattr(benchmark_run, "measure", pytest.fail)
    assert _carried_out(settings) == found
    wide = _settings(tmp_path / "modes")  # a later command keeps what was found
    monkeypatch.undo()
    shrink(monkeypatch)
    assert _carried_out(wide).tables[0].rows[1].seeds == found.tables[0].rows[0].seeds


def test_a_worker_that_is_killed_costs_its_run_no_more_than_the_time_since_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, checkpoint_seconds=1e-6)  # after each block of steps
    undisturbed = _carried_out(_settings(tmp_path / "whole"))
    settings = _settings(tmp_path / "killed", jobs=2)
    with monkeypatch.context() as patch:
        patch.setattr(benchmark_run, "measure", killed_midway)
        with pytest.raises(GenpriorError, match=r"a worker ended unexpectedly.*the same command resumes"):
            _carried_out(settings)
    hinge = planned(settings)[1]
    assert hinge.measured() is None
    checkpoint, _ = load_checkpoint(open_run(hinge.path).checkpoints)
    assert checkpoint is not None
    assert checkpoint.step > 0

    resumed = _carried_out(settings)
    assert _contents(tmp_path / "killed") == _contents(tmp_path / "whole")
    assert resumed.is_complete
    assert [row.modes for row in resumed.tables[0].rows] == [row.modes for row in undisturbed.tables[0].rows]


def _contents(out: Path) -> dict[str, object]:
    """All files of runs, but for times: tensors by their bytes, JSON by its values."""
    files = [path for path in sorted(out.glob("ring/**/*")) if path.is_file() and path.suffix != ".png"]
    assert len(files) > 10
    return {str(path.relative_to(out)): _content(path) for path in files}


def _content(path: Path) -> object:
    if path.suffix == ".jsonl":
        return [_without_times(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    return path.read_bytes()


def _without_times(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in (*TIMES, "own_sha256", "log", "checksum")}


def test_a_second_benchmark_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run = Run(tmp_path, planned(settings)[0].config)
    with locked(run), pytest.raises(GenpriorError, match="another process works"):
        _carried_out(settings)


def test_settings_that_no_run_can_have_are_found_before_any_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, model="mlp:size=3")
    with pytest.raises(GenpriorError, match="unknown option 'size'"):
        _carried_out(_settings(tmp_path / "modes"))
    assert not (tmp_path / "modes" / "ring").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds: input should be greater than or equal to 1, got 0"),
        ({"jobs": -1}, "jobs: input should be greater than or equal to 0, got -1"),
        ({"threads": 0}, "threads: input should be greater than or equal to 1, got 0"),
        ({"seeds": 1001}, "seeds: input should be less than or equal to 1000, got 1001"),
        ({"row": ["hing"]}, "row: unknown row 'hing', did you mean 'hinge'"),
        ({"data": ["rings"]}, "data: unknown data 'rings', did you mean 'ring'"),
        ({"scheduler": "tcp://localhost:1"}, "scheduler: goes with --engine dask or ray"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=message):
        _settings(tmp_path, **changes)


def test_without_names_the_small_suite_and_all_rows_are_trained(tmp_path: Path) -> None:
    settings = ModeSettings()
    assert settings.data == ("ring", "grid", "mnist")
    assert len(settings.rows) == 16
    assert settings.jobs == 0


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / CONFIG).write_text("{}")
    for out in (tmp_path / "file", tmp_path):
        with pytest.raises(GenpriorError, match="is no folder of a benchmark"):
            _carried_out(_settings(out))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GenpriorError, match="out: cannot write to"):
        _carried_out(_settings(tmp_path / "file" / "modes"))


def test_other_settings_in_the_folder_are_refused(tmp_path: Path) -> None:
    measure((ring_run(tmp_path, images_seen=64), ring_finder()))
    with pytest.raises(GenpriorError, match=r"ring/non-saturating/0 was made with other settings \(images_seen\)"):
        _carried_out(_settings(tmp_path))


def test_a_run_of_other_settings_that_is_not_asked_for_is_named_below_the_table(tmp_path: Path) -> None:
    measure((ring_run(tmp_path, "hinge", images_seen=64), ring_finder()))
    (table,) = _carried_out(_settings(tmp_path, row=["non-saturating"])).tables
    assert [row.row for row in table.rows] == ["non-saturating"]
    assert table.left_out == ("ring/hinge/0",)
    _, notes = lines_of(table)
    assert "left out, made with other settings: ring/hinge/0" in notes


def test_files_keep_the_tables_of_data_that_earlier_commands_asked_for(tmp_path: Path) -> None:
    measure((ring_run(tmp_path, "hinge"), ring_finder()))
    found = [stage.found for stage in _until(stages(_settings(tmp_path, data=["grid"])), "0 of 2 runs")][-1]
    assert isinstance(found, ModeBenchmark)  # saved before anything is trained
    assert [(table.data, [row.row for row in table.rows]) for table in found.tables] == [
        ("ring", ["hinge"]),
        ("grid", ["non-saturating", "hinge"]),
    ]
    lines = EXPERIMENT.lines(found)
    assert any(line.startswith("grid  ") for line in lines)
    assert not any(line.startswith("ring  ") for line in lines)


def _until(task: Any, what: str) -> list[Any]:  # noqa: ANN401 - a task and its stages
    """The stages up to one."""
    seen = []
    for stage in task:
        seen.append(stage)
        if stage.what == what:
            task.close()
            break
    return seen


def test_one_data_set_comes_after_another_and_the_longest_run_of_each_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.setattr(
        experiments, "worked_off", lambda _, items, __: given.extend(run.name for run, _ in items) or []
    )
    monkeypatch.setitem(experiments.BASES["ring"].own["recipe"], "images_seen", 2000)
    monkeypatch.setitem(experiments.BASES["grid"].own["recipe"], "images_seen", 2000)
    result_of(stages(_settings(tmp_path, data=["ring", "grid"], row=["hinge", "recipe"])))
    assert given == [f"{data}/{row}/0" for data in ("ring", "grid") for row in ("recipe", "hinge")]


def test_nothing_of_it_imports_torch_before_it_is_begun() -> None:
    import subprocess
    import sys

    code = "import sys, genprior.modes.mode_experiment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
