"""The training loop: images as its clock, its order of images, its randomness, its limits."""

from dataclasses import dataclass, field
from itertools import count

import pytest
import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.training.loop import Batch, Budget, shuffled_indices, train
from genprior.training.processes import Processes


@dataclass
class Recorder:
    """An algorithm that learns nothing and remembers what it was given."""

    images_per_update: int = 4
    calls: list[str] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    draws: list[Tensor] = field(default_factory=list)
    averaged_at: list[int] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    processes: Processes = field(default_factory=Processes)

    def check(self, data: Dataset) -> None:
        self.calls.append("check")

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        self.calls.append("update")
        self.progress.append(progress)
        self.batches.append(batch)
        self.draws.append(torch.rand(3, generator=generator))
        return {"updates": torch.tensor(len(self.batches))}

    def average_weights(self, images_seen: int) -> None:
        self.calls.append("average")
        self.averaged_at.append(images_seen)

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        raise AssertionError("the loop never loads a state")


def _data(count: int = 10) -> Dataset:
    """Images 2x2 whose first pixel is their index."""
    images = torch.arange(4 * count).view(count, 1, 2, 2) % 256
    images[:, 0, 0, 0] = torch.arange(count)
    return Dataset("numbered", images.to(torch.uint8))


def _indices(recorder: Recorder) -> Tensor:
    return torch.cat([batch.indices for batch in recorder.batches])


@pytest.mark.parametrize("first", [0, 3, 10, 17])
@pytest.mark.parametrize("count", [1, 4, 25])
def test_the_walk_over_the_data_does_not_depend_on_where_it_is_cut(count: int, first: int) -> None:
    whole = shuffled_indices(0, 50, size=10, seed=1)
    assert torch.equal(shuffled_indices(first, count, size=10, seed=1), whole[first : first + count])


@pytest.mark.parametrize("batch", [3, 4, 10, 12])
def test_every_image_is_seen_once_an_epoch(batch: int) -> None:
    recorder = Recorder(images_per_update=batch)
    list(train(recorder, _data(), Budget(images=60)))
    for epoch in _indices(recorder)[:60].split(10):
        assert sorted(epoch.tolist()) == list(range(10))


def test_batches_span_epochs() -> None:
    recorder = Recorder(images_per_update=8)
    list(train(recorder, _data(), Budget(images=24)))
    assert [len(batch.indices) for batch in recorder.batches] == [8, 8, 8]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [shuffled_indices(10 * epoch, 10, 10, seed).tolist() for epoch in range(3) for seed in range(3)]
    assert len({tuple(order) for order in orders}) == 9


def test_a_batch_holds_the_images_of_its_indices() -> None:
    recorder = Recorder()
    list(train(recorder, _data(), Budget(images=20)))
    for batch in recorder.batches:
        assert batch.images.shape == (4, 1, 2, 2)
        torch.testing.assert_close(255 * batch.images[:, 0, 0, 0], batch.indices.float())


@pytest.mark.parametrize("limit", [1, 8, 9])
def test_images_seen_are_the_clock(limit: int) -> None:
    steps = list(train(Recorder(), _data(), Budget(images=limit)))
    assert [step.images_seen for step in steps] == [4, 8, 12][: len(steps)]
    assert [step.index for step in steps] == [1, 2, 3][: len(steps)]
    assert steps[-1].images_seen - 4 < limit <= steps[-1].images_seen


def test_a_step_is_yielded_after_its_update_and_its_averaging() -> None:
    recorder = Recorder()
    steps = train(recorder, _data(), Budget(images=8))
    assert int(next(steps).record["updates"]) == 1
    assert recorder.calls == ["check", "update", "average"]
    assert int(next(steps).record["updates"]) == 2
    assert recorder.averaged_at == [4, 8]


@pytest.mark.parametrize("limit", [1, 8])
def test_a_budget_that_is_used_up_trains_no_more(limit: int) -> None:
    recorder = Recorder()
    assert list(train(recorder, _data(), Budget(images=limit), images_seen=8)) == []
    assert recorder.batches == []


