"""CPU cores: how many this process may use, and whether others want them. Imports no torch: threads start with it."""

import os
import statistics
import sys
import time
from pathlib import Path

LOOKS, BETWEEN_LOOKS = 9, 0.005  # how often, and how many seconds apart, it is counted who wants the cores


def let_threads_sleep_beside_others() -> None:
    """Makes threads of libgomp that wait for others sleep, where other programs want the cores.

    A thread that spins then keeps the core from the very thread that it waits for, which costs up to nine tenths of the
    speed; on a quiet machine sleeping costs a sixth (benchmarks/busy_machine.py). libgomp reads its settings when torch
    is loaded: later it is too late. What the user has set stays.
    """
    is_set = "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ
    if "torch" not in sys.modules and not is_set and others_want_cores():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def others_want_cores(running: Path = Path("/proc/loadavg")) -> bool:
    """Returns whether programs other than this one leave it fewer cores than it may use; False where it is not known.

    Arguments:
        running: Linux' file whose fourth word begins with the number of threads that run or wait for a core, this one
            among them; elsewhere torch comes without libgomp.
    """
    counts = []
    for _ in range(LOOKS):
        try:
            counts.append(int(running.read_text(encoding="ascii").split()[3].partition("/")[0]) - 1)
        except (OSError, IndexError, ValueError):
            return False
        time.sleep(BETWEEN_LOOKS)
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return statistics.median(counts) + ours > (os.cpu_count() or 1)


def thread_counts() -> list[int]:
    """Returns the numbers of threads that are worth trying: one, and all cores that this process may use."""
    return sorted({1, cores()})


def cores() -> int:
    """Returns how many cores this process may use: by affinity, by the limits of a container, by `OMP_NUM_THREADS`."""
    from joblib import cpu_count

    limit = os.environ.get("OMP_NUM_THREADS", "")
    have = int(cpu_count())
    return min(have, int(limit)) if limit.isdecimal() and int(limit) > 0 else have
