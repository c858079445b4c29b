"""A cell is trained, sampled and measured once; whatever ends it, it goes on to the same numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from genprior.errors import GenpriorError
from genprior.modes.mode_run import MODES, Cell, measure_cell
from genprior.runs.run_folder import CONFIG, locked, open_run
from genprior.runs.step_log import read_rows
from tiny_modes import BATCH, STEPS, ring_cell, ring_finder, shrink


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def _measure(cell: Cell) -> dict[str, Any]:
    *_, last = measure_cell(cell, ring_finder())
    assert last.fraction == 1
    found = cell.measured()
    assert found is not None
    return found


def test_a_cell_is_an_ordinary_run_with_its_modes(tmp_path: Path) -> None:
    cell = ring_cell(tmp_path)
    advances = [advance.fraction for advance in measure_cell(cell, ring_finder())]
    assert advances == sorted(advances)
    found = cell.measured()
    assert found is not None
    assert found["modes"]["of"] == 8
    assert found["modes"]["samples"] == cell.samples == 200
    assert found["images_seen"] == STEPS * BATCH
    assert found["images_per_core_second"] > 0
    assert found["failed"] is None
    assert len(read_rows(open_run(cell.path).steps)) == STEPS


def test_a_cell_that_was_stopped_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = _measure(ring_cell(tmp_path / "whole"))
    cell, asked = ring_cell(tmp_path / "parts"), iter([False] * 12)
    list(measure_cell(cell, ring_finder(), lambda: next(asked, None) is not False))
    assert cell.measured() is None
    assert 0 < len(read_rows(open_run(cell.path).steps)) < STEPS
    assert _measure(cell)["modes"] == whole["modes"]
    assert _numbers(cell) == _numbers(ring_cell(tmp_path / "whole"))


def test_a_cell_that_was_killed_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = _measure(ring_cell(tmp_path / "whole"))
    cell = ring_cell(tmp_path / "killed")
    work = measure_cell(cell, ring_finder())
    next(work)
    work.close()  # no checkpoint but the first
    assert cell.measured() is None
    assert _measure(cell)["modes"] == whole["modes"]


def _numbers(cell: Cell) -> list[dict[str, float]]:
    rows = read_rows(open_run(cell.path).steps)
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def test_a_trained_cell_is_only_measured(tmp_path: Path) -> None:
    cell = ring_cell(tmp_path)
    before = _measure(cell)
    (cell.path / MODES).unlink()
    steps = open_run(cell.path).steps.read_bytes()
    after = _measure(cell)
    assert after["modes"] == before["modes"]
    assert after["images_per_core_second"] is None
    assert open_run(cell.path).steps.read_bytes() == steps


def test_a_cell_that_was_killed_while_it_was_made_is_made_anew(tmp_path: Path) -> None:
    cell = ring_cell(tmp_path)
    cell.path.mkdir(parents=True)
    (cell.path / f"{CONFIG}.tmp").write_text('{"fam')
    assert _measure(cell)["modes"]["of"] == 8


def test_training_that_diverges_is_a_finding(tmp_path: Path) -> None:
    cell = ring_cell(tmp_path, "wasserstein", discriminator_learning_rate=1e9, generator_learning_rate=1e9)
    found = _measure(cell)
    assert found["modes"] is None
    assert found["failed"].startswith("not finite at ")
    json.loads((cell.path / MODES).read_text(), parse_constant=pytest.fail)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    cell = ring_cell(tmp_path)
    _measure(cell)
    cell.check()
    ring_cell(tmp_path, threads=2, data_root="elsewhere").check()
    other = ring_cell(tmp_path, beta1=0.25, images_seen=64)
    with pytest.raises(
        GenpriorError, match=r"ring/non-saturating/0 was made with other settings \(images_seen, beta1\)"
    ):
        other.check()
    from dataclasses import replace

    with pytest.raises(GenpriorError, match=r"other settings \(samples\); choose another folder, such as --out"):
        replace(cell, samples=100).check()


def test_a_damaged_result_is_measured_anew(tmp_path: Path) -> None:
    cell = ring_cell(tmp_path)
    before = _measure(cell)
    for damage in ('{"data": "ri', "[]", '{"data": "ring"}'):
        (cell.path / MODES).write_text(damage)
        assert cell.measured() is None
    assert _measure(cell)["modes"] == before["modes"]


def test_a_cell_that_another_process_trains_is_left_alone(tmp_path: Path) -> None:
    cell = ring_cell(tmp_path)
    work = measure_cell(cell, ring_finder())
    next(work)
    work.close()
    with locked(open_run(cell.path)), pytest.raises(GenpriorError, match="being trained by another process"):
        list(measure_cell(cell, ring_finder()))
