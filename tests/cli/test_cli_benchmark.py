"""The benchmark's command: tables, figures, and bad input; the one that trains takes some seconds."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from genprior.modes.remedies import BASES
from tiny_modes import shrink


def test_the_command_trains_counts_and_draws(
    genprior: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shrink(monkeypatch)
    command = "benchmark modes --out modes --data ring --row r1 --row non-saturating --seeds 1 --jobs 1".split()
    printed = genprior(*command)
    assert "1 data sets x 2 rows x 1 seeds = 2 runs" in printed
    for words in ("non-saturating", "perfect model", "PacGAN4", "[1] VEEGAN", "runs, tables and figures: modes"):
        assert words in printed
    out = tmp_path / "modes"
    assert (out / "figures" / "ring.png").exists()
    assert "samples of ring: modes/figures/ring.png" in printed
    stored = json.loads((out / "modes.json").read_text())
    assert stored["tables"][0]["of"] == 8
    assert (stored["version"], stored["is_complete"], stored["settings"]["row"]) == (1, True, ["non-saturating", "r1"])
    assert "2 of them are measured" in genprior(*command)
    genprior("diagnose", out / "ring" / "r1" / "0", code=0)
    ring = BASES["ring"]
    monkeypatch.setitem(BASES, "ring", replace(ring, settings={**ring.settings, "batch_size": 16}))
    assert "--out: modes/ring/non-saturating/0 was made with other settings (batch_size)" in genprior(*command, code=2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--row hingee", "--row: unknown row 'hingee', did you mean 'hinge'?"),
        ("--data digits", "--data: unknown data 'digits'"),
        ("--seeds 0", "--seeds: input should be greater than or equal to 1, got 0"),
        ("--jobs -1", "--jobs: input should be greater than or equal to 0, got -1"),
        ("--threads 0", "--threads: input should be greater than or equal to 1, got 0"),
        ("--engine lokey", "--engine: unknown engine 'lokey', did you mean 'loky'"),
    ],
)
def test_bad_input_is_one_line(flags: str, message: str, genprior: Callable[..., str]) -> None:
    printed = genprior("benchmark", "modes", *flags.split(), code=2)
    assert message in printed
    assert len(printed.splitlines()) == 1
