"""The one training loop, for every family of models. Knows data and algorithms, neither names nor files."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.seeding import derived_generator
from genprior.training.processes import Processes


@dataclass(frozen=True)
class Batch:
    """What one update sees, over all processes.

    Attributes:
        images: x (B, C, H, W) float in [0, 1] (points: their own units).
        indices: (B,), where the images stand in the data set.
    """

    images: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Step:
    """What is known after an update.

    Attributes:
        index: Number of updates so far.
        images_seen: Images drawn from the data set so far, the clock of training.
        record: Scalars of this update, still tensors: converting each one at once would make a GPU wait.
    """

    index: int
    images_seen: int
    record: dict[str, Tensor]


class Algorithm(Protocol):
    """A family's way to learn from a batch. It owns its networks, their average and its optimisers."""

    images_per_update: int

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where the networks do not fit the data."""

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates the networks once and returns a record of scalars; all randomness comes from `generator`."""

    def average_weights(self, images_seen: int) -> None:
        """Moves the averaged weights after an update."""

    def state_dict(self) -> dict[str, Tensor]:
        """Returns all that the next update depends on, by name."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""


class Learner(Algorithm, Protocol):
    """An `Algorithm` that can be trained as a run.

    Attributes:
        used: Share of the budget that is used, in [0, 1]; the caller moves it, and learning rates may follow it.
        device: Where the networks live.
        processes: Those that train together.
    """

    used: float
    device: torch.device | str
    processes: Processes

    def parameter_counts(self) -> dict[str, int]:
        """Returns how many numbers each part learns, by what the part is called."""

    def snapshot(self) -> dict[str, Tensor]:
        """Returns what a run keeps of this age for ever, by name; nothing where a family keeps nothing."""

    def slow_down(self) -> float | None:
        """Halves the learning rates for good, after values that were not finite.

        Returns:
            The share of the rates in the settings that is left; None where training should rather stop.
        """


def check_batch(batch_size: int, data: Dataset) -> None:
    """Raises `GenpriorError` where a batch is larger than the data set."""
    if batch_size > len(data):
        raise GenpriorError(f"{batch_size} is more than the {len(data)} images of {data.name}", argument="batch_size")


def shuffled_indices(first: int, count: int, size: int, seed: int) -> Tensor:
    """Returns places first ... first + count - 1 of an endless walk over a data set, as indices (count,).

    Each epoch is a permutation of its own, so every image is seen once an epoch and a batch may span two epochs.

    Example:
        >>> sorted(shuffled_indices(first=10, count=5, size=5, seed=0).tolist())
        [0, 1, 2, 3, 4]
    """
    parts: list[Tensor] = []
    while count > 0:
        epoch, start = divmod(first, size)
        part = _order(size, seed, epoch)[start : start + count]
        parts.append(part)
        first, count = first + len(part), count - len(part)
    return torch.cat(parts)


@lru_cache(maxsize=2)
def _order(size: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(size, generator=derived_generator(seed, "order", epoch))


def train(
    algorithm: Algorithm,
    data: Dataset,
    *,
    seed: int = 0,
    images_seen: int = 0,
    limit: int | None = None,
) -> Iterator[Step]:
    """Yields a `Step` after each update; the caller decides about progress, logs, checkpoints and stopping.

    The same seed gives the same steps, and going on from `images_seen` gives the steps that an uninterrupted run
    would have made, for the state of the algorithm is all that is carried over.

    Arguments:
        algorithm: What learns.
        data: What it learns from.
        seed: Any integer.
        images_seen: Images that `algorithm` has seen before, a multiple of `algorithm.images_per_update`.
        limit: Stop once that many images have been seen; None: never.

    Raises:
        GenpriorError: Networks and data do not fit, or a batch is larger than the data set.

    Example:
        >>> import genprior
        >>> data = genprior.load_data("ring:count=500")
        >>> gan = genprior.GANConfig(preset="points", batch_size=32).build(data)
        >>> [step.images_seen for step in genprior.train(gan, data, limit=100)]
        [32, 64, 96, 128]
    """
    algorithm.check(data)
    count = algorithm.images_per_update
    if images_seen % count:
        raise GenpriorError(f"images_seen must be a multiple of {count}, got {images_seen}")
    while limit is None or images_seen < limit:
        step = images_seen // count
        indices = shuffled_indices(images_seen, count, len(data), seed)
        record = algorithm.update(Batch(data.take(indices), indices), derived_generator(seed, "step", step))
        images_seen += count
        algorithm.average_weights(images_seen)
        yield Step(step + 1, images_seen, record)
