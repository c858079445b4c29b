"""Many pieces of work through several engines: results, errors, deaths, interruptions."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import dask
import pytest
import ray
from distributed import LocalCluster
from joblib import cpu_count

from genprior import engines
from genprior.engines import EngineSettings, worked_off
from genprior.errors import GenpriorError
from genprior.hardware import keep_freed_memory

TWO = EngineSettings(jobs=2)


def square(number: int) -> int:
    return number * number


def whose(folder: Path) -> tuple[int, int]:
    """This process and its threads, as soon as two processes are in the same place; or after a while."""
    import torch

    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    return os.getpid(), torch.get_num_threads()


def asleep(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(300)


def faulty(number: int) -> int:
    if number == 3:
        raise GenpriorError("is no good", argument="images")
    return number


def dying(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def hungry(number: int) -> int:
    """Takes 400 MB in small pieces, and frees them again; the first piece of work of a worker takes nothing."""
    import torch

    keep_freed_memory()
    blocks = [torch.ones(2**20) for _ in range(100 if number > 1 else 0)]
    time.sleep(1.1)  # loky looks once a second
    return number + len(blocks[:0])


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.mark.parametrize("jobs", [1, 2, 0])
def test_every_piece_is_done_once(jobs: int) -> None:
    found = list(worked_off(square, range(7), EngineSettings(jobs=jobs)))
    assert sorted(found) == [square(i) for i in range(7)]


def test_one_job_works_here(tmp_path: Path) -> None:
    (tmp_path / "another").touch()
    assert {process for process, _ in worked_off(whose, [tmp_path], EngineSettings())} == {os.getpid()}


def test_two_jobs_work_elsewhere_with_their_share_of_threads(tmp_path: Path) -> None:
    elsewhere = list(worked_off(whose, [tmp_path] * 4, TWO))
    assert len({process for process, _ in elsewhere} - {os.getpid()}) == 2
    assert {threads for _, threads in elsewhere} == {max(1, cpu_count() // 2)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_errors_of_a_worker_arrive_as_themselves(jobs: int) -> None:
    with pytest.raises(GenpriorError, match="images: is no good") as raised:
        list(worked_off(faulty, range(6), EngineSettings(jobs=jobs)))
    assert (raised.value.argument, raised.value.message) == ("images", "is no good")


def test_a_killed_worker_is_told_and_the_next_call_works() -> None:
    with pytest.raises(GenpriorError, match=r"a worker ended unexpectedly.*the same command resumes") as raised:
        list(worked_off(dying, range(6), TWO))
    assert raised.value.argument == "jobs"
    assert sorted(worked_off(square, range(3), TWO)) == [0, 1, 4]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_wants_them(tmp_path: Path, kind: signal.Signals) -> None:
    code = (  # a shell that starts tests in the background has them ignore Ctrl-C
        "from test_engines import *\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"list(worked_off(asleep, [Path({str(tmp_path)!r})] * 4, EngineSettings(jobs=2)))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    errors = (tmp_path.parent / f"errors-{kind}").open("w")
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, stderr=errors)
    try:
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == 2, 120)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        process.send_signal(kind)
        process.wait(60)
        assert wait_until(lambda: not any(map(alive, workers)))
    finally:
        process.kill()
        process.wait()
        errors.close()


def test_what_a_worker_has_freed_ends_no_worker() -> None:
    with warnings.catch_warnings(record=True) as caught:  # an error would end joblib's thread, and all would wait
        warnings.simplefilter("always")
        assert sorted(worked_off(hungry, range(6), TWO)) == list(range(6))
    assert [str(each.message) for each in caught] == []


def test_a_closed_generator_stops_its_workers(tmp_path: Path) -> None:
    found = worked_off(nap, [0.0, 300.0, 300.0], TWO)
    assert next(found) == 0.0
    began = time.monotonic()
    found.close()
    assert time.monotonic() - began < 60
    assert list(worked_off(square, [3], TWO)) == [9]


@pytest.mark.parametrize(("engine", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, engine: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(GenpriorError, match=rf"pip install 'genprior\[{engine}\]'") as raised:
        list(worked_off(square, [1], EngineSettings(engine=engine)))
    assert raised.value.argument == "engine"


def test_an_address_where_nobody_is_is_told() -> None:
    dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with pytest.raises(GenpriorError, match="cannot be reached") as raised:
        list(worked_off(square, [1], EngineSettings(engine="dask", scheduler="tcp://127.0.0.1:1")))
    assert raised.value.argument == "scheduler"


def test_work_that_kills_every_worker_of_a_cluster_is_told() -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        engine = EngineSettings(engine="dask", scheduler=cluster.scheduler_address)
        assert sorted(worked_off(square, range(4), engine)) == [0, 1, 4, 9]
        with pytest.raises(GenpriorError, match="images: is no good"):
            list(worked_off(faulty, range(6), engine))
        with pytest.raises(GenpriorError, match=r"a worker ended unexpectedly \(KilledWorker\)") as raised:
            list(worked_off(dying, range(3, 4), engine))
        assert raised.value.argument == "jobs"


def touched(name: str) -> str:
    """Writes into the folder that the work is meant for, in two steps, between which another thread may come."""
    begun = Path(f"{name}.tmp")
    begun.touch()
    time.sleep(0.05)
    begun.rename(name)
    return name


def test_threads_of_a_worker_elsewhere_work_in_the_folder_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir(), elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with LocalCluster(n_workers=1, threads_per_worker=3, dashboard_address=":0", silence_logs=50) as cluster:
        monkeypatch.chdir(here)
        names = list("abcdef")
        done = worked_off(touched, names, EngineSettings(engine="dask", scheduler=cluster.scheduler_address))
        assert sorted(done) == names
    assert sorted(path.name for path in here.iterdir()) == names
    assert not any(elsewhere.glob("[a-f]*"))


def test_a_cluster_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "WAIT_SECONDS", 0.5)
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as cluster:
        engine = EngineSettings(engine="dask", scheduler=cluster.scheduler_address)
        with pytest.raises(GenpriorError, match=r"scheduler: cannot be reached: .*0/1 workers"):
            list(worked_off(square, [1], engine))


def test_ray_tells_errors_and_deaths_and_leaves_a_cluster_of_the_user() -> None:
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}  # workers import the functions of this file
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error", runtime_env=here)
    try:
        engine = EngineSettings(engine="ray", jobs=2)
        with pytest.raises(GenpriorError, match="images: is no good"):
            list(worked_off(faulty, range(6), engine))
        with pytest.raises(GenpriorError, match=r"a worker ended unexpectedly \(Actor(Died|Unavailable)Error\)"):
            list(worked_off(dying, range(6), engine))
        assert ray.is_initialized()
    finally:
        ray.shutdown()
