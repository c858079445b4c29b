"""The benchmark in processes of its own: a few seconds for each test that starts any."""

import json
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.modes import mode_benchmark as modes
from genprior.modes.mode_benchmark import ModeBenchmark
from genprior.modes.mode_run import measure_cell
from genprior.modes.mode_tables import lines_of
from genprior.modes.workers import _serve, work_on
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.run_folder import Run, locked, open_run
from tiny_modes import Ends, Fills, ring_cell, ring_finder, shrink

SOME = {"data": ["ring"], "rows": ["non-saturating", "hinge"], "seeds": 1, "workers": 1}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def test_a_benchmark_that_was_ended_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    out = tmp_path / "modes"
    first = ModeBenchmark(out, **SOME)
    stages = [stage.fraction for stage in first.measure(lambda: first.cells[0].measured() is not None)]
    assert stages == sorted(stages)
    assert stages[-1] < 1
    assert [cell.measured() is not None for cell in first.cells] == [True, False]
    assert (out / "table.csv").exists()  # of what is known

    second = ModeBenchmark(out, **SOME)
    assert "2 cells, 1 of them are measured" in second.notes[0]
    kept = (first.cells[0].path / "modes.json").read_bytes()
    *_, last = second.measure()
    assert last.fraction == 1
    assert (first.cells[0].path / "modes.json").read_bytes() == kept
    (table,) = second.tables()
    assert [row.modes is not None for row in table.rows] == [True, True]
    (wide,) = ModeBenchmark(out, **{**SOME, "rows": ("r1",)}).tables()  # a later command keeps what was found
    assert [row.row for row in wide.rows] == [*(row.row for row in table.rows), "r1"]
    assert wide.rows[:2] == table.rows

    alone = ring_cell(tmp_path / "alone", "hinge")
    list(measure_cell(alone, ring_finder()))
    here, there = (cell.measured() for cell in (alone, second.cells[1]))
    assert here is not None
    assert there is not None
    assert here["modes"] == there["modes"]
    assert list(ModeBenchmark(out, **SOME).measure())[-1].what == "2 cells"  # nothing is done twice


def test_a_process_that_ends_by_itself_is_told(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"non-saturating/0 ended by itself \(exit code 7\).*goes on"):
        list(work_on([ring_cell(tmp_path)], {"ring": Ends()}, 2))


def test_what_goes_wrong_in_a_process_is_sent_to_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # it serves in this process
    ours, theirs = Pipe()
    ours.send(ring_cell(tmp_path))
    _serve(theirs, {"ring": Fills()})
    while (told := ours.recv())[2] is None:
        assert told[0] < 1
    assert "No space left on device" in str(told[2])
    assert ring_cell(tmp_path).measured() is None


def test_a_process_whose_caller_has_ended_saves_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    ours, theirs = Pipe()
    ours.send(ring_cell(tmp_path))
    ours.close()
    _serve(theirs, {"ring": ring_finder()})
    cell = ring_cell(tmp_path)
    assert cell.measured() is None
    checkpoint, _ = load_checkpoint(open_run(cell.path).checkpoints)
    assert checkpoint is not None
    assert checkpoint.step == 1  # it asks after each step


def test_a_second_benchmark_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    benchmark = ModeBenchmark(tmp_path, **SOME)
    with locked(Run(tmp_path, benchmark.cells[0].config)), pytest.raises(GenpriorError, match="another process works"):
        list(benchmark.measure())


def test_settings_that_no_run_can_have_are_found_before_any_is_trained(tmp_path: Path) -> None:
    benchmark = ModeBenchmark(tmp_path / "modes", **SOME)
    bad = benchmark.cells[1].config.model_copy(update={"model": "mlp:size=3"})
    benchmark.cells[1] = replace(benchmark.cells[1], config=bad)
    with pytest.raises(GenpriorError, match="unknown option 'size'"):
        list(benchmark.measure())
    assert not (tmp_path / "modes" / "ring").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds: expected at least 1, got 0"),
        ({"workers": 0}, "workers: expected at least 1, got 0"),
        ({"threads": 0}, "threads: expected at least 1, got 0"),
        ({"seeds": 1001}, "seeds: expected at most 1000, got 1001"),
        ({"rows": ["hing"]}, "row: unknown row 'hing', did you mean 'hinge'"),
        ({"data": ["rings"]}, "data: unknown data 'rings', did you mean 'ring'"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=message):
        ModeBenchmark(tmp_path / "modes", **{**SOME, **changes})
    assert not (tmp_path / "modes").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "config.json").write_text("{}")
    for out in (tmp_path / "file", tmp_path):
        with pytest.raises(GenpriorError, match="is no folder of a benchmark"):
            ModeBenchmark(out, **SOME)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GenpriorError, match="out: cannot write to"):
        list(ModeBenchmark(tmp_path / "file" / "modes", **SOME).measure())


def test_other_settings_in_the_folder_are_refused(tmp_path: Path) -> None:
    list(measure_cell(ring_cell(tmp_path, images_seen=64), ring_finder()))
    with pytest.raises(GenpriorError, match=r"ring/non-saturating/0 was made with other settings \(images_seen\)"):
        ModeBenchmark(tmp_path, **SOME)


def test_a_cell_of_other_settings_that_is_not_asked_for_is_named_below_the_table(tmp_path: Path) -> None:
    list(measure_cell(ring_cell(tmp_path, "hinge", images_seen=64), ring_finder()))
    (table,) = ModeBenchmark(tmp_path, **{**SOME, "rows": ["non-saturating"]}).tables()
    assert [row.row for row in table.rows] == ["non-saturating"]
    assert table.left_out == ("ring/hinge/0",)
    _, notes = lines_of(table)
    assert "left out, for they were made with other settings: ring/hinge/0" in notes


def test_files_keep_the_tables_of_data_that_earlier_commands_asked_for(tmp_path: Path) -> None:
    list(measure_cell(ring_cell(tmp_path, "hinge"), ring_finder()))
    grid = ModeBenchmark(tmp_path, **{**SOME, "data": ["grid"]})
    list(grid.measure(lambda: True))  # written before anything is trained
    kept = json.loads((tmp_path / "modes.json").read_text())["tables"]
    assert [(table["data"], [row["row"] for row in table["rows"]]) for table in kept] == [
        ("ring", ["hinge"]),
        ("grid", ["non-saturating", "hinge"]),
    ]
    assert [table.data for table in grid.tables()] == ["grid"]


def test_one_data_set_comes_after_another_and_the_longest_cell_of_each_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.setattr(modes, "work_on", lambda cells, *_: given.extend(cell.name for cell in cells) or [])
    list(ModeBenchmark(tmp_path, data=["ring", "grid"], rows=["non-saturating", "unrolling-5"], seeds=1).measure())
    assert given == [f"{data}/{row}/0" for data in ("ring", "grid") for row in ("unrolling-5", "non-saturating")]
