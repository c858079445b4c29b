"""A studio that tests ask, and the small run in it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from genprior.families import parse_config
from genprior.runs.execute import execute
from genprior.runs.experiment import read_result
from genprior.runs.prepare import new_run
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.training_processes import LOGS, TrainingProcess, Trainings

SECRET = "what nobody may read"


@dataclass(frozen=True)
class Served:
    """A studio that answers: its address, its folder, a file outside of it, and the number of its process."""

    address: str
    home: Path
    secret: Path
    pid: int


def make_mixture(path: Path) -> None:
    """Fits a mixture to digits: its answers have a closed form, and take milliseconds."""
    config = parse_config({"family": "mixture", "data": "digits[:300]", "images_seen": 1200, "threads": 1})
    prepared = new_run(path, config)
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass


@contextmanager
def started(home: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serves a studio as the command does; yields its address and its process, which is killed at the end."""
    words = [sys.executable, "-m", "genprior", "studio", "--folder", str(home), "--port", "0", *arguments]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready: "), line
            yield line.removeprefix("ready: ").strip(), process
        finally:
            process.kill()


def end_trainings(home: Path) -> None:
    """Kills what is still being trained from a folder, whoever began it, and the processes that it began."""
    trainings = Trainings(AllowedFolders(home, (home,)))
    for file in (home / LOGS).glob("*.json"):
        told = read_result(file, TrainingProcess)
        if told is None or not trainings.is_running(told.run):
            continue
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(told.pid)
            every = [*process.children(recursive=True), process]
            for each in every:
                each.kill()
            psutil.wait_procs(every, timeout=60)
