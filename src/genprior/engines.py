"""One door to several engines: many independent pieces of work on the cores of this machine, or on a cluster.

Everything goes through joblib. Imports nothing of ours but errors, hardware and settings. `ENGINES`, at the end, is the
place to add one.
"""

import gc
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import AbstractContextManager, chdir, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, model_validator

from genprior.errors import GenpriorError
from genprior.settings import Flag, Settings
from genprior.specs import Table

T = TypeVar("T")
R = TypeVar("R")

WAIT_SECONDS = 60  # for the first worker of a Dask cluster
WATCH_SECONDS = 1.0  # between a worker's looks whether its parent still lives


class EngineSettings(Settings):
    """Who does independent pieces of work; none of it changes the results."""

    jobs: Annotated[
        int,
        Field(ge=-1, le=4096, description="Processes that share the work; 0: one per core. Clusters: 1 means all."),
        Flag(is_outcome=False),
    ] = 1
    engine: Annotated[
        str,
        Field(description="Where the processes run; loky is this machine, the others are clusters:"),
        Table("genprior.engines", "ENGINES"),
        Flag(is_outcome=False),
    ] = "loky"
    scheduler: Annotated[
        str | None,
        Field(description="Address of the Dask scheduler or Ray cluster; default: start one on this machine."),
        Flag(is_outcome=False),
    ] = None

    @model_validator(mode="after")
    def _check_scheduler(self) -> "EngineSettings":
        if self.scheduler is not None and self.engine == "loky":
            raise GenpriorError("goes with --engine dask or ray", argument="scheduler")
        return self


ALL = EngineSettings(jobs=0)


def worked_off(function: Callable[[T], R], items: Sequence[T], engine: EngineSettings) -> Generator[R, None, None]:
    """Yields `function(item)` of all items, in the order in which they are done.

    Interrupting or closing it stops the workers of this machine at once; a cluster drops what it has not begun.

    Arguments:
        function: Must be picklable, items and results too, unless all is done in this process: one job on "loky".
        items: Pieces of work that do not need each other.
        engine: Who does them.

    Raises:
        GenpriorError: The first error of a worker that is one; a worker died; the engine is not installed or not there.
        Exception: Any other error of a worker, as it was there.
    """
    if not items or (engine.engine == "loky" and _count(engine) == 1):
        yield from map(function, items)
        return
    from joblib import delayed

    with ENGINES[engine.engine](engine) as opened:
        # The folder is asked for now: joblib takes items later, when a worker in this process may stand elsewhere.
        guarded = _Guarded(function, opened.threads, opened.are_children, os.getcwd())
        outcomes = opened.parallel(delayed(guarded)(item) for item in items)
        try:
            for outcome in outcomes:  # noqa: UP028 - "yield from" would close joblib's generator first, with a warning
                yield outcome
        except opened.deaths as error:
            raise GenpriorError(
                f"a worker ended unexpectedly ({type(error).__name__}), or had too little memory; what is finished is "
                "kept: the same command resumes",
                argument="jobs",
            ) from error
        finally:
            with warnings.catch_warnings():  # joblib finds it worth a warning that not all was wanted
                warnings.simplefilter("ignore")
                outcomes.close()


@dataclass(frozen=True)
class Opened:
    """An engine that is ready.

    Attributes:
        parallel: joblib's, bound to the engine.
        threads: CPU threads of each worker.
        deaths: What is raised where a worker dies, rather than its work fails.
        are_children: Whether the workers belong to this process, and must end when it does.
    """

    parallel: Any
    threads: int
    deaths: tuple[type[BaseException], ...]
    are_children: bool = False


