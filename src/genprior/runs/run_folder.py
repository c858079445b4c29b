"""The folder of a run and what lies where in it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError
from genprior.families import RunConfig, parse_config

CONFIG, LOCK = "config.json", "lock"


@dataclass(frozen=True)
class Run:
    """A run folder and the config in it.

    Attributes:
        path: The folder.
        config: What decides how the run is trained.
    """

    path: Path
    config: RunConfig

    @property
    def steps(self) -> Path:
        """One line of strict JSON for each step."""
        return self.path / "steps.jsonl"

    @property
    def events(self) -> Path:
        """One line of strict JSON for each setback (what was not finite, what was done) and for each alarm."""
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the last two checkpoints."""
        return self.path / "checkpoint"

    @property
    def history(self) -> Path:
        """The folder of what is kept of several ages, a file `<images seen>.safetensors` each."""
        return self.path / "history"

    @property
    def figures(self) -> Path:
        """The folder of pictures."""
        return self.path / "figures"

    @property
    def environment(self) -> Path:
        """Versions, device, and the data's fingerprint, as they were when training began."""
        return self.path / "environment.json"


def create_run(path: Path, config: RunConfig, *, overwrite: bool = False) -> Run:
    """Returns a new run at `path`, its config already written.

    Raises:
        GenpriorError: The folder exists and `overwrite` is not set, or it is no run, or it cannot be written.
    """
    if not overwrite:
        refuse_existing(path)
    elif path.exists() and not (path / CONFIG).is_file():
        # --overwrite with a mistyped folder must not delete somebody's home.
        raise GenpriorError(f"{path} is not a run, and is not overwritten", argument="out")
    try:
        if path.exists():
            with locked(Run(path, config)):
                shutil.rmtree(path)
        path.mkdir(parents=True)
        write_json(path / CONFIG, config.model_dump())
    except OSError as error:
        raise GenpriorError(f"cannot write to {path}: {error.strerror or error}", argument="out") from None
    return Run(path, config)


def read_table(path: Path, argument: str) -> dict[str, Any]:
    """Returns a table of settings written as JSON; raises `GenpriorError` about `argument` where there is none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise GenpriorError(f"{path} cannot be read: {error}", argument=argument) from None
    if not isinstance(values, dict):
        raise GenpriorError(f"{path} holds no table of settings", argument=argument)
    return values


def misfit(run: Run) -> GenpriorError:
    """Returns the error for a config that was changed since the checkpoint was saved."""
    return GenpriorError(
        f"{run.path / CONFIG} does not describe the networks in {run.checkpoints}; restore it", argument="run"
    )


def refuse_existing(path: Path) -> None:
    """Raises `GenpriorError` where `path` is anything but a free name or an empty folder."""
    if path.exists() and not (path / CONFIG).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise GenpriorError(f"{path} exists and is no run; choose another folder", argument="out")
    if (path / CONFIG).is_file():
        raise GenpriorError(
            f"{path} exists; choose another folder, go on with `genprior resume {path}`, or replace it with "
            "--overwrite",
            argument="out",
        )


def open_run(path: Path) -> Run:
    """Returns the run at `path`.

    Raises:
        GenpriorError: There is no run, or its config is not valid.
    """
    file = path / CONFIG
    if not file.is_file():
        raise GenpriorError(f"{path} is not a run: it has no {CONFIG}", argument="run")
    values = read_table(file, "run")
    try:
        return Run(path, parse_config(values))
    except GenpriorError as error:
        raise GenpriorError(f"{file}: {error}") from None


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Keeps a second process from training the same run; the system lifts the lock even after a kill.

    Raises:
        GenpriorError: Another process trains it.
    """
    with (run.path / LOCK).open("w") as file:
        try:
            import fcntl
        except ImportError:  # Windows has no such locks
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GenpriorError(f"{run.path} is being trained by another process", argument="run") from None
        yield


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes strict JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a kill at any instant leaves either the old one or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
