"""Two-player training: whose weights move when, on what, what is recorded, what is refused, and going on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load as unpack
from safetensors.torch import save as pack
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.models import dcgan, mlp
from genprior.models.players import Players
from genprior.seeding import initialised
from genprior.training.adversarial import GAN, AdversarialSettings
from genprior.training.loop import Batch, Budget, Step, train
from genprior.training.losses import LOSSES, AdversarialLoss
from genprior.training.optimisation import AdamSettings
from genprior.training.processes import Placement

SHAPE = (1, 8, 8)
RECORD = {
    "discriminator_loss",
    "generator_loss",
    "real_logit_mean",
    "real_logit_std",
    "fake_logit_mean",
    "fake_logit_std",
    "d_real",
    "d_fake",
    "accuracy_real",
    "accuracy_fake",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
    "non_finite_logits",
    "non_finite_gradients",
    "loss_factor",
    "discriminator_slope",
    "generator_jacobian",
    "effective_share",
}
State = dict[str, Tensor]
every_loss = pytest.mark.parametrize("loss", LOSSES)


def _images(count: int = 20, low: int = 0, high: int = 255, shape: tuple[int, ...] = SHAPE) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(low, high + 1, (count, *shape), dtype=torch.uint8, generator=generator)
    return Dataset("noise", images)


def _floats(low: float, high: float, count: int = 20) -> Dataset:
    return Dataset("floats", torch.linspace(low, high, count * 64).view(count, *SHAPE))


def _small_players(seed: int = 0) -> Players:
    return initialised(lambda: Players(dcgan.DCGANGenerator(SHAPE, 5, 4), dcgan.dcgan_discriminator(SHAPE, 4)), seed)


def _gan(seed: int = 0, dtype: torch.dtype = torch.float32, loss: str = "non-saturating", turns: int = 2) -> GAN:
    settings = AdversarialSettings(batch_size=6, discriminator_updates=turns)
    return GAN(_small_players(seed), LOSSES[loss](), settings, Placement(dtype))


def _snapshot(gan: GAN) -> State:
    return {name: value.clone() for name, value in gan.state_dict().items()}


def _batch(gan: GAN, data: Dataset) -> Batch:
    indices = torch.arange(gan.images_per_update) % len(data)
    return Batch(data.take(indices), indices)


def _update(gan: GAN, data: Dataset, seed: int = 0) -> State:
    return gan.update(_batch(gan, data), 0.0, torch.Generator().manual_seed(seed))


def _assert_bit_equal(got: State, expected: State) -> None:
    assert got.keys() == expected.keys()
    different = [name for name, value in expected.items() if not torch.equal(got[name], value)]
    assert not different


# Going on from a saved state.

TRANSPORTS: dict[str, Callable[[State], State]] = {
    "as it is": lambda state: state,
    "contiguous copies": lambda state: {k: v.clone().contiguous() for k, v in state.items()},
    "safetensors": lambda state: unpack(pack({k: v.contiguous() for k, v in state.items()})),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_going_on_from_a_state_equals_an_uninterrupted_run(dtype: torch.dtype, transport: str) -> None:
    data, whole, rest = _images(), _gan(0, dtype), _gan(1, dtype)
    records = []
    for step in train(whole, data, Budget(images=72), seed=3):
        records.append(step.record)
        if step.images_seen == 36:
            rest.load_state_dict(TRANSPORTS[transport](_snapshot(whole)))
    resumed = [step.record for step in train(rest, data, Budget(images=72), seed=3, images_seen=36)]
    _assert_bit_equal(rest.state_dict(), whole.state_dict())
    z = whole.latents(4, torch.Generator().manual_seed(0))
    assert torch.equal(rest.sample(z), whole.sample(z))
    for got, expected in zip(resumed, records[3:], strict=True):
        _assert_bit_equal(got, expected)


def test_a_state_holds_both_players_the_average_both_optimisers_and_turns() -> None:
    gan = _gan()
    groups = {"generator", "discriminator", "average", "turns"}
    assert {name.partition("/")[0] for name in gan.state_dict()} == groups
    list(train(gan, _images(), Budget(images=1)))
    names = gan.state_dict().keys()
    assert {name.partition("/")[0] for name in names} == groups | {"generator_adam", "discriminator_adam"}
    assert "generator/layers.0.weight" in names
    assert "average/layers.1.running_mean" in names
    assert "discriminator_adam/head.weight/exp_avg" in names


def test_training_needs_no_more_than_the_state_after_loading_over_a_trained_one() -> None:
    """What an algorithm has learned before leaves no trace once a state is loaded."""
    data, first, second = _images(), _gan(), _gan()
    start = _snapshot(first)
    list(train(second, data, Budget(images=36), seed=9))
    second.load_state_dict(start)
    for gan in (first, second):
        list(train(gan, data, Budget(images=24), seed=3))
    _assert_bit_equal(second.state_dict(), first.state_dict())


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = _gan(), _gan()
    for gan in (first, second):
        list(train(gan, _images(), Budget(images=36), seed=3))
    _assert_bit_equal(first.state_dict(), second.state_dict())


def test_another_seed_gives_another_run() -> None:
    first, second = _gan(), _gan()
    list(train(first, _images(), Budget(images=12), seed=3))
    list(train(second, _images(), Budget(images=12), seed=4))
    name = "generator/layers.0.weight"
    assert not torch.equal(first.state_dict()[name], second.state_dict()[name])


def test_an_update_uses_no_random_numbers_but_those_it_is_given() -> None:
    gan, before = _gan(), torch.get_rng_state()
    _update(gan, _images())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weights_and_records_stay_in_float32(dtype: torch.dtype) -> None:
    gan = _gan(dtype=dtype)
    record = _update(gan, _images())
    factors = {"loss_factor", "discriminator_slope", "generator_jacobian", "effective_share"}  # may fall below float32
    plain = [value for name, value in record.items() if name not in factors]
    floating = [v.dtype for v in [*gan.state_dict().values(), *plain] if v.is_floating_point()]
    assert set(floating) == {torch.float32}


# Who moves when, and on what.


@dataclass(frozen=True)
class Moment:
    """What was the case just before an optimiser's step."""

    is_discriminator: bool
    discriminator: list[Tensor]
    generator: list[Tensor]
    discriminator_gradients: list[Tensor | None]
    generator_gradients: list[Tensor | None]


