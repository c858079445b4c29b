"""Memory that does not suffice: known by its errors, told with flags that the command has, refused by the system."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genprior.errors import GenpriorError, is_lack_of_memory, raise_lack_of_memory
from genprior.memory import (
    GPU_DRIVERS,
    TAKES_MEMORY,
    advice_for,
    free_memory,
    in_parts,
    networks_within_memory,
    refuse_beyond_memory,
)

LACKS = [  # as they were said
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 40000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
    ),
    RuntimeError("Storage size calculation overflowed with sizes=[1099511627776, 1099511627776]"),
    RuntimeError("unable to mmap 4096 bytes from file <weights>: Cannot allocate memory (12)"),
    RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB, other allocations: 1.00 MB)"),
    RuntimeError("Invalid buffer size: 20.00 GiB"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("could not create a primitive"),
    SystemError("error return without exception set"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]
OTHERS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    RuntimeError("could not create a primitive descriptor for the convolution forward propagation primitive"),
    RuntimeError("unable to allocate a name"),
    RuntimeError("index 3 is out of memory format range"),
    RuntimeError("unable to mmap 4096 bytes from file <weights>: No such device (19)"),
    ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
    ImportError("dask"),
    SystemError("bad argument to internal function"),
    ValueError("out of memory"),
]
LIMITED = """
import sys
from genprior import memory
from genprior.cli import main

memory.free_memory = lambda: 1_400_000_000
memory.UNUSED = int(sys.argv.pop(1))
main()
"""
CLAIM = """
import resource
from genprior import memory

memory.free_memory, memory.UNUSED = lambda: 10**8, 0
before = resource.getrlimit(resource.RLIMIT_DATA)
with memory.within_free_memory():
    try:
        bytearray(10**9)
    except MemoryError:
        print("refused")
assert resource.getrlimit(resource.RLIMIT_DATA) == before
bytearray(10**9)
print("given")
"""
ON_LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux") or any(Path(driver).exists() for driver in GPU_DRIVERS),
    reason="limits memory on Linux without GPU",
)


def output_of(script: str, *words: str, where: Path) -> tuple[int, str]:
    """Exit code and output of a process of its own: what limits memory must not limit that of the tests."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False, cwd=where, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("error", LACKS, ids=str)
def test_a_lack_of_memory_is_known_by_its_words(error: Exception) -> None:
    assert is_lack_of_memory(error)
    with pytest.raises(type(error)):
        raise_lack_of_memory(error)


@pytest.mark.parametrize("ask", [lambda: torch.empty(10**13), lambda: torch.empty(2**40, 2**40), lambda: b"a" * 10**15])
def test_what_torch_and_python_say_here_is_known(ask: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        ask()
    assert is_lack_of_memory(raised.value)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_are_none(error: Exception) -> None:
    assert not is_lack_of_memory(error)
    raise_lack_of_memory(error)


def test_advice_names_what_the_command_has() -> None:
    assert advice_for(TAKES_MEMORY).startswith("lower --batch-size, ")
    assert advice_for(["batch_size"]) == "lower --batch-size"
    assert advice_for(["model", "count"]) == "lower --count or the width in --model"
    assert "close other programs" in advice_for(["run"])


def test_what_is_more_than_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.memory.free_memory", lambda: 10**9)
    refuse_beyond_memory(10**9, "points", "data", "lower count=")
    with pytest.raises(GenpriorError, match=r"points need about 2.0 GB of memory, 1.0 GB are free: lower count="):
        refuse_beyond_memory(2 * 10**9, "points", "data", "lower count=")
    monkeypatch.setattr("genprior.memory.free_memory", lambda: None)
    refuse_beyond_memory(10**30, "points", "data", "lower count=")


def test_networks_are_refused_before_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.memory.free_memory", lambda: 10**6)
    made = []

    def build() -> None:
        with networks_within_memory(20):
            made.extend(torch.nn.Linear(100, 200) for _ in range(9))

    with pytest.raises(GenpriorError, match="networks of this width need about") as raised:
        build()
    assert raised.value.argument == "model"
    assert len(made) == 2  # of 402,000 bytes each


def test_weights_made_after_the_block_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.memory.free_memory", lambda: 10**6)
    with networks_within_memory(20):
        torch.nn.Linear(100, 200)
    torch.nn.Linear(1000, 200)


def test_copies_of_files_and_swap_count_as_free(tmp_path: Path) -> None:
    system = tmp_path / "meminfo"
    system.write_text("MemTotal: 900 kB\nMemAvailable: 500 kB\nSwapFree: 100 kB\n")
    assert free_memory(system, tmp_path) == 600 * 1024
    (tmp_path / "memory.max").write_text("400000\n")
    (tmp_path / "memory.current").write_text("390000\n")
    (tmp_path / "memory.stat").write_text("anon 90000\ninactive_file 200000\nactive_file 100000\n")
    assert free_memory(system, tmp_path) == 310_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(system, tmp_path) == 600 * 1024
    assert free_memory(tmp_path / "nothing", tmp_path) is None


def test_free_memory_is_some_or_not_known() -> None:
    free = free_memory()
    assert free is None or free > 10**7


@ON_LINUX
def test_the_system_refuses_what_is_not_free(tmp_path: Path) -> None:
    assert output_of(CLAIM, where=tmp_path) == (0, "refused\ngiven\n")


@ON_LINUX
def test_beside_a_gpu_nothing_is_limited(tmp_path: Path) -> None:
    for driver in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"):
        assert driver in GPU_DRIVERS
    here = f"memory.GPU_DRIVERS = ({str(tmp_path)!r},)"
    script = CLAIM.replace("before =", f"{here}\nbefore =")
    assert output_of(script, where=tmp_path) == (0, "given\n")


def test_parts_are_halved_where_memory_lacks() -> None:
    asked: list[int] = []

    def work(part: range) -> list[int]:
        asked.append(len(part))
        if len(part) > 3:
            raise MemoryError
        return list(part)

    assert in_parts(7, 6, work) == [[0, 1, 2], [3, 4, 5], [6]]
    assert asked == [6, 3, 3, 1]
    with pytest.raises(ZeroDivisionError):
        in_parts(2, 2, lambda _: 1 / 0)


@ON_LINUX
def test_a_batch_that_memory_cannot_hold_names_the_batch_size(tmp_path: Path) -> None:
    words = "train gan --data digits --size 64 --threads 1 --precision float32 --images-seen 3000 --out run"
    code, text = output_of(LIMITED, "0", *words.split(), "--batch-size", "1500", where=tmp_path)
    assert (code, text.count("genprior: ")) == (2, 1), text
    assert "there is not enough memory; what was saved before is whole" in text
    assert "lower --batch-size" in text
    assert (tmp_path / "run" / "checkpoint" / "step-000000000" / "counters.json").is_file()
