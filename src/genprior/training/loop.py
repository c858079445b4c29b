"""The one training loop, for every family of models. Knows data and algorithms, neither names nor files."""

import math
import time
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
class Budget:
    """How long a model is trained: by exactly one of three measures.

    Attributes:
        images: Images to be seen, at least 1.
        epochs: Passes over the data, greater than 0.
        minutes: Time of training, greater than 0.

    Raises:
        GenpriorError: None or several of them are given, or one is out of range.

    Example:
        >>> Budget(epochs=2).share(images_seen=500, seconds=0.0, data_images=1000)
        0.25
    """

    images: int | None = None
    epochs: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise GenpriorError(f"give one of images, epochs and minutes, got {found}", argument="budget")
        ((name, value),) = given.items()
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise GenpriorError(f"expected a number greater than 0, got {value!r}", argument=name)
        if name == "images" and not isinstance(value, int):
            raise GenpriorError(f"expected a whole number, got {value}", argument=name)

    def limit(self, data_images: int) -> int | None:
        """Returns how many images are to be seen, for a data set of `data_images`; None where time is the measure."""
        return self.images if self.epochs is None else max(1, round(self.epochs * data_images))

    def share(self, images_seen: int, seconds: float, data_images: int) -> float:
        """Returns the share of the budget that is used, in [0, 1].

        Arguments:
            images_seen: Images so far.
            seconds: Time of training so far.
            data_images: Images in the data set, at least 1.
        """
        limit = self.limit(data_images)
        if limit is not None:
            return min(1.0, images_seen / limit)
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))

    def text(self, data_images: int) -> str:
        """Returns the budget in words, for a data set of `data_images`."""
        limit = self.limit(data_images)
        return f"{self.minutes:g} minutes" if limit is None else f"{limit:,} images"


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
        progress: Share of the budget that is used, in [0, 1]; all processes have the same.
        seconds: Time of training so far.
        record: Scalars of this update, still tensors: converting each one at once would make a GPU wait.
    """

    index: int
    images_seen: int
    progress: float
    seconds: float
    record: dict[str, Tensor]


class Algorithm(Protocol):
    """A family's way to learn from a batch. It owns its networks, their average and its optimisers.

    Attributes:
        images_per_update: Images in a batch, over all processes together.
        processes: Those that train together.
    """

    images_per_update: int
    processes: Processes

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where the networks do not fit the data."""

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates the networks once and returns a record of scalars.

        Arguments:
            batch: What the update sees.
            progress: Share of the budget that was used before, in [0, 1]; learning rates and weights may follow it.
            generator: Source of all randomness.
        """

    def average_weights(self, images_seen: int) -> None:
        """Moves the averaged weights after an update."""

    def state_dict(self) -> dict[str, Tensor]:
        """Returns all that the next update depends on, by name."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""


class Learner(Algorithm, Protocol):
    """An `Algorithm` that can be trained as a run.

    Attributes:
        device: Where the networks live.
    """

    device: torch.device | str

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
    budget: Budget,
    *,
    seed: int = 0,
    images_seen: int = 0,
    seconds: float = 0.0,
) -> Iterator[Step]:
    """Yields a `Step` after each update until the budget is used; the caller decides about logs and checkpoints.

    Each batch and each random number derives from `seed` and from the images seen: training that continues from a
    saved state equals an uninterrupted one.

    Arguments:
        algorithm, data: What learns, and from what.
        budget: When training ends; schedules follow the share of it that is used.
        seed: Any integer.
        images_seen, seconds: How far it was trained before; images are a multiple of `images_per_update`.

    Raises:
        GenpriorError: Networks and data do not fit, or a batch is larger than the data set.

    Example:
        >>> import genprior
        >>> data = genprior.load_data("ring:count=500")
        >>> gan = genprior.GANConfig(preset="points", batch_size=32).build(data)
        >>> [step.images_seen for step in genprior.train(gan, data, genprior.Budget(images=100))]
        [32, 64, 96, 128]
    """
    algorithm.check(data)
    count, began = algorithm.images_per_update, time.monotonic() - seconds
    if images_seen % count:
        raise GenpriorError(f"images_seen must be a multiple of {count}, got {images_seen}")
    progress = _agreed(budget, budget.share(images_seen, seconds, len(data)), algorithm.processes)
    while progress < 1:
        step = images_seen // count
        indices = shuffled_indices(images_seen, count, len(data), seed)
        batch = Batch(data.visited(indices, derived_generator(seed, "crops", step)), indices)
        record = algorithm.update(batch, progress, derived_generator(seed, "step", step))
        images_seen += count
        algorithm.average_weights(images_seen)
        seconds = time.monotonic() - began
        progress = _agreed(budget, budget.share(images_seen, seconds, len(data)), algorithm.processes)
        yield Step(step + 1, images_seen, progress, seconds, record)


def _agreed(budget: Budget, share: float, processes: Processes) -> float:
    """The used share of the budget; where time is the measure, that of the process that is furthest."""
    return share if budget.minutes is None else processes.largest(round(share * 10**6)) / 10**6