def _copies(values: list[Tensor | None]) -> list[Tensor | None]:
    return [None if value is None else value.clone() for value in values]


def _moments(gan: GAN, data: Dataset) -> list[Moment]:
    """One update, seen before each of its steps."""
    moments: list[Moment] = []
    players = list(gan.discriminator.parameters()), list(gan.generator.parameters())

    def look(optimiser: torch.optim.Optimizer, *_: object) -> None:
        owned = {id(p) for group in optimiser.param_groups for p in group["params"]}
        owners = [{id(p) for p in player} == owned for player in players]
        assert sum(owners) == 1, "an optimiser owns the weights of one player, all of them"
        weights = [[p.detach().clone() for p in player] for player in players]
        gradients = [_copies([p.grad for p in player]) for player in players]
        moments.append(Moment(owners[0], *weights, *gradients))

    handle = register_optimizer_step_pre_hook(look)
    try:
        _update(gan, data)
    finally:
        handle.remove()
    return moments


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_discriminator_moves_as_often_as_asked_and_then_the_generator_once(turns: int) -> None:
    moments = _moments(_gan(turns=turns), _images())
    assert [moment.is_discriminator for moment in moments] == [True] * turns + [False]


def test_the_generator_gets_no_gradient_from_the_updates_of_the_discriminator() -> None:
    *before, last = _moments(_gan(), _images())
    for moment in before:
        assert moment.generator_gradients == [None] * len(moment.generator)
        torch.testing.assert_close(moment.generator, last.generator, rtol=0, atol=0)
    assert all(gradient is not None for gradient in last.generator_gradients)


def test_the_discriminator_gets_neither_gradient_nor_step_from_the_update_of_the_generator() -> None:
    gan = _gan()
    *_, before, last = _moments(gan, _images())
    after = [p.detach() for p in gan.discriminator.parameters()]
    torch.testing.assert_close(last.discriminator, after, rtol=0, atol=0)
    torch.testing.assert_close(last.discriminator_gradients, before.discriminator_gradients, rtol=0, atol=0)
    assert all(p.requires_grad for p in gan.discriminator.parameters())


def test_gradients_do_not_pile_up_from_step_to_step() -> None:
    first, second = _gan(), _gan()
    expected = _moments(first, _images())
    for parameter in [*second.discriminator.parameters(), *second.generator.parameters()]:
        parameter.grad = torch.full_like(parameter, 1e3)
    got = _moments(second, _images())
    for ours, theirs in zip(got, expected, strict=True):
        which = "discriminator_gradients" if ours.is_discriminator else "generator_gradients"
        torch.testing.assert_close(getattr(ours, which), getattr(theirs, which), rtol=0, atol=0)


