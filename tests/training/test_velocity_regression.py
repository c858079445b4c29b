"""Flow matching: times, the regression's minimiser, what the record holds, resuming, and what is refused."""

import math

import pytest
import torch
from torch import Tensor

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.families import FlowMatchingConfig
from genprior.models.velocity_field import VelocityField, moved
from genprior.models.velocity_networks import VelocityMLP
from genprior.priors.flow_matching_prior import FlowMatchingPrior
from genprior.seeding import initialised
from genprior.training.loop import Batch, Budget, train
from genprior.training.optimisation import AdamSettings
from genprior.training.velocity_regression import (
    LOOK_TIMES,
    RegressionSettings,
    VelocityRegression,
    stratified_times,
    velocity_errors,
)
from velocities import gaussian_field, made_gaussian

SHAPE = (2, 1, 1)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _data(count: int = 100) -> Dataset:
    return load_data(f"digits[:{count}]", size=(8, 8))


def _learner(batch_size: int = 20, held_out: Dataset | None = None) -> VelocityRegression:
    config = FlowMatchingConfig(
        data="digits", model="unet:width=4,blocks=1", batch_size=batch_size, size=8, precision="float32"
    )
    return config.build(_data(), held_out=held_out)


def _gaussian_images(count: int, generator: torch.Generator) -> Tensor:
    mean, variance = made_gaussian(SHAPE)
    return mean + variance.sqrt() * torch.randn(count, *SHAPE, generator=generator, dtype=torch.float64)


def test_times_are_spread_over_equal_shares() -> None:
    t = stratified_times(1000, 0.5, 1.2, _generator())
    logits = torch.sort(torch.logit(t)).values
    quantiles = torch.distributions.Normal(0.5, 1.2).icdf((torch.arange(1000).double() + 0.5) / 1000)
    torch.testing.assert_close(logits[1:-1], quantiles[1:-1], atol=0.2, rtol=0)
    assert not torch.equal(t.sort().values, t)
    (one,) = stratified_times(1, 0.0, 1.0, _generator())
    assert 0 < float(one) < 1


def test_a_filter_is_learned_with_the_grain_that_images_get() -> None:
    """Colours that are all alike: what differs between them in training is grain alone."""
    images = torch.randint(0, 256, (40, 1, 8, 8), generator=_generator(), dtype=torch.uint8).expand(-1, 3, -1, -1)
    config = FlowMatchingConfig(data="digits", model="unet:width=4,blocks=1,wiener=3", size=8, precision="float32")
    learner = config.build(Dataset("grey", images))
    for field in (learner.field, learner.average.network):
        assert isinstance(field, VelocityField)
        assert field.wiener is not None
        grain = float((1 / 255 / field.spread) ** 2 / 12)
        assert float(field.wiener.variances.min()) == pytest.approx(grain, rel=0.1)
        assert float(field.wiener.variances.max()) > 2  # one colour tells the others


def test_a_filter_is_learned_from_images_all_over_the_data() -> None:
    """Folders are sorted: the first files are alike. Here they are of one level each, and the others are noise."""
    alike = torch.randint(0, 256, (600, 1, 1, 1), generator=_generator(), dtype=torch.uint8).expand(-1, 1, 8, 8)
    noise = torch.randint(0, 256, (600, 1, 8, 8), generator=_generator(1), dtype=torch.uint8)
    config = FlowMatchingConfig(data="digits", model="unet:width=4,blocks=1,wiener=3", size=8, precision="float32")
    field = config.build(Dataset("sorted", torch.cat([alike, noise]))).field
    assert field.wiener is not None
    variances = field.wiener.variances
    assert float(variances.max() / variances.sum()) == pytest.approx(0.5 + 0.5 / 9, abs=0.05)


def test_no_field_errs_less_than_the_conditional_mean() -> None:
    """The minimiser of the regression is E[u - e | x_t]: every change of it makes the error larger."""
    generator = _generator(1)
    u = _gaussian_images(20_000, generator)
    noise = torch.randn(u.shape, generator=generator, dtype=torch.float64)
    t = stratified_times(len(u), 0.0, 1.0, generator)
    best = gaussian_field(SHAPE)

    class Changed(torch.nn.Module):
        def __init__(self, change: float, bend: float) -> None:
            super().__init__()
            self.change, self.bend = change, bend

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            told: Tensor = best.network(x, t)
            return told + self.change + self.bend * torch.sin(3 * x)

    least = float(velocity_errors(best, u, noise, t).mean())
    for change, bend in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        assert float(velocity_errors(VelocityField(Changed(change, bend)).double(), u, noise, t).mean()) > least
    x = moved(noise, u, t)
    slow = (best(x, t) - (u - noise)).square().flatten(1).mean(1) * (t.square() + (1 - t).square())
    torch.testing.assert_close(velocity_errors(best, u, noise, t), slow)


