"""Distillation: damage as promised, whose weights move, on what, going on, and that it learns."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.families import GANConfig
from genprior.models import dcgan, mlp
from genprior.models.latent_encoder import Encoder
from genprior.training.distillation import MISSING, NOISE, Distillation, damaged
from genprior.training.loop import Batch, Budget, train
from genprior.training.optimisation import SCHEDULES, annealed
from genprior.training.processes import Placement

IMAGE, POINT = (1, 8, 8), (2, 1, 1)
RECORD = {"image_error", "latent_error", "energy", "gradient_norm", "non_finite_gradients"}
every_shape = pytest.mark.parametrize("shape", [IMAGE, (3, 8, 8), POINT], ids=str)
every_image = pytest.mark.parametrize("shape", [IMAGE, (3, 12, 12), (1, 7, 9)], ids=str)


def _generator(shape: tuple[int, int, int]) -> nn.Module:
    torch.manual_seed(0)
    return mlp.MLPGenerator(shape, 5, 16, 2) if shape == POINT else dcgan.DCGANGenerator(shape, 5, 4)


def _distillation(shape: tuple[int, int, int] = IMAGE, pairs: int = 6, seed: int = 0) -> Distillation:
    generator = _generator(shape)
    torch.manual_seed(seed)
    return Distillation(Encoder(shape, 5, width=4), generator, batch_size=12, pairs=pairs)


def _data(shape: tuple[int, int, int] = IMAGE, count: int = 30) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    if shape == POINT:
        return Dataset("points", torch.randn(count, *shape, generator=generator))
    return Dataset("noise", torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator))


def _update(algorithm: Distillation, data: Dataset, seed: int = 0, progress: float = 0.0) -> dict[str, Tensor]:
    indices = torch.arange(algorithm.images_per_update)
    return algorithm.update(Batch(data.take(indices), indices), progress, torch.Generator().manual_seed(seed))


def _values(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _assert_bit_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(got[name], value)]


# Whose weights move.


@every_shape
def test_every_parameter_of_the_encoder_gets_a_gradient_and_moves(shape: tuple[int, int, int]) -> None:
    algorithm = _distillation(shape)
    before = _values(algorithm.encoder)
    for seed in range(2):  # the first update may meet dead units
        _update(algorithm, _data(shape), seed)
    for name, parameter in algorithm.encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert not torch.equal(parameter, before[name]), name


@every_shape
def test_the_generator_stays_as_it_is(shape: tuple[int, int, int]) -> None:
    algorithm = _distillation(shape)
    before = _values(algorithm.generator)
    for _ in train(algorithm, _data(shape), Budget(images=60)):
        pass
    _assert_bit_equal(dict(algorithm.generator.state_dict()), before)
    assert all(parameter.grad is None for parameter in algorithm.generator.parameters())
    assert not any(module.training for module in algorithm.generator.modules())


@pytest.mark.parametrize("pairs", [0, 6])
def test_the_record_holds_finite_scalars_without_a_graph(pairs: int) -> None:
    record = _update(_distillation(pairs=pairs), _data())
    assert record.keys() == RECORD
    for name, value in record.items():
        assert value.shape == (), name
        assert torch.isfinite(value), name
        assert not value.requires_grad, name


def test_gradients_that_are_not_finite_are_counted() -> None:
    algorithm = _distillation()
    with torch.no_grad():
        next(algorithm.encoder.parameters()).fill_(torch.inf)
    assert _update(algorithm, _data())["non_finite_gradients"] > 0


def test_bf16_keeps_weights_in_float32() -> None:
    torch.manual_seed(0)
    algorithm = Distillation(
        Encoder(IMAGE, 5, 4), _generator(IMAGE), batch_size=12, pairs=6, placement=Placement(torch.bfloat16)
    )
    record = _update(algorithm, _data())
    assert {p.dtype for p in algorithm.encoder.parameters()} == {torch.float32}
    expected = _update(_distillation(), _data())
    torch.testing.assert_close(record["image_error"], expected["image_error"], rtol=0.05, atol=0)


# The loss.


class _Linear(Encoder):
    """z = the first known pixels: the loss can be written down."""

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        self.last = x.flatten(1)[:, :5] * self.scale
        return self.last


def test_the_loss_is_that_of_the_most_probable_latent_plus_that_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.training.distillation.damaged", lambda x, _: (x, torch.ones_like(x[:, :1])))
    generator = _generator(IMAGE).eval()
    encoder = _Linear(IMAGE, 5, 4)
    encoder.scale = nn.Parameter(torch.tensor(0.7))
    algorithm = Distillation(encoder, generator, batch_size=12, pairs=6, sigma=0.3)
    losses: list[Tensor] = []
    monkeypatch.setattr(algorithm._descent, "step", lambda loss, rate: (losses.append(loss.detach()), (loss, loss))[1])
    data = _data()
    _update(algorithm, data, seed=3)
    real = data.take(torch.arange(12))
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        x = torch.cat([real, generator(z)])
        codes = 0.7 * x.flatten(1)[:, :5]
        misfit = (generator(codes) - x).square().sum() / 0.3**2
        expected = (misfit + codes[:12].square().sum() + (codes[12:] - z).square().sum()) / 5 / 18
    torch.testing.assert_close(losses[0], expected)


# Randomness, and going on.


def _trained(limit: int, seed: int = 0) -> Distillation:
    algorithm = _distillation()
    for step in train(algorithm, _data(), Budget(images=120), seed=seed):
        if step.images_seen >= limit:
            break
    return algorithm


def test_the_same_seed_gives_the_same_encoder() -> None:
    first, again, other = (_trained(60, seed).state_dict() for seed in (0, 0, 1))
    _assert_bit_equal(again, first)
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_an_update_uses_no_global_random_numbers() -> None:
    algorithm, data = _distillation(), _data()
    before = torch.get_rng_state()
    _update(algorithm, data)
    assert torch.equal(torch.get_rng_state(), before)


def test_going_on_from_a_saved_state_equals_training_through() -> None:
    half = {name: value.clone() for name, value in _trained(60).state_dict().items()}
    resumed = _distillation(seed=5)
    resumed.load_state_dict(half)
    list(train(resumed, _data(), Budget(images=120), images_seen=60))
    _assert_bit_equal(resumed.state_dict(), _trained(120).state_dict())


def test_images_of_another_shape_are_refused() -> None:
    expected = r"^data: the encoder reads images of shape \(1, 8, 8\), noise has \(1, 9, 9\)$"
    with pytest.raises(GenpriorError, match=expected):
        next(train(_distillation(), _data((1, 9, 9)), Budget(images=10**6)))


# The learning rate.


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_every_schedule_is_a_share_that_stays_at_the_end_of_the_budget(schedule: Callable[[float], float]) -> None:
    shares = [schedule(i / 1000) for i in range(1001)]
    assert max(shares) == pytest.approx(1)
    assert min(shares) >= 0
    assert schedule(1.5) == shares[-1]  # the last batch may go beyond the budget
    assert max(abs(later - earlier) for earlier, later in pairwise(shares)) < 0.03


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    shares = [annealed(i / 1000) for i in range(1001)]
    top = shares.index(max(shares))
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)
    assert 0 < shares[0] < 0.1
    assert max(shares) == pytest.approx(1)
    assert shares[-1] == annealed(1.5) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("used", [0.02, 0.5])
def test_the_step_follows_the_used_share(used: float) -> None:
    algorithm = _distillation()
    before = _values(algorithm.encoder)
    _update(algorithm, _data(), progress=used)
    # Adam's first step moves every weight by the learning rate, whatever its gradient.
    after = dict(algorithm.encoder.named_parameters())
    moved = max(float((value.detach() - before[name]).abs().max()) for name, value in after.items())
    assert moved == pytest.approx(algorithm.learning_rate * annealed(used), rel=1e-3)


# Damage.


def _damaged(shape: tuple[int, ...], count: int = 1200, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=generator)
    return x, *damaged(x.clone(), generator)


@every_image
def test_half_of_the_images_are_whole_and_half_of_all_noisy(shape: tuple[int, int, int]) -> None:
    x, y, known = _damaged(shape)
    assert known.shape == (1200, 1, *shape[1:])
    assert set(known.unique().tolist()) == {0.0, 1.0}
    whole, quiet = known.flatten(1).all(1), (x == y).flatten(1).all(1)
    assert 600 <= int(whole.sum()) < 660  # and some that by chance lack no pixel
    assert int(quiet.sum()) == 600
    assert [int(quiet[kind::6].sum()) for kind in range(6)] == [100] * 6


@every_image
def test_noise_has_every_deviation_up_to_the_largest(shape: tuple[int, int, int]) -> None:
    x, y, _ = _damaged(shape)
    deviations = (y - x).flatten(1).square().mean(1).sqrt()
    deviations = deviations[deviations > 0]
    assert deviations.max() < 1.3 * NOISE
    assert deviations.quantile(0.9) > 0.8 * NOISE
    assert float(deviations.mean()) == pytest.approx(NOISE / 2, rel=0.1)


def _unknown(shape: tuple[int, int, int], kind: int) -> Tensor:
    """(B, H, W), True where a pixel is unknown, of every sixth image."""
    return ~_damaged(shape)[2][kind::6, 0].bool()


@every_image
def test_random_pixels_are_missing_in_every_share(shape: tuple[int, int, int]) -> None:
    shares = _unknown(shape, 3).float().mean((1, 2))
    assert shares.min() < 0.1
    assert shares.max() > 0.75
    assert float(shares.mean()) == pytest.approx(MISSING / 2, rel=0.15)


@every_image
def test_boxes_are_whole_and_in_the_image(shape: tuple[int, int, int]) -> None:
    unknown = _unknown(shape, 4)
    rows, columns = unknown.any(2), unknown.any(1)
    assert torch.equal(unknown, rows[:, :, None] & columns[:, None, :])
    for lines in (rows, columns):
        edges = lines.float().diff(dim=1).abs().sum(1) + lines[:, 0] + lines[:, -1]
        assert (edges == 2).all()  # one stretch
        sides = lines.sum(1) / lines.shape[1]
        assert sides.min() >= 0.2
        assert sides.max() <= 0.8
        assert len(sides.unique()) >= 4


def test_half_of_the_boxes_are_centred() -> None:
    unknown = _unknown((1, 28, 28), 4)
    for lines in (unknown.any(2), unknown.any(1)):
        first, last = lines.int().argmax(1), lines.flip(1).int().argmax(1)
        centred = (first - last).abs() <= 1
        assert centred[::2].all()
        assert not centred[1::2].all()


@every_image
def test_halves_lie_on_all_four_sides(shape: tuple[int, int, int]) -> None:
    _, height, width = shape
    expected = torch.zeros(4, height, width, dtype=torch.bool)
    expected[0, : height // 2], expected[1, height - height // 2 :] = True, True
    expected[2, :, : width // 2], expected[3, :, width - width // 2 :] = True, True
    found = _unknown(shape, 5).unique(dim=0)
    assert {tuple(each.flatten().tolist()) for each in found} == {tuple(each.flatten().tolist()) for each in expected}


def test_a_point_is_never_damaged() -> None:
    x, y, known = _damaged(POINT)
    assert torch.equal(x, y)
    assert known.all()


def test_damage_leaves_its_argument_alone() -> None:
    x = torch.rand(24, *IMAGE)
    before = x.clone()
    damaged(x, torch.Generator().manual_seed(0))
    assert torch.equal(x, before)


# Learning, as a whole.


def _error(algorithm: Distillation, x: Tensor, known: Tensor | None = None) -> tuple[float, float]:
    """Mean squared errors of G(E(x)), and of G(0)."""
    encoder = algorithm.encoder.eval()
    with torch.no_grad():
        found = algorithm.generator(encoder.encode(x, known))
        constant = algorithm.generator(torch.zeros(1, encoder.latent_size))
    return float((found - x).square().mean()), float((constant - x).square().mean())


def _learn(algorithm: Distillation, data: Dataset, images: int) -> None:
    list(train(algorithm, data, Budget(images=images)))


def test_points_find_their_way_back() -> None:
    data = load_data("ring:count=2000")
    gan = GANConfig(preset="points", batch_size=64, precision="float32").build(data)
    for _ in train(gan, data, Budget(images=64 * 150)):
        pass
    torch.manual_seed(0)
    algorithm = Distillation(Encoder(POINT, 2), gan.average.network)
    _learn(algorithm, data, 64 * 150)
    error, constant = _error(algorithm, data.take(torch.arange(500)))
    assert constant > 0.3
    assert error < 0.1 * constant


def test_pictures_of_the_generator_find_their_way_back_whole_and_damaged() -> None:
    generator = _generator(IMAGE).eval()
    with torch.no_grad():
        generator.layers[-2].weight.mul_(20)  # else all its pictures are alike
        x = generator(torch.randn(1200, 5))
    data = Dataset("made", (255 * x).round().to(torch.uint8))
    torch.manual_seed(0)
    algorithm = Distillation(Encoder(IMAGE, 5, width=16), generator)
    _learn(algorithm, Dataset("made", data.images[:1000]), 64 * 150)
    unseen = data.take(torch.arange(1000, 1200))
    error, constant = _error(algorithm, unseen)
    assert error < 0.2 * constant
    known = torch.ones(1, 1, 8, 8)
    known[..., :4] = 0
    half, _ = _error(algorithm, unseen, known)
    assert error < half < 0.7 * constant