@dataclass(frozen=True)
class _Guarded(Generic[T, R]):
    """A function as workers call it: in the folder of their parent, with their share of the threads.

    Folder and threads belong to a whole process, so of several threads of a worker one works at a time.
    """

    function: Callable[[T], R]
    threads: int
    is_child: bool
    folder: str

    def __call__(self, item: T) -> R:
        import torch

        from genprior.hardware import return_freed_memory

        if self.is_child:
            _follow_parent()
        if not os.path.isdir(self.folder):
            raise GenpriorError(
                f"a worker does not see {self.folder}: workers need the same files as this process", argument="engine"
            )
        with _ONE_AT_A_TIME, chdir(self.folder):
            torch.set_num_threads(self.threads)
            result = self.function(item)
        if self.is_child:
            gc.collect()
            return_freed_memory()  # else loky takes what a training has kept for a leak, and ends the worker
        return result


_ONE_AT_A_TIME = threading.Lock()


@cache
def _follow_parent() -> None:
    """Ends this process when its parent was killed; leaves Ctrl-C to the parent, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:  # on Windows it stays; idle workers end by themselves
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _count(engine: EngineSettings) -> int:
    from joblib import cpu_count

    cores: int = cpu_count()
    return engine.jobs if engine.jobs > 0 else cores


def _parallel(backend: object, jobs: int, threads: int | None = None) -> Any:  # noqa: ANN401 - joblib has no types
    from joblib import Parallel, parallel_config

    with parallel_config(backend, inner_max_num_threads=threads):
        return Parallel(jobs, return_as="generator_unordered", batch_size=1)


@contextmanager
def _loky(engine: EngineSettings) -> Iterator[Opened]:
    jobs = _count(engine)
    threads = max(1, _count(ALL) // jobs)
    yield Opened(_parallel("loky", jobs, threads), threads, (BrokenExecutor,), are_children=True)


@contextmanager
def _dask(engine: EngineSettings) -> Iterator[Opened]:
    try:
        from distributed import Client, KilledWorker
        from joblib._dask import DaskDistributedBackend
    except ImportError:
        raise _missing("dask") from None

    class HonestDask(DaskDistributedBackend):  # type: ignore[misc]  # joblib has no types
        """joblib's waits for ever for work that has killed all its workers: it does not report what is no result."""

        def submit(self, func: Any, callback: Callable[[object], None]) -> Any:  # noqa: ANN401
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

    here: dict[str, Any] = {"n_workers": _count(engine if engine.jobs != 1 else ALL), "threads_per_worker": 1}
    here |= {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    try:
        client = Client(engine.scheduler, **({} if engine.scheduler else here))  # type: ignore[no-untyped-call]  # nor dask
    except (OSError, ValueError) as error:
        raise _unreachable(error) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except TimeoutError as error:
            raise _unreachable(error) from None
        yield Opened(_parallel(HonestDask(client=client), -1), 1, (KilledWorker, CancelledError))


@contextmanager
def _ray(engine: EngineSettings) -> Iterator[Opened]:
    try:
        import ray
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError:
        raise _missing("ray") from None

    class StreamingRay(RayBackend):
        """joblib forbids generators for a pool of pipes, where they may block; Ray's pool has none."""

        supports_return_generator = True

    jobs, is_ours = engine.jobs if engine.jobs > 1 else None, not ray.is_initialized()
    here: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if engine.scheduler is None else {}
    try:
        if is_ours:
            ray.init(address=engine.scheduler, log_to_driver=False, logging_level=logging.ERROR, **here)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(error) from None
    try:
        yield Opened(_parallel(StreamingRay(), jobs or -1), 1, (ray.exceptions.RayError,))
    finally:
        if is_ours:
            ray.shutdown()


def _missing(extra: str) -> GenpriorError:
    return GenpriorError(f"needs more packages: pip install 'genprior[{extra}]'", argument="engine")


def _unreachable(error: Exception) -> GenpriorError:
    first = str(error).strip().partition("\n")[0]
    return GenpriorError(f"cannot be reached: {first}", argument="scheduler")


ENGINES: dict[str, Callable[[EngineSettings], AbstractContextManager[Opened]]] = {
    "loky": _loky,
    "dask": _dask,
    "ray": _ray,
}
