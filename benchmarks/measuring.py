"""What the scripts here share: arguments, commands in processes of their own, contenders in turn, and how numbers look.

A library, not a script: it measures nothing by itself.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser whose help is a script's docstring as it stands."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def genprior_command(*arguments: str, allowed: Sequence[int] = (0,), quiet: bool = False) -> int:
    """Runs a command in a process of its own; returns its exit code, and ends the script where it is not allowed."""
    command = [sys.executable, "-m", "genprior", *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL if quiet else None, check=False)
    if done.returncode not in allowed:
        raise SystemExit(f"genprior {' '.join(arguments)} ended with {done.returncode}")
    return done.returncode


def update_rates(
    contenders: Mapping[str, Callable[[], None]], batch: int, steps: int, rounds: int
) -> dict[str, list[float]]:
    """Times training updates in turns; prints images a second, and ratios to the first one. Returns the rates."""
    blocks = {name: lambda update=update: [update() for _ in range(steps)] for name, update in contenders.items()}
    taken = in_turns(blocks, rounds)
    rates = {name: [batch * steps / each for each in times] for name, times in taken.items()}
    for name, found in rates.items():
        print(f"{name}: {median_and_range(found)} images/s")
    plain, *ours = rates
    for name in ours:
        print(f"{name} ratio: {statistics.median(rates[name]) / statistics.median(rates[plain]):.2f}")
    return rates


def in_turns(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Returns the seconds that each contender takes, once a round.

    They take turns, so that a disturbance meets all of them; one more round before the others warms up.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            began = time.perf_counter()
            work()
            if turn > 0:
                taken[name].append(time.perf_counter() - began)
    return taken


def median_and_range(values: Sequence[float], form: str = ".0f") -> str:
    """Returns the median of values with the smallest and the largest one, as text."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def save_json(path: Path | None, value: Any) -> None:
    """Writes what was measured, where a file is named."""
    if path is not None:
        path.write_text(json.dumps(value, indent=2) + "\n")


def mnist_test(count: int, first: int = 0) -> "Tensor":
    """Returns `count` MNIST test images (count, 1, 28, 28) from one on."""
    import torch

    import genprior

    return genprior.load_data(f"mnist:test[{first}:{first + count}]").take(torch.arange(count))


def errors_of(found: "Tensor", x: "Tensor") -> "Tensor":
    """Returns the mean squared error of each image (B,)."""
    return (found - x).square().mean((1, 2, 3))
