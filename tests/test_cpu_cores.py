"""Who else wants the cores settles how threads wait, before torch is loaded."""

import os
import sys
from pathlib import Path

import pytest

from genprior import cpu_cores
from genprior.cpu_cores import cores, let_threads_sleep_beside_others, others_want_cores, thread_counts


@pytest.mark.parametrize(("running", "expected"), [(1, False), (2, False), (3, True), (9, True)])
def test_others_want_cores_where_too_few_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: int, expected: bool
) -> None:
    (tmp_path / "loadavg").write_text(f"0.10 0.20 0.30 {running}/82 27141\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)  # ours are three of four
    assert others_want_cores(tmp_path / "loadavg") is expected


@pytest.mark.parametrize("text", [None, "", "0.1 0.2 0.3", "a b c d"])
def test_nothing_is_known_without_the_file(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "loadavg").write_text(text)
    assert others_want_cores(tmp_path / "loadavg") is False


@pytest.mark.parametrize(
    ("is_busy", "given", "expected"),
    [
        (True, {}, "PASSIVE"),
        (False, {}, None),
        (True, {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        (True, {"GOMP_SPINCOUNT": "5"}, None),
    ],
)
def test_threads_sleep_beside_others_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, is_busy: bool, given: dict[str, str], expected: str | None
) -> None:
    monkeypatch.setattr(os, "environ", dict(given))
    monkeypatch.setattr(cpu_cores, "others_want_cores", lambda: is_busy)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    let_threads_sleep_beside_others()
    assert os.environ.get("OMP_WAIT_POLICY") == expected


def test_after_torch_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(cpu_cores, "others_want_cores", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", os)
    let_threads_sleep_beside_others()
    assert "OMP_WAIT_POLICY" not in os.environ


def test_threads_worth_trying_are_one_and_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.cpu_cores.cores", lambda: 8)
    assert thread_counts() == [1, 8]
    monkeypatch.setattr("genprior.cpu_cores.cores", lambda: 1)
    assert thread_counts() == [1]


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), ("2", 2), ("64", 8), ("", 8), ("0", 8), ("2,1", 8)])
def test_no_more_cores_are_used_than_the_user_allows(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, expected: int
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert cores() == expected
