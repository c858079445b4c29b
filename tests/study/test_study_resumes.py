"""A study loses at most the cell in work when its process is killed, and is the same by any number of processes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import small_study
from genprior.errors import GenpriorError
from genprior.progress import Task, result_of
from genprior.runs.experiment import carry_out
from genprior.study import study_jobs
from genprior.study.study_experiment import EXPERIMENTS
from genprior.study.study_record import StudyResult
from genprior.study.study_settings import SIZES, StudySettings
from small_study import ASKED, TINY, tiny_done

OTHER = "equilibrium"  # one training: a cluster takes seconds to start
ONE = "stronger-later"  # three trainings, two of which begin with the first one's generator; three measurements


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "demo", TINY)
    monkeypatch.setattr(study_jobs, "done", tiny_done)


def _study(out: Path, statements: tuple[str, ...] = (ONE,), **changes: object) -> Task[StudyResult]:
    given = {"data": "digits", "pixels": 8, "out": out, "statement": statements, "jobs": 1, **changes}
    return carry_out(EXPERIMENTS["study"], StudySettings.model_validate(given))


def _studied(out: Path, statements: tuple[str, ...] = (ONE,), **changes: object) -> StudyResult:
    return result_of(_study(out, statements, **changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "demo", TINY)
        return _studied(tmp_path_factory.mktemp("studies") / "whole", (ONE, OTHER))


def _same(found: StudyResult, whole: StudyResult, asked: str) -> None:
    names = {each.name for each in found.statements}
    assert asked in names
    assert found.statements == tuple(each for each in whole.statements if each.name in names)


def _done(out: Path) -> dict[Path, int]:
    """Files of what is trained or measured, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in (out / "measured").rglob("*.json")}


# When the first training ends, when the last one does, and when of a measurement the pictures are there alone.
@pytest.mark.parametrize("write", [12, 33, 41])
def test_a_kill_loses_at_most_the_cell_in_work(write: int, whole: StudyResult, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    words = [*ASKED, "--jobs", "1", "--out", str(out), "--statement", ONE]
    code = f"from small_study import killed_at; killed_at({write}, *{words!r})"
    paths = os.pathsep.join([str(Path(small_study.__file__).parent), *sys.path])
    killed = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = _done(out)
    assert not (out / "study.json").exists()
    found = _studied(out)
    _same(found, whole, ONE)
    after = _done(out)
    assert {path: after[path] for path in before} == before  # nothing is done again


@pytest.mark.parametrize(
    ("engine", "statement"), [({"jobs": 2}, ONE), ({"jobs": 2, "engine": "dask"}, OTHER)], ids=["two", "dask"]
)
def test_numbers_do_not_depend_on_who_does_the_work(
    engine: dict[str, object], statement: str, whole: StudyResult, tmp_path: Path
) -> None:
    _same(_studied(tmp_path / "study", (statement,), **engine), whole, statement)


def test_more_seeds_go_on_from_fewer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SIZES, "lesson", replace(TINY, seeds=2))
    out, other = tmp_path / "study", "networks"
    one = _studied(out, (other,))
    before = _done(out)
    task = _study(out, (other,), size="lesson")
    first = next(task)
    two = result_of(task)
    assert {path: _done(out)[path] for path in before} == before
    assert [run.seed for run in two.runs] == [0, 1]
    assert one.runs[0].images_seen == two.runs[0].images_seen
    assert first.fraction == pytest.approx(0.5)
    assert "to do: 1 trainings and 1 measurements" in first.notes[0]

    monkeypatch.setitem(SIZES, "lesson", replace(TINY, seeds=2, gan_images=TINY.gan_images + 32))
    with pytest.raises(GenpriorError, match="spends something else: gan images 1600 there, 1632 now"):
        _studied(out, (other,), size="lesson")
