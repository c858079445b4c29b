"""Memory: how much is free, what would need more, and what a user is told; of ours it imports errors, and torch late.

What can be estimated is refused before it is taken. All else is refused by the system, once a process holds what was
free when it began: without that limit Linux promises more than there is, and kills whoever makes use of it.
"""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from genprior.errors import MAY_TELL, GenpriorError, is_lack_of_memory

if TYPE_CHECKING:
    from torch.nn import Parameter

T = TypeVar("T")

_COSTLY = "batch_size count draws candidates starts inversions workers components rank size latent_size model"
TAKES_MEMORY = tuple(_COSTLY.split())  # flags that decide how much, those first that cost least
UNUSED = 1 << 30  # bytes of addresses that libraries reserve, torch above all, and never write to
GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # CUDA, ROCm, both in WSL: they reserve addresses by terabytes


def advice_for(names: Collection[str]) -> str:
    """Returns what to do where memory does not suffice.

    Arguments:
        names: Of the settings of the command.

    Example:
        >>> advice_for(["images", "starts", "batch_size"])
        'lower --batch-size or --starts'
    """
    flags = [f"--{name.replace('_', '-')}" for name in TAKES_MEMORY if name in names and name != "model"]
    flags += ["the width in --model"] if "model" in names else []
    if not flags:
        return "close other programs, or take a machine with more"
    *others, last = flags
    return f"lower {', '.join(others)} or {last}" if others else f"lower {last}"


def free_memory(system: Path = Path("/proc/meminfo"), container: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Returns how many bytes this process may still use, by the system and the limits of a container; None: unknown.

    Copies of files that the system keeps in memory count as free: it drops them where a program needs the room.

    Arguments:
        system: What Linux says of its memory.
        container: Folder of a container's limits.
    """
    found = []
    try:
        lines = _numbers(system)
        found.append(lines["MemAvailable"] + lines.get("SwapFree", 0))
        limit, used = (int((container / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        stat = dict(line.split() for line in (container / "memory.stat").read_text(encoding="ascii").splitlines())
        found.append(limit - used + int(stat["active_file"]) + int(stat["inactive_file"]))
    except (OSError, KeyError, ValueError):  # another system, or no limit
        pass
    return min(found, default=None)


def in_parts(count: int, most: int, work: Callable[[range], T]) -> list[T]:
    """Returns what `work` makes of parts of `range(count)`, one after another; parts are halved while memory lacks.

    Arguments:
        count: At least 0.
        most: Length of a part at first, at least 1.
        work: Its results may not depend on how long parts are.

    Raises:
        Exception: Whatever `work` raises, a lack of memory where a part of one is too large, too.

    Example:
        >>> in_parts(5, 2, list)
        [[0, 1], [2, 3], [4]]
    """
    found: list[T] = []
    done = 0
    while done < count:
        part = range(done, min(done + most, count))
        try:
            found.append(work(part))
        except MAY_TELL as error:
            if not is_lack_of_memory(error) or len(part) == 1:
                raise
            most = len(part) // 2
            continue
        done = part.stop
    return found


def refuse_beyond_memory(need: int, what: str, argument: str, advice: str) -> None:
    """Raises `GenpriorError` about `argument` where something needs more memory than there is.

    Arguments:
        need: Bytes, roughly.
        what: Needs them.
        argument: Decides how much it is.
        advice: What to do.
    """
    free = free_memory()
    if free is not None and need > free:
        raise GenpriorError(
            f"{what} need about {need / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free: {advice}",
            argument=argument,
        )


@contextmanager
def networks_within_memory(bytes_per_weight: int) -> Iterator[None]:
    """Raises `GenpriorError` about `model` before networks that are made here fill more memory than there is.

    A weight is counted when its network takes it: nothing has been written to it yet, and the system gives memory then.

    Arguments:
        bytes_per_weight: Of the weight, and of all that training keeps beside it.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    total = 0

    def count(_: object, __: str, weight: "Parameter | None") -> None:
        nonlocal total
        total += 0 if weight is None else weight.numel()
        what = "networks of this width"
        refuse_beyond_memory(bytes_per_weight * total, what, "model", "lower its width or --latent-size")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def within_free_memory() -> Iterator[None]:
    """Lets the system refuse more memory than is free when the block begins, to this process and each that it starts.

    Linux alone can; elsewhere, and beside a GPU of `GPU_DRIVERS`, nothing is limited. A lower limit of the user's own
    stays.
    """
    free = free_memory()
    has_gpu = any(Path(driver).exists() for driver in GPU_DRIVERS)
    if not sys.platform.startswith("linux") or free is None or has_gpu:
        yield
        return
    import resource

    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _written_to() + free + UNUSED
    known = [each for each in (before, hard, wanted) if each != resource.RLIM_INFINITY]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (min(known), hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def _written_to() -> int:
    """Bytes of addresses that this process may write to, used or not, as the system counts them for its limit."""
    try:
        return _numbers(Path("/proc/self/status"))["VmData"]
    except (OSError, KeyError, ValueError):
        return 0


def _numbers(file: Path) -> dict[str, int]:
    """Names and bytes of the lines of a file of Linux's that tell kilobytes."""
    lines = (line.split(":", 1) for line in file.read_text(encoding="ascii", errors="replace").splitlines())
    return {name: 1024 * int(value.split()[0]) for name, value in lines if value.strip().endswith("kB")}