def _seen_by_the_discriminator(gan: GAN, batch: Batch) -> list[Tensor]:
    seen: list[Tensor] = []
    handle = gan.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    gan.update(batch, 0.0, torch.Generator().manual_seed(0))
    handle.remove()
    return seen


def test_every_turn_sees_real_images_of_its_own_and_the_last_fakes_train_the_generator() -> None:
    gan = _gan(turns=3)
    batch = _batch(gan, _images())
    *turns, last = _seen_by_the_discriminator(gan, batch)
    torch.testing.assert_close(torch.cat([both[:6] for both in turns]), batch.images)
    fakes = [both[6:] for both in turns]
    assert all(not torch.equal(first, second) for first, second in pairwise(fakes))
    torch.testing.assert_close(last, fakes[-1], rtol=0, atol=0)


def test_an_update_counts_all_its_images() -> None:
    assert _gan(turns=3).images_per_update == 18


def test_samples_come_from_the_averaged_generator_in_evaluation_mode() -> None:
    gan = _gan()
    list(train(gan, _images(), Budget(images=60)))
    z = gan.latents(4, torch.Generator().manual_seed(0))
    x = gan.sample(z)
    torch.testing.assert_close(x, gan.average.network(z), rtol=0, atol=0)
    torch.testing.assert_close(gan.sample(z[:1]), x[:1])
    assert not torch.equal(x, gan.generator(z))
    assert gan.generator.training


# The record of a step.


def _hand_made_players(v: float, w: float, b: float) -> Players:
    """x = v z and logit = w x + b, on images of one pixel."""

    class Scale(nn.Module):
        latent_size, image_shape, output_range = 1, (1, 1, 1), (-math.inf, math.inf)

        def __init__(self) -> None:
            super().__init__()
            self.v = nn.Parameter(torch.tensor(v))

        def forward(self, z: Tensor) -> Tensor:
            return (self.v * z)[:, :, None, None]

    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b = nn.Parameter(torch.tensor(w)), nn.Parameter(torch.tensor(b))

        def forward(self, x: Tensor, parts: int = 1) -> Tensor:
            return self.w * x[:, 0, 0, 0] + self.b

    return Players(Scale(), Line())


def _relativistic() -> AdversarialLoss:
    return AdversarialLoss(lambda real, fake: F.softplus(fake - real), lambda real, fake: F.softplus(real - fake))


@pytest.mark.parametrize(
    ("loss", "slopes", "generator_slope"),
    [
        # Derivatives by real and fake logits of the discriminator's loss, and by fake ones of the generator's.
        (
            LOSSES["non-saturating"](),
            lambda real, fake: (torch.sigmoid(real) - 1, torch.sigmoid(fake)),
            lambda real, fake: torch.sigmoid(fake) - 1,
        ),
        (
            _relativistic(),
            lambda real, fake: (-torch.sigmoid(fake - real), torch.sigmoid(fake - real)),
            lambda real, fake: -torch.sigmoid(real - fake),
        ),
    ],
    ids=["non-saturating", "relativistic"],
)
def test_the_record_equals_a_computation_by_hand(
    loss: AdversarialLoss,
    slopes: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    generator_slope: Callable[[Tensor, Tensor], Tensor],
) -> None:
    v, w, b, rate = 0.7, -1.3, 0.2, 0.25
    gan = GAN(
        _hand_made_players(v, w, b),
        loss,
        AdversarialSettings(4, 1, AdamSettings(rate), AdamSettings(rate)),
        Placement(torch.float64),
    )
    v, w, b = (float(torch.tensor(value)) for value in (v, w, b))  # parameters were made in float32
    x = torch.tensor([-1.0, 0.5, 2.0, 4.0], dtype=torch.float64)
    z = torch.randn(4, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))[:, 0]
    record = gan.update(Batch(x[:, None, None, None], torch.arange(4)), 0.0, torch.Generator().manual_seed(0))

    real, fake = w * x + b, w * v * z + b
    by_real, by_fake = slopes(real, fake)
    by_w, by_b = (by_real * x + by_fake * v * z).mean(), (by_real + by_fake).mean()
    # The first step of Adam is the learning rate against the sign of the gradient.
    new_w, new_b = w - rate * by_w / (by_w.abs() + 1e-8), b - rate * by_b / (by_b.abs() + 1e-8)
    new_fake = new_w * v * z + new_b
    by_v = (generator_slope(real, new_fake) * new_w * z).mean()
    expected = {
        "discriminator_loss": loss.discriminator(real, fake).mean(),
        "generator_loss": loss.generator(real, new_fake).mean(),
        "real_logit_mean": real.mean(),
        "real_logit_std": ((real - real.mean()).square().sum() / 3).sqrt(),
        "fake_logit_mean": fake.mean(),
        "fake_logit_std": ((fake - fake.mean()).square().sum() / 3).sqrt(),
        "d_real": (1 / (1 + torch.exp(-real))).mean(),
        "d_fake": (1 / (1 + torch.exp(-fake))).mean(),
        "accuracy_real": (real > loss.equilibrium_logit).double().mean(),
        "accuracy_fake": (fake <= loss.equilibrium_logit).double().mean(),
        "discriminator_gradient_norm": torch.stack([by_w, by_b]).norm(),
        "generator_gradient_norm": by_v.abs(),
        "non_finite_logits": torch.tensor(0),
        "non_finite_gradients": torch.tensor(0),
    }
    torch.testing.assert_close({name: record[name] for name in expected}, expected)
    torch.testing.assert_close([p.detach() for p in gan.discriminator.parameters()], [new_w, new_b])
    (new_v,) = (p.detach() for p in gan.generator.parameters())
    torch.testing.assert_close(new_v, v - rate * by_v / (by_v.abs() + 1e-8))


