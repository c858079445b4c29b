"""Random generators derived from what a draw is for, so that nothing depends on what was drawn before.

A step's generator derives from (seed, purpose, step), a sample's from (seed, purpose, sample index): results do
not depend on batch size, on the number of processes, or on being resumed. Imports nothing of ours.
"""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def derived_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Returns an integer in [0, 2^63) that depends on the three arguments and on nothing else.

    It is a hash of bytes: Python's own `hash` of a string changes from process to process.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def derived_generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Returns a CPU generator that depends on the three arguments and on nothing else.

    Arguments:
        seed: Any integer.
        purpose: What the numbers are for, such as "latents".
        index: Step, epoch or sample index.

    Example:
        >>> torch.randn(2, generator=derived_generator(0, "doctest", 3))
        tensor([-1.4665, -0.5209])
    """
    return torch.Generator().manual_seed(derived_seed(seed, purpose, index))


def initialised(build: Callable[[], T], seed: int, purpose: str = "weights") -> T:
    """Returns `build()` with weights that depend on seed and purpose alone; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, purpose))  # of the CPU, no other
        return build()
