"""How threads wait is settled before torch is loaded, by who else wants the cores."""

import os
import sys
from pathlib import Path

import pytest

from genprior.cli import console
from genprior.cli.console import let_threads_sleep_beside_others, others_want_cores


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
    monkeypatch.setattr(console, "others_want_cores", lambda: is_busy)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    let_threads_sleep_beside_others()
    assert os.environ.get("OMP_WAIT_POLICY") == expected


def test_after_torch_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(console, "others_want_cores", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", os)
    let_threads_sleep_beside_others()
    assert "OMP_WAIT_POLICY" not in os.environ
