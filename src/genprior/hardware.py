"""Device, precision, allocator and disk: what this machine has, asked or measured once. Of ours it imports errors."""

import ctypes
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch

from genprior.errors import GenpriorError

TRIAL_SECONDS = 1.0  # of work with each number of threads
TURNS = 5  # in which each number does its share of the work, where chance is large
HOPELESS = 0.125  # a speedup: far below what chance makes of one
FAR = 1.5  # times as fast: more than chance beside busy programs


def resolve_device(name: str) -> torch.device:
    """Returns the device that `name` means; "auto" is the GPU when there is one.

    Raises:
        GenpriorError: No such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError, ImportError):
        have = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise GenpriorError(
            f"'{name}' is not a device of this machine; it has {', '.join(have)}", argument="device"
        ) from None
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """Returns "bf16", "float32" or "float64"; "auto" is bf16 where the hardware computes it natively."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type != "cpu":
        return "float32"
    # Processors without bf16 units emulate it several times slower than float32: the clock knows, names do not.
    return "bf16" if bf16_speedup() > 1.2 else "float32"


@cache
def bf16_speedup() -> float:
    """Returns how many times faster this processor multiplies matrices in bf16 than in float32.

    Where bf16 is emulated, a product takes tens of times as long: small ones show that, and large ones are left out.
    """
    small = speedup_of_products(128)
    return small if small < HOPELESS else speedup_of_products(512)


def speedup_of_products(size: int, repeats: int = 15) -> float:
    """Returns how many times faster products of matrices (size, size) are in bf16 than in float32.

    The best of interleaved repeats counts: other programs on the machine only ever make a product slower.
    """
    seconds = {torch.float32: [0.0], torch.bfloat16: [0.0]}
    matrices = {dtype: torch.ones(size, size, dtype=dtype) for dtype in seconds}
    for _ in range(repeats):
        for dtype, matrix in matrices.items():
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            seconds[dtype].append(time.perf_counter() - start)
    float32, bf16 = (min(times[3:]) for times in seconds.values())  # the first ones warm up
    return float32 / bf16


def keep_freed_memory() -> None:
    """Lets the C allocator keep freed blocks, for the whole process.

    By default glibc hands every block above a threshold back to the kernel, and a training step then spends a good
    part of its time on faulting fresh pages in. Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        _ = mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 1 << 25)  # glibc's older limit
        mallopt(trim_threshold, (1 << 31) - 1)


def refuse_beyond_disk(need: int, what: str, argument: str, folder: Path) -> None:
    """Raises `GenpriorError` about `argument` where something needs more room than there is on a disk.

    Arguments:
        need: Bytes, at least.
        what: Needs them.
        argument: Decides how much it is.
        folder: Where it is written; it need not be there.
    """
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    if need > free:
        raise GenpriorError(
            f"{what} need at least {need / 1e9:,.1f} GB in {place}, {free / 1e9:,.1f} GB are free: ask for fewer",
            argument=argument,
        )


def fastest_threads(
    work: Callable[[], object], counts: Sequence[int], seconds: float = TRIAL_SECONDS, turns: int = TURNS
) -> int:
    """Returns the number of CPU threads with which `work` is done most often in a second; torch's own stays as it was.

    Beside busy programs many threads may be slower than one: each operation waits for the thread whose core was taken
    away, rarely but long. So whole stretches of work are timed, and the counts take turns. There chance is large, and
    many threads mostly win: fewer are chosen where they are faster in each of several turns, or `FAR` times as fast in
    the middle one.

    Arguments:
        work: Something short, such as one update of a copy of what is trained.
        counts: Numbers of threads, at least one.
        seconds: Time for each count, in all turns; a turn does the work at least once.
        turns: At least one, which is enough on a quiet machine: fewer threads are then chosen by `FAR` alone.
    """
    before = torch.get_num_threads()
    times: dict[int, list[float]] = {count: [] for count in counts}
    began = time.perf_counter()
    try:
        for _ in range(turns):
            for count, found in times.items():
                torch.set_num_threads(count)
                work()  # threads that are new at this count are started
                found.append(_mean_time(work, seconds / turns))
            if time.perf_counter() - began > 2 * seconds * len(counts):
                break
    finally:
        torch.set_num_threads(before)
    best, *fewer = sorted(times, reverse=True)
    for count in fewer:
        pairs = list(zip(times[count], times[best], strict=True))
        is_always_faster = len(pairs) > 1 and all(mine < theirs for mine, theirs in pairs)
        if is_always_faster or FAR * statistics.median(times[count]) < statistics.median(times[best]):
            best = count
    return best


def _mean_time(work: Callable[[], object], seconds: float) -> float:
    """Seconds that a piece of work takes, over as many as fill that time."""
    began, pieces = time.perf_counter(), 0
    while pieces == 0 or time.perf_counter() - began < seconds:
        work()
        pieces += 1
    return (time.perf_counter() - began) / pieces
