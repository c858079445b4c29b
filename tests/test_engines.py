"""Many pieces of work through several engines: results, errors, deaths, interruptions."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from genprior.engines import EngineSettings, worked_off
from genprior.errors import GenpriorError

TWO = EngineSettings(jobs=2)


def square(number: int) -> int:
    return number * number


def whose(number: int) -> tuple[int, int]:
    import torch

    time.sleep(0.05)
    return os.getpid(), torch.get_num_threads()


def faulty(number: int) -> int:
    if number == 3:
        raise GenpriorError("is no good", argument="images")
    return number


def dying(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.mark.parametrize("jobs", [1, 2, 0])
def test_every_piece_is_done_once(jobs: int) -> None:
    found = list(worked_off(square, range(7), EngineSettings(jobs=jobs)))
    assert sorted(found) == [square(i) for i in range(7)]


def test_one_job_works_here_and_two_elsewhere_with_their_share_of_threads() -> None:
    assert {process for process, _ in worked_off(whose, range(2), EngineSettings())} == {os.getpid()}
    elsewhere = list(worked_off(whose, range(8), TWO))
    assert len({process for process, _ in elsewhere} - {os.getpid()}) == 2
    assert {threads for _, threads in elsewhere} == {max(1, (os.cpu_count() or 1) // 2)}


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
