"""What this machine has: devices, precision, memory."""

import math
import sys
import time

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.hardware import (
    bf16_speedup,
    fastest_threads,
    keep_freed_memory,
    resolve_device,
    resolve_precision,
    speedup_of_products,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_the_gpu_when_there_is_one(available: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    assert resolve_device("auto") == torch.device(expected)


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("name", ["nonsense", "", "cuda:99", "cpu0", "meta"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(GenpriorError, match=rf"^device: '{name}' is not a device of this machine; it has cpu"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["bf16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_a_given_precision_is_taken_as_it_is(kind: str, name: str) -> None:
    assert resolve_precision(name, torch.device(kind)) == name


@pytest.mark.parametrize(("speedup", "expected"), [(0.3, "float32"), (1.0, "float32"), (2.0, "bf16")])
def test_auto_precision_of_a_cpu_is_what_is_faster(
    speedup: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genprior.hardware.bf16_speedup", lambda: speedup)
    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_precision_of_a_gpu_is_bf16_where_it_is_not_emulated(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert resolve_precision("auto", torch.device("cuda")) == expected


def test_auto_precision_of_other_devices_is_float32() -> None:
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_the_speedup_of_bf16_is_a_positive_number() -> None:
    speedup = speedup_of_products(64, repeats=5)
    assert speedup > 0
    assert math.isfinite(speedup)


@pytest.mark.parametrize(("small", "sizes"), [(0.02, [128]), (0.7, [128, 512])])
def test_large_products_are_tried_only_where_bf16_may_be_native(
    small: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def measured(size: int) -> float:
        tried.append(size)
        return small if size == 128 else 2.0

    monkeypatch.setattr("genprior.hardware.speedup_of_products", measured)
    bf16_speedup.cache_clear()
    try:
        assert bf16_speedup() == bf16_speedup() == (small if sizes == [128] else 2.0)
    finally:
        bf16_speedup.cache_clear()
    assert tried == sizes


def test_memory_may_be_kept_twice() -> None:
    keep_freed_memory()
    keep_freed_memory()
    assert torch.ones(1000).sum() == 1000


def test_other_systems_keep_their_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("no C library is asked")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", refuse)
    keep_freed_memory()


@pytest.mark.parametrize("fastest", [1, 2])
def test_the_number_of_threads_that_works_fastest_is_found(fastest: int) -> None:
    before = torch.get_num_threads()

    def work() -> None:
        time.sleep(0.001 if torch.get_num_threads() == fastest else 0.004)

    assert fastest_threads(work, [1, 2], seconds=0.02) == fastest
    assert torch.get_num_threads() == before


def test_one_disturbance_does_not_decide() -> None:
    slept = iter([0.0, 0.2])  # the first piece of work that counts

    def work() -> None:
        time.sleep(next(slept, 0.001 if torch.get_num_threads() == 1 else 0.003))

    assert fastest_threads(work, [1, 2], seconds=0.1) == 1


def test_all_cores_are_taken_unless_fewer_are_surely_faster() -> None:
    turns = iter([1.2, 1.2, 1.2, 1.2, 1.05, 1.05, 1.2, 1.2, 1.2, 1.2])  # two a turn: to warm up, and timed

    def work() -> None:
        clock[0] += next(turns) if torch.get_num_threads() == 2 else 1.1

    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genprior.hardware.time.perf_counter", lambda: clock[0])
        assert fastest_threads(work, [1, 2], seconds=5.0) == 2


def test_one_turn_decides_only_by_far() -> None:
    def work() -> None:
        clock[0] += seconds[torch.get_num_threads()]

    for slow, expected in ((1.2, 2), (1.6, 1)):
        clock, seconds = [0.0], {1: 1.0, 2: slow}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("genprior.hardware.time.perf_counter", lambda clock=clock: clock[0])
            assert fastest_threads(work, [1, 2], seconds=0.1, turns=1) == expected
