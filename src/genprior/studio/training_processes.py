"""Trainings that outlive the page and the server: each is a command in a process of its own."""

import hashlib
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genprior.command_lines import command_of
from genprior.errors import GenpriorError
from genprior.families import FAMILIES, RunConfig, parse_config
from genprior.runs.experiment import part_of, read_result, save_result
from genprior.runs.run_folder import AUTO, open_run
from genprior.scoring.auto_results import AutoSettings, AutoTraining
from genprior.settings import Model, validated
from genprior.studio.allowed_folders import AllowedFolders
from genprior.writing import appended

LOGS = "training-logs"
PYTHON = (sys.executable, "-P", "-m")  # -P: nothing is imported from the folder that a command is given in
LOOK_SECONDS = 180  # that looking at images may take
LAST_LINES = 6


class TrainingProcess(Model):
    """Which process trains a run.

    Attributes:
        run: Its folder.
        pid: Number of the process.
        command: What it was told.
    """

    run: Path
    pid: int
    command: str


@dataclass(frozen=True)
class Trainings:
    """The trainings that this page began, also those of an earlier server.

    Attributes:
        folders: Where runs may be.
    """

    folders: AllowedFolders
    _own: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def config(self, values: dict[str, Any]) -> RunConfig:
        """Returns the settings of a new run.

        Raises:
            GenpriorError: They do not go together, or the images may not be read.
        """
        config = parse_config({**values, "data": self.folders.data(str(values.get("data", "")))})
        config.check_names()
        return config

    def command(self, config: RunConfig, out: Path) -> list[str]:
        """Returns the words of the command that trains a run with these settings."""
        return shlex.split(command_of(f"train {config.family}", config, {"out": out}))

    def auto_command(self, images: str, minutes: float, out: Path) -> list[str]:
        """Returns the words of the command that tries families and trains the best of them.

        Raises:
            GenpriorError: The images may not be read, or no such budget.
        """
        values = {"out": out, "data": self.folders.data(images), "minutes": minutes}
        return shlex.split(command_of("train auto", validated(AutoSettings, values)))

    def fork_command(self, run: Path, loss: str, out: Path, minutes: float | None = None) -> list[str]:
        """Returns the command that goes on from where a run stands with another loss, for so many minutes in all.

        Raises:
            GenpriorError: The run has no players, or was trained on what may not be read.
        """
        config = open_run(run).config
        self.folders.refuse_elsewhere(config)
        family = config.family
        if family != "gan":
            raise GenpriorError(
                f"a {FAMILIES[family].__name__.removesuffix('Config')} has no adversarial loss", argument="run"
            )
        words = ["genprior", "train", family, "--fork", str(run), "--loss", loss, "--out", str(out)]
        return [*words, *_budget(minutes)]

    def resume_command(self, run: Path, minutes: float | None) -> list[str]:
        """Returns the command that goes on with a run, for so many minutes in all.

        Raises:
            GenpriorError: It was trained on what may not be read.
        """
        unfinished = read_result(part_of(run / AUTO), AutoTraining)
        if unfinished is None:
            self.folders.refuse_elsewhere(open_run(run).config)
            return ["genprior", "resume", str(run), *_budget(minutes)]
        if unfinished.settings.data_root is not None:
            self.folders.inside(unfinished.settings.data_root, "data_root")
        self.folders.data(unfinished.settings.data)
        return ["genprior", "resume", str(run)]  # while families are tried, the budget stays

    def start(self, words: list[str], run: Path) -> str:
        """Begins a command for a run in a process of its own; returns its text.

        Raises:
            GenpriorError: The run is being trained.
        """
        if self.is_running(run):
            raise GenpriorError(f"{run.name} is being trained already", argument="run")
        log = self._log(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        own: dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            own = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        with appended(log) as file:
            file.write(f"$ {shlex.join(words)}\n")
            file.flush()
            process = subprocess.Popen(
                [*PYTHON, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, **own
            )
        self._own[process.pid] = process
        save_result(log.with_suffix(".json"), TrainingProcess(run=run, pid=process.pid, command=shlex.join(words)))
        return shlex.join(words)

    def stop(self, run: Path) -> None:
        """Asks the process of a run to save and end.

        Raises:
            GenpriorError: This page began none for it.
        """
        found = self._process(run)
        if found is None:
            raise GenpriorError(f"{run.name} is not being trained from here", argument="run")
        os.kill(found.pid, signal.SIGTERM)

    def is_running(self, run: Path) -> bool:
        """Returns whether a process that this page began trains the run."""
        return self._process(run) is not None

    def running(self) -> list[Path]:
        """Returns the runs that are being trained from here, also those whose folder is not there yet."""
        files = (self.folders.home / LOGS).glob("*.json")
        told = [found for file in sorted(files) if (found := read_result(file, TrainingProcess)) is not None]
        return [each.run for each in told if self.is_running(each.run)]

    def last_words(self, run: Path) -> list[str]:
        """Returns the last lines that the command of a run printed."""
        log = self._log(run)
        if not log.is_file():
            return []
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]

    def _log(self, run: Path) -> Path:
        other = hashlib.sha256(os.fsencode(run)).hexdigest()[:8]  # runs in two folders may be called the same
        return self.folders.home / LOGS / f"{run.name}-{other}.log"

    def _process(self, run: Path) -> TrainingProcess | None:
        found = read_result(self._log(run).with_suffix(".json"), TrainingProcess)
        if found is None or found.run != run:
            return None
        own = self._own.get(found.pid)
        is_there = own.poll() is None if own is not None else _is_command(found)
        return found if is_there else None


def _budget(minutes: float | None) -> list[str]:
    return ["--minutes", f"{minutes:g}"] if minutes else []


def _is_command(process: TrainingProcess) -> bool:
    """Whether a process of an earlier server is still there, and no other one has its number now."""
    told = Path("/proc", str(process.pid), "cmdline")
    try:
        words = told.read_bytes().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return False
    expected = [*PYTHON[1:], *shlex.split(process.command)]
    is_training = expected[len(PYTHON) :][:1] in (["train"], ["resume"])  # a stranger's file may name any process
    return is_training and [word for word in words if word][1:] == expected


def looked_at(words: list[str], folder: Path) -> str:
    """Returns what a short command prints, or why it fails, in a line each.

    Arguments:
        words: Of the command.
        folder: In which it works.
    """
    try:
        done = subprocess.run(
            [*PYTHON, *words],
            capture_output=True,
            text=True,
            timeout=LOOK_SECONDS,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"It took longer than {LOOK_SECONDS} seconds and was ended; run it at the command line."
    return f"{done.stdout}{done.stderr}".strip()