def test_the_record_is_that_of_the_last_turn() -> None:
    gan = _gan(turns=3)
    logits: list[Tensor] = []
    gan.discriminator.register_forward_hook(lambda _, inputs, out: logits.append(out.detach()))
    record = _update(gan, _images())
    torch.testing.assert_close(record["real_logit_mean"], logits[2][:6].mean())
    torch.testing.assert_close(record["fake_logit_mean"], logits[2][6:].mean())
    torch.testing.assert_close(record["generator_loss"], F.softplus(-logits[3]).mean())


def test_a_logit_of_zero_calls_an_image_fake() -> None:
    gan = GAN(_hand_made_players(1.0, 0.0, 0.0), LOSSES["hinge"](), AdversarialSettings(4, 1))
    record = _update(gan, Dataset("points", torch.ones(4, 1, 1, 1)))
    assert (float(record["accuracy_real"]), float(record["accuracy_fake"])) == (0.0, 1.0)
    assert (float(record["d_real"]), float(record["d_fake"])) == (0.5, 0.5)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_record_holds_finite_scalars_under_known_names(dtype: torch.dtype, loss: str) -> None:
    for step in train(_gan(dtype=dtype, loss=loss), _images(), Budget(images=36)):
        assert step.record.keys() == RECORD
        for name, value in step.record.items():
            assert value.shape == (), name
            assert not value.requires_grad, name
            assert torch.isfinite(value), name
        assert int(step.record["non_finite_logits"]) == int(step.record["non_finite_gradients"]) == 0
        for name in ("d_real", "d_fake", "accuracy_real", "accuracy_fake"):
            assert 0 <= float(step.record[name]) <= 1


def _point_gan() -> GAN:
    players = initialised(
        lambda: Players(mlp.MLPGenerator((2, 1, 1), 2, 8, 2), mlp.MLPDiscriminator((2, 1, 1), 8, 2)), 0
    )
    return GAN(players, LOSSES["non-saturating"](), AdversarialSettings(6, 1))


def _points(count: int = 6) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    return Dataset("points", torch.randn(count, 2, 1, 1, generator=generator))


