"""The command that writes a report: where it writes, what it replaces, what it refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from genprior.families import GANConfig
from genprior.runs.run_folder import create_run
from tiny_run import make_tiny_run

Command = Callable[..., str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "trained")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_the_report_of_one_run_lies_in_its_folder_and_is_replaced(genprior: Command, run: Path) -> None:
    for _ in range(2):
        assert genprior("report", run) == f"report: {run / 'report.html'}\n"
    assert (run / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_the_report_of_several_runs_lies_here_and_is_kept(genprior: Command, run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    assert genprior("report", run, other) == "report: report.html\n"
    assert "report.html exists; replace it with --overwrite" in genprior("report", run, other, code=2)
    genprior("report", run, other, "--overwrite")


def test_a_file_that_was_named_is_kept(genprior: Command, run: Path) -> None:
    genprior("report", run, "--out", "new/mine.html")
    assert "exists; replace it with --overwrite" in genprior("report", run, "--out", "new/mine.html", code=2)


def test_mistakes_are_told_in_one_line(genprior: Command, run: Path, tmp_path: Path) -> None:
    create_run(tmp_path / "untrained", GANConfig(data="digits[:64]", size=8))
    shutil.copy(run / "environment.json", tmp_path / "untrained")
    for arguments, message in {
        ("nowhere",): "RUN: nowhere is not a run: it has no config.json",
        ("untrained",): "RUN: untrained has no checkpoint; train it first",
        (run, "--out", "page.txt"): "--out: expected a name that ends in .html, .htm, got page.txt",
        tuple([run] * 13): "RUN: expected at most 12, got 13",
    }.items():
        output = genprior("report", *arguments, code=2)
        assert output == f"genprior: {message}\n"