@pytest.mark.parametrize("budget", [Budget(images=40), Budget(epochs=4)], ids=["images", "epochs"])
def test_an_update_gets_the_share_that_was_used_before_it(budget: Budget) -> None:
    recorder = Recorder()
    steps = list(train(recorder, _data(), budget))
    assert recorder.progress == [i / 10 for i in range(10)]
    assert [step.progress for step in steps] == [(i + 1) / 10 for i in range(10)]
    tail = Recorder()
    assert [step.index for step in train(tail, _data(), budget, images_seen=24)] == [7, 8, 9, 10]
    assert tail.progress == recorder.progress[6:]


def test_minutes_count_earlier_stretches_and_all_processes_take_the_furthest(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(step=6)
    monkeypatch.setattr("genprior.training.loop.time.monotonic", lambda: float(next(ticks)))
    recorder = Recorder()
    steps = list(train(recorder, _data(), Budget(minutes=1), seconds=30.0))
    assert [step.seconds for step in steps] == [36.0, 42.0, 48.0, 54.0, 60.0]
    assert recorder.progress == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert steps[-1].progress == 1.0
    ahead = Recorder()
    ahead.processes.largest = lambda value: max(value, 750_000)
    next(train(ahead, _data(), Budget(minutes=10)))
    assert ahead.progress == [0.75]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, r"^budget: give one of images, epochs and minutes, got none of them$"),
        ({"images": 5, "minutes": 1.0}, r"^budget: give one of .*, got images and minutes$"),
        ({"images": 0}, r"^images: expected a number greater than 0, got 0$"),
        ({"images": 1.5}, r"^images: expected a whole number, got 1.5$"),
        ({"epochs": -1.0}, r"^epochs: expected a number greater than 0, got -1.0$"),
        ({"minutes": float("nan")}, r"^minutes: expected a number greater than 0, got nan$"),
    ],
)
def test_a_budget_is_one_number_in_range(given: dict[str, float], expected: str) -> None:
    with pytest.raises(GenpriorError, match=expected):
        Budget(**given)


def test_a_budget_in_words() -> None:
    assert [b.text(500) for b in (Budget(images=1000), Budget(epochs=0.5), Budget(minutes=2.5))] == [
        "1,000 images",
        "250 images",
        "2.5 minutes",
    ]
    assert (Budget(epochs=1e-9).limit(500), Budget(minutes=1).limit(500)) == (1, None)


def test_going_on_gives_the_batches_and_random_numbers_of_an_uninterrupted_run() -> None:
    whole, tail = Recorder(), Recorder()
    expected = list(train(whole, _data(), Budget(images=40), seed=5))[3:]
    steps = list(train(tail, _data(), Budget(images=40), seed=5, images_seen=12))
    assert [(s.index, s.images_seen) for s in steps] == [(s.index, s.images_seen) for s in expected]
    assert torch.equal(_indices(tail), _indices(whole)[12:])
    assert torch.equal(torch.stack(tail.draws), torch.stack(whole.draws[3:]))
    assert tail.averaged_at == whole.averaged_at[3:]


def test_steps_have_random_numbers_of_their_own() -> None:
    draws = []
    for seed in (0, 1):
        recorder = Recorder()
        list(train(recorder, _data(), Budget(images=20), seed=seed))
        draws += [tuple(draw.tolist()) for draw in recorder.draws]
    assert len(set(draws)) == len(draws) == 10


def test_the_global_generator_is_neither_used_nor_moved() -> None:
    before = torch.get_rng_state()
    first, second = Recorder(), Recorder()
    list(train(first, _data(), Budget(images=20)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    list(train(second, _data(), Budget(images=20)))
    assert torch.equal(_indices(first), _indices(second))


def test_images_seen_must_be_whole_updates() -> None:
    with pytest.raises(GenpriorError, match=r"images_seen must be a multiple of 4, got 6"):
        next(train(Recorder(), _data(), Budget(images=10**6), images_seen=6))
