"""A run folder: its files by name, its config, what it was trained on, how it is made, and how it is kept from two
processes at once."""

import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from genprior.errors import GenpriorError
from genprior.families import RunConfig, parse_config
from genprior.runs.files import read_table, write_json
from genprior.settings import Model

if TYPE_CHECKING:
    from genprior.data import Dataset
    from genprior.training.loop import Learner

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
    def best(self) -> Path:
        """The folder of the last two checkpoints that restored held-out images better than all before them."""
        return self.path / "best"

    @property
    def scores(self) -> Path:
        """One line of strict JSON for each age whose weights restored held-out images."""
        return self.path / "held-out.jsonl"

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


class Environment(Model):
    """What a run was trained on, so that resuming elsewhere is noticed.

    Attributes:
        data_sha256: Fingerprint of the data.
        images: Images in the data.
        image_shape: (C, H, W).
        torch, python: Versions.
        machine, device: Where it was trained.
        threads: CPU threads of each process.
        processes: That trained together.
    """

    data_sha256: str = ""
    images: int
    image_shape: tuple[int, int, int]
    torch: str | None = None
    python: str | None = None
    machine: str | None = None
    device: str | None = None
    threads: int | None = None
    processes: int | None = None

    def is_of(self, data: "Dataset") -> bool:
        """Whether these are the data, by contents, count and shape."""
        mine = self.data_sha256, self.images, self.image_shape
        return mine == (data.fingerprint(), len(data), data.image_shape)


def environment(learner: "Learner", data: "Dataset") -> Environment:
    """Returns what a run of `learner` on `data` is trained on here."""
    import torch

    return Environment(
        data_sha256=data.fingerprint(),
        images=len(data),
        image_shape=data.image_shape,
        torch=torch.__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        device=str(learner.device),
        threads=torch.get_num_threads(),
        processes=learner.processes.count,
    )


def read_environment(run: Run) -> Environment:
    """Returns the environment in which a run began.

    Raises:
        GenpriorError: It is not there, or not readable.
    """
    try:
        return Environment.model_validate_json(run.environment.read_bytes())
    except OSError as error:
        raise GenpriorError(f"{run.environment} cannot be read: {error}", argument="run") from None
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"])
        raise GenpriorError(f"{run.environment} cannot be read: {reason}", argument="run") from None


def differences(run: Run, learner: "Learner", data: "Dataset") -> list[str]:
    """Returns a line for each thing that has changed since the run began, and may change its last digits.

    Raises:
        GenpriorError: The data are not the run's data.
    """
    refuse_other_data(run, data, "data")
    then, now = read_environment(run), environment(learner, data)
    before = then.model_dump()
    free = {"threads"} if run.config.threads is None else set()  # each checkpoint records that number
    return [
        f"{name} was {before[name]}, is {value}: steps are no longer bit-identical"
        for name, value in now.model_dump(exclude=free).items()
        if value != before[name]
    ]


def refuse_other_data(run: Run, data: "Dataset", argument: str) -> None:
    """Raises `GenpriorError` about `argument` unless the data are what a run was trained on."""
    then = read_environment(run)
    if not then.is_of(data):
        raise GenpriorError(
            f"{data.name} is no longer what {run.path} was trained on ({then.images} images of shape "
            f"{then.image_shape} then, {len(data)} of {data.image_shape} now, or other contents)",
            argument=argument,
        )


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
                empty_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / CONFIG, config.model_dump())
    except OSError as error:
        raise GenpriorError(f"cannot write to {path}: {error.strerror or error}", argument="out") from None
    return Run(path, config)


def empty_folder(path: Path) -> None:
    """Deletes all but the lock, which is held."""
    for child in path.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child.name != LOCK:
            child.unlink()


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
            f"{path} exists; choose another folder, continue it with `genprior resume {path}`, or replace it with "
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
    # a run of a version that held nothing out has learned from all images
    values = {"held_out": 0.0, **read_table(file, "run")}
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
    from filelock import FileLock, Timeout

    lock = FileLock(run.path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise GenpriorError(f"{run.path} is being trained by another process", argument="run") from None
    try:
        yield
    finally:
        lock.release()
