"""`genprior evaluate`: what it prints and writes, and its bad input."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_run import make_tiny_run

Command = Callable[..., str]


def test_evaluate_prints_a_table_and_writes_metrics(genprior: Command) -> None:
    make_tiny_run(Path("gan"))
    words = ["--held-out", "digits[64:]", "--inversions", 2, "--data-root", "root", "--threads", 1]
    text = genprior("evaluate", "gan", *words)
    assert "samples  " in text
    assert "real against real" in text
    assert "coverage" in text
    assert "classes found: " in text
    assert "judge: classifier of digits, accuracy 9" in text
    assert "left out: Fréchet distance needs at least 129 samples" in text
    assert f"numbers: {Path('gan/metrics.json')}" in text
    first = Path("gan/metrics.json").read_text()
    assert json.loads(first)["samples"] == 64
    genprior("evaluate", "gan", *words)  # takes the place of what was found before
    assert Path("gan/metrics.json").read_text() == first
    assert {path.suffix for path in Path("root/classifiers").iterdir()} == {".json", ".safetensors"}


BAD: dict[str, tuple[list[str], str]] = {
    "no run": (["nowhere"], "RUN: nowhere is not a run"),
    "no runs": ([], "Missing argument"),
    "no held-out images": (["gan"], "--held-out: the run has learned from all images of digits[:64]"),
    "few samples": (["gan", "--held-out", "digits[64:]", "--count", "2"], "--count: no score is defined for fewer"),
    "judge": (["gan", "--held-out", "digits[64:]", "--judge", "nist"], "--judge: unknown data set"),
    "second run": (["gan", "nowhere", "--held-out", "digits[64:]"], "RUN: nowhere is not a run"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(genprior: Command, case: str) -> None:
    make_tiny_run(Path("gan"))
    words, message = BAD[case]
    text = genprior("evaluate", *words, code=2)
    assert message in text
    assert text.count("\n") == 1
    assert not Path("gan/metrics.json").exists()


def test_a_run_of_points_is_refused_in_one_line(genprior: Command, make_run: Callable[..., object]) -> None:
    make_run("ring")
    text = genprior("evaluate", "ring", code=2)
    assert text == "genprior: RUN: ring models points, which no judge sees; runs of images are evaluated\n"
