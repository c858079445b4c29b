"""A run of the benchmark is trained, sampled and measured once; whatever ends it, it resumes to the same numbers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from genprior.errors import GenpriorError
from genprior.modes.benchmark_run import MODES, BenchmarkRun, measure, measure_run
from genprior.modes.mode_tables import CountedModes, MeasuredRun
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.run_folder import locked, open_run
from genprior.runs.step_rows import read_rows
from genprior.writing import MARK
from tiny_modes import BATCH, STEPS, Fills, ring_finder, ring_run, shrink


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def _measure(run: BenchmarkRun) -> MeasuredRun:
    assert measure((run, ring_finder())) == run.name
    found = run.measured()
    assert found is not None
    return found


def test_it_is_an_ordinary_run_with_its_modes(tmp_path: Path) -> None:
    run = ring_run(tmp_path)
    stages = [stage.fraction for stage in measure_run(run, ring_finder())]
    assert stages == sorted(stages)
    found = run.measured()
    assert found is not None
    assert found.modes is not None
    assert found.modes.of == 8
    assert found.modes.samples == run.samples == 200
    assert sum(found.modes.counts) <= 200
    assert found.images_seen == STEPS * BATCH
    assert found.images_per_core_second is not None
    assert found.images_per_core_second > 0
    assert found.failed is None
    assert len(read_rows(open_run(run.path).steps)) == STEPS


def test_what_is_stored_has_the_keys_of_earlier_versions(tmp_path: Path) -> None:
    run = ring_run(tmp_path)
    _measure(run)
    stored = json.loads((run.path / MODES).read_text())
    assert list(stored) == [
        *("data", "row", "seed", "samples", "images_seen", "training_seconds", "images_per_core_second", "failed"),
        *("modes", "notes", "checksum"),
    ]
    assert list(stored["modes"]) == [
        *("samples", "found", "of", "found_surely", "high_quality", "ceiling", "divergences", "perfect", "counts"),
        *("note", "support"),
    ]
    assert set(stored["modes"]["support"]) == {"generated", "real", "threshold"}


def test_a_run_that_was_interrupted_resumes_from_its_checkpoint_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _measure(ring_run(tmp_path / "whole"))
    shrink(monkeypatch, checkpoint_seconds=1e-6)  # after each block of steps
    run = ring_run(tmp_path / "parts")
    work = measure_run(run, ring_finder())
    while next(work).fraction < 0.5:
        pass
    work.close()
    assert run.measured() is None
    assert 0 < len(read_rows(open_run(run.path).steps)) < STEPS
    checkpoint, _ = load_checkpoint(open_run(run.path).checkpoints)
    assert checkpoint is not None
    assert 0 < checkpoint.step < STEPS
    assert _measure(run).modes == whole.modes
    assert _numbers(run) == _numbers(ring_run(tmp_path / "whole"))


def test_a_run_without_a_checkpoint_but_the_first_is_trained_from_its_start(tmp_path: Path) -> None:
    whole = _measure(ring_run(tmp_path / "whole"))
    run = ring_run(tmp_path / "killed")
    work = measure_run(run, ring_finder())
    next(work)
    work.close()
    assert run.measured() is None
    assert _measure(run).modes == whole.modes


def _numbers(run: BenchmarkRun) -> list[dict[str, float]]:
    rows = read_rows(open_run(run.path).steps)
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def test_a_trained_run_is_only_measured(tmp_path: Path) -> None:
    run = ring_run(tmp_path)
    before = _measure(run)
    (run.path / MODES).unlink()
    steps = open_run(run.path).steps.read_bytes()
    after = _measure(run)
    assert after.modes == before.modes
    assert after.images_per_core_second is None
    assert open_run(run.path).steps.read_bytes() == steps


def test_a_run_that_was_killed_while_it_was_made_is_made_anew(tmp_path: Path) -> None:
    run = ring_run(tmp_path)
    run.path.mkdir(parents=True)
    (run.path / f"{MARK}0a1b2c3d").write_text('{"fam')
    assert isinstance(_measure(run).modes, CountedModes)


def test_training_that_diverges_is_a_finding(tmp_path: Path) -> None:
    run = ring_run(tmp_path, "wasserstein", discriminator_learning_rate=1e9, generator_learning_rate=1e9)
    found = _measure(run)
    assert found.modes is None
    assert found.failed is not None
    assert found.failed.startswith("not finite at ")
    json.loads((run.path / MODES).read_text(), parse_constant=pytest.fail)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    run = ring_run(tmp_path)
    _measure(run)
    run.check()
    ring_run(tmp_path, threads=2, data_root="elsewhere").check()
    other = ring_run(tmp_path, beta1=0.25, images_seen=64)
    with pytest.raises(
        GenpriorError, match=r"ring/non-saturating/0 was made with other settings \(images_seen, beta1\)"
    ):
        other.check()
    with pytest.raises(GenpriorError, match=r"other settings \(samples\); choose another folder, such as --out"):
        replace(run, samples=100).check()


def test_a_damaged_result_is_measured_anew(tmp_path: Path) -> None:
    run = ring_run(tmp_path)
    before = _measure(run)
    for damage in ('{"data": "ri', "[]", '{"data": "ring"}'):
        (run.path / MODES).write_text(damage)
        assert run.measured() is None
    assert _measure(run).modes == before.modes


def test_a_run_that_another_process_trains_is_left_alone(tmp_path: Path) -> None:
    run = ring_run(tmp_path)
    work = measure_run(run, ring_finder())
    next(work)
    work.close()
    with locked(open_run(run.path)), pytest.raises(GenpriorError, match="being trained by another process"):
        list(measure_run(run, ring_finder()))


def test_a_full_disk_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        measure((ring_run(tmp_path), Fills()))
    assert ring_run(tmp_path).measured() is None