def test_a_trained_field_denoises_gaussian_images_as_their_posterior_mean() -> None:
    field = initialised(lambda: VelocityField(VelocityMLP(SHAPE, width=32, depth=2)), 0)
    u = _gaussian_images(4000, _generator(2)).float()
    settings = RegressionSettings(batch_size=200, adam=AdamSettings(0.005, 0.9, 0.99), times=(0.0, 1.0), grain=0.0)
    learner = VelocityRegression(field, u[:64], settings=settings)
    list(train(learner, Dataset("gaussian", u), Budget(images=120_000)))
    y = u[:500] + 0.7 * torch.randn(500, *SHAPE, generator=_generator(3))
    mean, variance = (each.float() for each in made_gaussian(SHAPE))
    expected = mean + variance / (variance + 0.49) * (y - mean)
    trained = learner.average.network
    assert isinstance(trained, VelocityField)
    found = FlowMatchingPrior(trained, SHAPE).denoise(y, 0.7)
    off = float((found - expected).square().mean().sqrt())
    assert off < 0.07
    assert off < 0.15 * float((y - expected).square().mean().sqrt())


def test_training_lowers_the_error_and_looks_at_held_out_images() -> None:
    data = _data()
    steps = list(train(_learner(held_out=load_data("digits[100:130]", size=(8, 8))), data, Budget(images=20 * 120)))
    first, last = steps[0].record, steps[-1].record
    assert float(last["loss"]) < 0.9 * float(first["loss"])
    assert 0.8 < float(first["held_out_error"]) < 1.3  # of a network that says next to nothing
    assert float(last["held_out_error"]) < float(first["held_out_error"])
    assert float(last["held_out_best"]) <= float(last["held_out_error"])
    assert {f"error_at_{t}" for t in LOOK_TIMES} <= last.keys()
    assert torch.equal(steps[50].record["held_out_error"], first["held_out_error"])
    assert "held_out_error" not in next(iter(train(_learner(), data, Budget(images=20)))).record


def test_a_resumed_learner_goes_on_as_if_nothing_had_happened() -> None:
    data, whole, first, second = _data(), _learner(), _learner(), _learner()
    budget = Budget(images=20 * 12)
    *_, last = train(whole, data, budget)
    for step in train(first, data, budget):
        if step.images_seen == 20 * 5:
            break
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    *_, resumed = train(second, data, budget, images_seen=20 * 5)
    assert not [name for name, value in whole.state_dict().items() if not torch.equal(second.state_dict()[name], value)]
    assert all(torch.equal(resumed.record[name], value) for name, value in last.record.items())


def test_the_rate_is_halved_for_good() -> None:
    learner, data = _learner(), _data()
    assert learner.slow_down() == 0.5
    indices = torch.arange(20)
    record = learner.update(Batch(data.take(indices), indices), 0.05, _generator())
    assert float(record["learning_rate"]) == pytest.approx(0.5 * learner.settings.adam.learning_rate)
    other = _learner()
    other.load_state_dict(learner.state_dict())
    assert other.pace.share == 0.5


def test_points_need_a_network_for_points() -> None:
    ring = load_data("ring:count=500")
    with pytest.raises(GenpriorError, match="take --model mlp"):
        FlowMatchingConfig(data="ring").build(ring)
    learner = FlowMatchingConfig(preset="flow-points", batch_size=50, precision="float32").build(ring)
    *_, last = train(learner, ring, Budget(images=500))
    assert math.isfinite(float(last.record["loss"]))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GenpriorError, match=r"for images of shape \(1, 8, 8\)"):
        _learner().check(load_data("digits[:30]", size=(10, 10)))
    with pytest.raises(GenpriorError, match="is more than the 100 images"):
        _learner(batch_size=101).check(_data())
