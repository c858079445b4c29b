"""Expectation maximisation: likelihood that never falls, fixed points, sizes, resuming, and what is refused."""

import math

import pytest
import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.training import mixture_start
from genprior.training.expectation_maximisation import (
    CONSIDERED,
    ExpectationMaximisation,
    MixtureSettings,
    expected,
    maximised,
    statistics_of,
    whitened,
)
from genprior.training.loop import Batch, Budget, train
from genprior.training.mixture_start import started
from mixtures import made_mixture

PLAIN = MixtureSettings(components=3, rank=2, floor=1e-4, pseudo_images=0)


def _data(count: int = 300, size: int = 8) -> Dataset:
    return load_data(f"digits[:{count}]", size=(size, size))


def _learner(batch_size: int = 20, **settings: object) -> tuple[ExpectationMaximisation, Dataset]:
    data = _data()
    own = MixtureSettings(**{"components": 4, "rank": 3, **settings})  # type: ignore[arg-type]
    return ExpectationMaximisation(data, own, batch_size), data


def _draws(model: FactorAnalysers, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([model.draw(generator) for _ in range(count)])


def test_the_likelihood_of_all_images_never_falls() -> None:
    x = _data().take(torch.arange(300)).flatten(1).double()
    model = started(x, PLAIN.components, PLAIN.rank, PLAIN.floor, 0)
    assert model.count <= CONSIDERED
    before = -math.inf
    for _ in range(15):
        found, log_prob = expected(model, x)
        assert float(log_prob.mean()) >= before - 1e-6
        before = float(log_prob.mean())
        model = maximised(model, found, PLAIN)
    assert before > float(started(x, 3, 2, PLAIN.floor, 0).log_prob(x).mean()) + 1


def test_the_statistics_of_a_mixture_lead_back_to_it() -> None:
    model = made_mixture(12)
    again = maximised(model, statistics_of(model, 1000.0), PLAIN)
    for name, value in model.named_buffers():
        torch.testing.assert_close(getattr(again, name), value, rtol=1e-4, atol=1e-5)


def test_statistics_of_draws_are_those_of_the_mixture() -> None:
    model = made_mixture(5, components=2)
    found, _ = expected(model, _draws(model, 10_000))
    for own, other in zip(vars(found).values(), vars(statistics_of(model, 10_000.0)).values(), strict=True):
        torch.testing.assert_close(own / 10_000, other / 10_000, rtol=0, atol=0.1)


def test_a_mixture_is_found_again_from_its_draws() -> None:
    truth = made_mixture(10, components=2, rank=1)
    x, other = _draws(truth, 3000).split([2000, 1000])
    model = started(x, 2, 1, 1e-4, 0)
    for _ in range(60):
        model = maximised(model, expected(model, x)[0], PLAIN)
    assert float(model.log_prob(other).mean()) > float(truth.log_prob(other).mean()) - 0.15


def test_batches_raise_the_likelihood_of_all_images() -> None:
    learner, data = _learner(pseudo_images=0.0)
    x = data.take(torch.arange(len(data))).flatten(1)
    before = float(learner.model.log_prob(x).mean())
    *_, last = train(learner, data, Budget(epochs=4))
    assert float(learner.model.log_prob(x).mean()) > before + 1
    assert last.record.keys() == {"bits_per_dim", "noise", "components_used"}


def test_other_units_of_the_latents_leave_the_mixture_as_it_is() -> None:
    model = made_mixture(6)
    found, _ = expected(model, 3 * _draws(model, 500) + 1)
    moments = whitened(found).moments / found.counts[:, None, None]
    torch.testing.assert_close(moments, torch.eye(3).to(moments).expand_as(moments), rtol=0, atol=1e-4)
    left = [maximised(model, each, PLAIN).noise for each in (found, whitened(found))]
    torch.testing.assert_close(*left, rtol=1e-4, atol=1e-5)


def test_many_passes_of_few_images_draw_images_as_wide_as_these() -> None:
    data = _data(64)
    learner = ExpectationMaximisation(data, MixtureSettings(components=1, rank=12), 8)
    *_, _ = train(learner, data, Budget(epochs=60))
    spread = data.take(torch.arange(64)).flatten(1).var(0).sum()
    drawn = learner.model.factors.square().sum() + learner.model.noise.sum()
    assert 0.5 < float(drawn / spread) < 1.5


def test_a_loaded_state_goes_on_bit_for_bit_and_makes_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    first, data = _learner()
    indices = torch.arange(20)
    batch = Batch(data.take(indices), indices)
    first.update(batch, 0.0, torch.Generator())
    second, _ = _learner(seed=3)
    monkeypatch.setattr("genprior.training.expectation_maximisation.started", None)
    second.load_state_dict(first.state_dict())
    for learner in (first, second):
        learner.update(batch, 0.5, torch.Generator())
    expected_state, found = first.state_dict(), second.state_dict()
    assert found.keys() == expected_state.keys()
    assert not [name for name, value in expected_state.items() if not torch.equal(found[name], value)]


@pytest.mark.parametrize(("components", "rank"), [(5, 2), (None, 2), (5, None), (None, None)])
def test_sizes_are_as_asked_for_or_found(
    components: int | None, rank: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture_start, "PER_COMPONENT", (300, 60))
    model = started(_data().take(torch.arange(300)).flatten(1), components, rank, 1e-4, 0)
    assert model.count == components or components is None
    assert model.rank == rank or rank is None
    assert all(bool(torch.isfinite(value).all()) for value in model.buffers())


def test_open_sizes_are_those_of_the_highest_held_out_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = made_mixture(30, components=4, rank=2)
    spread = FactorAnalysers(truth.weights, 8 * truth.means, truth.factors, torch.full_like(truth.noise, 0.2))
    monkeypatch.setattr(mixture_start, "PER_COMPONENT", (1000, 250, 20))
    monkeypatch.setattr(mixture_start, "RANKS", (20, 2, 1))
    monkeypatch.setattr(mixture_start, "MENDED", 0.0)
    found = started(_draws(spread, 1000), None, None, 1e-4, 0)
    assert (found.count, found.rank) == (4, 2)


@pytest.mark.parametrize("kind", ["equal", "two", "pairs"])
def test_images_that_are_hardly_different_stay_finite(kind: str) -> None:
    images = torch.zeros(40, 1, 6, 6, dtype=torch.uint8)
    if kind == "two":
        images[20:] = 255
    if kind == "pairs":
        images = torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 6, 6).clone() // 2
    data = Dataset(kind, images)
    learner = ExpectationMaximisation(data, MixtureSettings(components=6, rank=3), 8)
    *_, last = train(learner, data, Budget(epochs=4))
    assert all(math.isfinite(float(value)) for value in last.record.values())
    assert all(bool(torch.isfinite(value).all()) for value in learner.state_dict().values())


def test_points_other_shapes_and_single_images_are_refused() -> None:
    learner, data = _learner()
    with pytest.raises(GenpriorError, match="for points train a gan"):
        learner.check(load_data("ring:count=50"))
    with pytest.raises(GenpriorError, match=r"of shape \(1, 8, 8\), digits\[:10\] has \(1, 6, 6\)"):
        learner.check(_data(10, 6))
    with pytest.raises(GenpriorError, match="at least 2 images"):
        learner.check(data.part(torch.tensor([0])))