def _ill_gradients(network: nn.Module) -> int:
    """Number of parameters whose newest gradient is not finite, at least one."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    count = sum(not bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert count > 0
    return count


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_weight_that_is_not_finite_is_counted(player: str) -> None:
    gan = _point_gan()
    next(getattr(gan, player).parameters()).data[0, 0] = torch.nan
    record = _update(gan, _points())
    assert int(record["non_finite_logits"]) == {"generator": 6, "discriminator": 12}[player]
    assert int(record["non_finite_gradients"]) == _ill_gradients(gan.discriminator) + _ill_gradients(gan.generator)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_real_value_that_is_not_finite_is_counted(value: float) -> None:
    gan, data = _point_gan(), _points()
    data.images[2, 0] = value
    record = _update(gan, data)
    assert int(record["non_finite_logits"]) == 1
    assert int(record["non_finite_gradients"]) == _ill_gradients(gan.discriminator) + _ill_gradients(gan.generator)
    assert not torch.isfinite(record["discriminator_loss"])


# What does not fit is refused.


class TanhGenerator(dcgan.DCGANGenerator):
    """A generator for images in [-1, 1], which says so."""

    output_range = (-1.0, 1.0)

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__(image_shape, 20, 16)
        self.layers[-1] = nn.Tanh()


class WronglyLabelledGenerator(TanhGenerator):
    """The same, which says that it stays in [0, 1]."""

    output_range = (0.0, 1.0)


def _with(generator: Callable[[], nn.Module], seed: int = 0) -> GAN:
    players = initialised(lambda: Players(generator(), mlp.MLPDiscriminator(SHAPE, 4, 1)), seed)
    return GAN(players, LOSSES["hinge"](), AdversarialSettings(6, 1))


RANGES = [(0, 255), (0, 40), (200, 255), (110, 150)]  # of images: all, dark, light, flat


@pytest.mark.parametrize("bounds", RANGES, ids=str)
@pytest.mark.parametrize("kind", [TanhGenerator, WronglyLabelledGenerator])
def test_a_tanh_generator_is_refused_for_images(kind: type[TanhGenerator], bounds: tuple[int, int]) -> None:
    shape = (1, 28, 28)
    for seed in range(8):  # the first images of many are all a little above 0, or all a little below
        with pytest.raises(GenpriorError, match=r"^data: the generator.* sigmoid .*tanh"):
            _with(partial(kind, shape), seed).check(_images(20, *bounds, shape=shape))


@pytest.mark.parametrize("bounds", RANGES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_sigmoid_generator_is_accepted_for_all_images(seed: int, bounds: tuple[int, int]) -> None:
    _with(lambda: dcgan.DCGANGenerator(SHAPE, 5, 4), seed).check(_images(20, *bounds))


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 255.0), (-0.1, 0.9), (0.1, 1.1)], ids=str)
def test_floats_beyond_what_the_generator_reaches_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(GenpriorError, match=r"^data: floats spans .* reaches only 0 to 1; scale the data$"):
        _with(lambda: dcgan.DCGANGenerator(SHAPE, 5, 4)).check(_floats(*bounds))


def test_a_value_out_of_range_is_found_wherever_it_stands() -> None:
    data = _floats(0.0, 1.0, count=1500)
    data.images[-1] = 2.0
    with pytest.raises(GenpriorError, match=r"^data: floats spans 0 to 2,"):
        _with(lambda: dcgan.DCGANGenerator(SHAPE, 5, 4)).check(data)


def test_floats_in_the_range_of_the_generator_are_accepted() -> None:
    _with(lambda: dcgan.DCGANGenerator(SHAPE, 5, 4)).check(_floats(0.0, 1.0))
    _with(lambda: TanhGenerator(SHAPE)).check(_floats(-1.0, 1.0))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 9)], ids=str)
def test_images_of_another_shape_are_refused(shape: tuple[int, int, int]) -> None:
    expected = r"^data: the generator makes images of shape \(1, 8, 8\), noise has \({}, {}, {}\)$"
    with pytest.raises(GenpriorError, match=expected.format(*shape)):
        next(train(_gan(), _images(shape=shape), Budget(images=10**6)))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^batch_size: 6 is more than the 5 images of noise$"):
        next(train(_gan(), _images(5), Budget(images=10**6)))


def test_a_batch_as_large_as_the_data_is_accepted() -> None:
    assert next(train(_gan(), _images(6), Budget(images=10**6))).images_seen == 12


def test_a_check_changes_nothing() -> None:
    gan = _gan()
    before = _snapshot(gan)
    gan.check(_images())
    _assert_bit_equal(gan.state_dict(), before)


# Learning, as a whole.


def _points_run(loss: str, images: int) -> tuple[GAN, list[Step]]:
    data = load_data("ring:count=2000")
    gan = GANConfig(preset="points", loss=loss, batch_size=64, precision="float32").build(data)
    return gan, list(train(gan, data, Budget(images=images))) if images else []


@pytest.mark.filterwarnings("ignore:nothing bounds the slope:UserWarning")
@every_loss
def test_every_loss_trains_points_on_the_ring(loss: str) -> None:
    gan, steps = _points_run(loss, 64 * 20)
    start, _ = _points_run(loss, 0)
    assert all(torch.isfinite(value) for step in steps for value in step.record.values())
    for name, value in gan.generator.named_parameters():
        assert not torch.equal(value, dict(start.generator.named_parameters())[name]), name


def test_points_reach_the_ring() -> None:
    """Eight modes on the unit circle: untrained samples lie near its middle, trained ones on it."""
    distances = []
    for images in (0, 64 * 300):
        gan, _ = _points_run("non-saturating", images)
        x = gan.sample(gan.latents(500, torch.Generator().manual_seed(0)))
        distances.append(float((x.flatten(1).norm(dim=1) - 1).abs().mean()))
    assert distances[0] > 0.7
    assert distances[1] < 0.2
