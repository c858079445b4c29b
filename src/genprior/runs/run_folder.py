"""A run folder: its files by name, its config, what it was trained on, how it is made, and how it is kept from two
processes at once."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from genprior.errors import GenpriorError
from genprior.families import RunConfig, parse_config
from genprior.runs.files import write_json
from genprior.settings import Model
from genprior.stored_files import ALTERED, read_model, read_object
from genprior.writing import MARK, is_leftover

if TYPE_CHECKING:
    from genprior.data import Dataset
    from genprior.training.loop import Learner

CONFIG, LOCK, AUTO, TRIED = "config.json", "lock", "auto.json", "tries"
_RESULTS = (
    "encoder residual base metrics diagnosis calibration modes auto probe-saturation probe-collapse probe-equilibrium"
)
_FIGURES = (
    "samples probe-saturation probe-equilibrium probe-collapse-(inner|outer|angle) "
    "calibration-(ranks|reliability|examples)"
)
_CHECKPOINT = r"(checkpoint|best|encoder-unfinished)/step-[0-9]+(-gone)?(\.tmp|\.old)?"  # or half of one, after a kill
OWN = re.compile(  # what commands write into the folder of a run; nothing else is ever removed from there
    "|".join(
        (
            rf"config\.json|{LOCK}|environment\.json|(steps|events|held-out)\.jsonl|report\.html",
            rf"({'|'.join(_RESULTS.split())})(\.part)?\.json",
            r"(encoder|residual|base)\.safetensors",
            r"history/[0-9]+\.safetensors",
            rf"figures/({'|'.join(_FIGURES.split())})\.png",
            r"tensorboard/events\.out\.tfevents\.[^/]*",
            rf"{_CHECKPOINT}/(tensors\.safetensors|counters\.json|{re.escape(MARK)}[^/]*)",
            rf"([^/]+/)?{re.escape(MARK)}[^/]*",
        )
    )
)


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


class LogSum(Model):
    """What the record of a run was when a checkpoint was saved.

    Attributes:
        bytes, sha256: Of all its rows.
    """

    bytes: int
    sha256: str


Side = Annotated[int, Field(ge=1, le=2**16)]  # of an image, or its channels; networks are built for what stands there


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
    image_shape: tuple[Side, Side, Side]
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
    return read_model(run.environment, Environment, "run")


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
        GenpriorError: The folder exists and `overwrite` is not set, or holds anything else than a run, or cannot be
            written.
    """
    refuse_to_fill(path, overwrite=overwrite)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locked(Run(path, config)):
            refuse_to_fill(path, overwrite=overwrite)  # another process may have been here meanwhile
            clear_run(path)
            write_json(path / CONFIG, config.model_dump())  # last: a kill before it leaves a run to be overwritten
    except OSError as error:
        raise GenpriorError(f"cannot write to {path}: {error.strerror or error}", argument="out") from None
    return Run(path, config)


def refuse_to_fill(path: Path, *, overwrite: bool) -> None:
    """Raises `GenpriorError` where a new run may not be made: `overwrite` replaces a run, and nothing else."""
    if is_free(path):
        return
    if not overwrite:
        refuse_existing(path)
    # --overwrite with a mistyped folder must not delete somebody's home.
    if not (path / CONFIG).is_file():
        raise GenpriorError(f"{path} is not a run, and is not overwritten", argument="out")
    try:
        open_run(path)
    except GenpriorError as error:
        raise GenpriorError(
            f"{path} is not overwritten: {error.message}; if it may go, remove it yourself", argument="out"
        ) from None
    refuse_foreign(path)


def refuse_foreign(path: Path) -> None:
    """Raises `GenpriorError` where the folder of a run holds a file that no command of ours writes there."""
    for each in _files(path):
        name = each.relative_to(path).as_posix()
        of_run = name.split("/", 2)[-1] if name.startswith(f"{TRIED}/") else name
        if not OWN.fullmatch(of_run):
            raise GenpriorError(
                f"{path} is not overwritten: it holds {name}, which is not of genprior; move it away first",
                argument="out",
            )


def clear_run(path: Path) -> None:
    """Deletes what `refuse_foreign` lets pass, but for the lock, which is held, and the config, which is replaced."""
    files = [each for each in _files(path) if each not in (path / CONFIG, path / LOCK)]
    for own in sorted(files, key=lambda each: each.name.startswith(Path(AUTO).stem)):  # it tells whose folder this is
        own.unlink()
    for folder in ("checkpoint", "best", "encoder-unfinished", "history", "figures", "tensorboard", TRIED):
        shutil.rmtree(path / folder, ignore_errors=True)  # nothing but empty folders is left there


def is_free(path: Path) -> bool:
    """Whether there is nothing in a folder, or only what a process left that was killed while it made a run there."""
    return not path.exists() or (
        path.is_dir() and all(each.name == LOCK or is_leftover(each) for each in path.iterdir())
    )


def _files(path: Path) -> Iterator[Path]:
    """All files in a folder and below; a link to a folder is one of them."""
    for where, folders, files in os.walk(path):
        yield from (Path(where, name) for name in [*files, *(f for f in folders if Path(where, f).is_symlink())])


def misfit(run: Run) -> GenpriorError:
    """Returns the error for a config that was changed since the checkpoint was saved."""
    return GenpriorError(
        f"{run.path / CONFIG} does not describe the networks in {run.checkpoints}; restore it, or train the run anew "
        "where an older version made it",
        argument="run",
    )


def refuse_existing(path: Path) -> None:
    """Raises `GenpriorError` where `path` is anything but a free name or an empty folder."""
    if not is_free(path) and not (path / CONFIG).is_file():
        raise GenpriorError(f"{path} exists and is no run; choose another folder", argument="out")
    if (path / CONFIG).is_file():
        raise GenpriorError(
            f"{path} exists; choose another folder, continue it with `genprior resume {path}`, or replace it with "
            "--overwrite",
            argument="out",
        )


def open_run(path: Path, data: str | None = None) -> Run:
    """Returns the run at `path`.

    Arguments:
        path: Its folder.
        data: Where its images are now; None: where they were. Whoever loads them compares their contents.

    Raises:
        GenpriorError: There is no run, or its config is not valid.
    """
    file = path / CONFIG
    if not file.is_file():
        raise GenpriorError(f"{path} is not a run: it has no {CONFIG}", argument="run")
    # a run of a version that held nothing out has learned from all images
    stored = read_object(file, "run")
    values = {"held_out": 0.0, **stored.values}
    if data is not None:
        from genprior.data.spec import absolute_spec

        values["data"] = absolute_spec(data)
    try:
        run = Run(path, parse_config(values))
    except GenpriorError as error:
        raise GenpriorError(f"{file}: {error}") from None
    if stored.is_altered:
        raise GenpriorError(f"{file} {ALTERED}", argument="run")
    return run


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Keeps a second process from training the same run; the system lifts the lock even after a kill.

    Raises:
        GenpriorError: Another process trains it.
    """
    with _locked(run.path, f"{run.path} is being trained by another process", "run"):
        yield


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Makes a folder of several runs, and keeps a second process out of it while this one works there.

    Raises:
        GenpriorError: Another process works there, or the folder cannot be written to.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(folder, f"another process works in {folder}; wait for it", "out"))
        except OSError as error:
            raise GenpriorError(f"cannot write to {folder}: {error.strerror}", argument="out") from None
        yield


@contextmanager
def _locked(folder: Path, message: str, argument: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise GenpriorError(message, argument=argument) from None
    try:
        yield
    finally:
        lock.release()
