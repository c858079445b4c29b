"""A layer under all work of torch that finds no memory at one operation: the machine as it is on a bad day.

Each operation that torch dispatches is counted if it gives a tensor with memory of its own; views ask for none. What
is raised is what torch says on a CPU, or the `MemoryError` of Python and numpy. Those who ask beside torch are not
counted.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ERRORS: dict[str, Callable[[], Exception]] = {
    "no memory for torch": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 40000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "no memory for Python": lambda: MemoryError("Unable to allocate 763. MiB for an array"),
}


class FaultyMemory(TorchDispatchMode):
    """Counts operations of torch while it is entered, and lets one of them find no memory.

    Arguments:
        fault: A key of `ERRORS`.
        at: Number of the operation, from 0; None: none.
    """

    def __init__(self, fault: str, at: int | None = None) -> None:
        super().__init__()
        self.fault, self.at = fault, at
        self.done: list[str] = []
        self.has_fired = False

    def __torch_dispatch__(self, act: Any, _: Any, given: Any = (), named: Any = None) -> Any:  # noqa: ANN401
        found = act(*given, **(named or {}))
        if not _memory(found) - _memory((given, named)):
            return found
        number = len(self.done)
        self.done.append(str(act))
        if number == self.at:
            self.has_fired = True
            raise ERRORS[self.fault]()
        return found


def _memory(values: Any) -> set[int]:  # noqa: ANN401
    """Where the memory of all tensors in values begins."""
    return {each.untyped_storage().data_ptr() for each in tree_leaves(values) if isinstance(each, Tensor)}
