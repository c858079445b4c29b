"""The outer problem where its answer is known: closed forms of value and divergence, and of angles."""

import math

import pytest
import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.minmax_problems import Gradients, agreement_of, gradients, judge, oppose, seen_together
from genprior.diagnosis.one_player import Agreement, Judgement, Opposed, OuterMoment
from genprior.diagnosis.retraining import LoneTraining
from genprior.models import dcgan, mlp
from genprior.models.discriminator_parts import Packed
from genprior.seeding import initialised
from genprior.training.losses import AdversarialLoss, non_saturating, saturating
from genprior.training.optimisation import AdamSettings

POINT = (2, 1, 1)


class Shift(nn.Module):
    """z (B, 2) -> z + shift, points (B, 2, 1, 1)."""

    latent_size = 2

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([shift, 0.0]))

    def forward(self, z: Tensor) -> Tensor:
        return (z + self.shift)[:, :, None, None]


class Linear(nn.Module):
    """x -> sign * w x for each `pack` points that follow one another."""

    def __init__(self, w: tuple[float, float], sign: float = 1.0, pack: int = 1) -> None:
        super().__init__()
        self.w, self.sign, self.pack = nn.Parameter(torch.tensor(w)), sign, pack

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return self.sign * (x.flatten(1) @ self.w).view(-1, self.pack).sum(1)


def _normal(count: int, seed: int) -> Tensor:
    return torch.randn(count, *POINT, generator=torch.Generator().manual_seed(seed))


def _gradients(discriminator: nn.Module, loss: AdversarialLoss, count: int = 12) -> Gradients:
    z = _normal(count, 1).flatten(1)
    return gradients(Shift(0.0), discriminator, loss, z, _normal(count, 2))


def _divergence_of_shifted_normals(shift: float) -> float:
    """JSD of N(0, 1) and N(shift, 1) in nats, by the trapezium rule."""
    x = torch.linspace(-12, 12 + shift, 20_001, dtype=torch.float64)
    p, q = (torch.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (0.0, shift))
    terms = [torch.trapezoid(each * torch.log(2 * each / (p + q)).nan_to_num(), x) for each in (p, q)]
    return float(sum(terms)) / 2


def test_a_discriminator_that_is_certain_and_right_estimates_log_2() -> None:
    told = judge(Linear((50.0, 0.0)), torch.ones(6, *POINT), -torch.ones(6, *POINT))
    assert (told.accuracy, told.value) == (1.0, pytest.approx(0.0, abs=1e-9))
    assert told.divergence == pytest.approx(math.log(2))


def test_a_discriminator_that_knows_nothing_estimates_0() -> None:
    told = judge(Linear((0.0, 0.0)), _normal(6, 0), _normal(6, 1))
    assert told.accuracy == 0.5
    assert told.value == pytest.approx(-math.log(4))
    assert told.divergence == pytest.approx(0.0, abs=1e-7)


def test_the_best_discriminator_of_two_normals_estimates_their_divergence() -> None:
    """log p/q of N(0, 1) and N(2, 1) in the first coordinate is 2 - 2 x."""

    class Best(nn.Module):
        def forward(self, x: Tensor, parts: int = 1) -> Tensor:
            return 2 - 2 * x[:, 0, 0, 0]

    told = judge(Best(), _normal(20_000, 0), Shift(2.0)(_normal(20_000, 1).flatten(1)))
    assert told.divergence == pytest.approx(_divergence_of_shifted_normals(2.0), abs=0.01)
    assert told.accuracy == pytest.approx(0.8413, abs=0.01)


def _moments(shift: float, steps: int = 150, **changes: object) -> list[OuterMoment]:
    def fresh(width: int, seed: int) -> nn.Module:
        return initialised(lambda: mlp.MLPDiscriminator(POINT, width, 2), seed)

    fresh_ones = {"small": fresh(4, 0), "strong": fresh(32, 0), "again": fresh(32, 1)}
    data = Dataset("normal", _normal(2000, 0))
    held_out = _normal(changes.pop("samples", 1200), 5)
    training = LoneTraining(AdamSettings(0.01), steps, 60, **changes)
    return list(oppose(Shift(shift), fresh_ones, "strong", data, held_out, non_saturating(), training))


def _opposed(moments: list[OuterMoment], strong: str = "strong") -> Opposed:
    return Opposed(images_seen=0, strong=strong, moments=moments)


def _valued(step: int, value: float, cosines: dict[str, Agreement] | None = None) -> OuterMoment:
    told = {"s": Judgement(accuracy=0.5, value=value, error=0.0)}
    return OuterMoment(step=step, discriminators=told, cosines_with_strong=cosines or {})


def test_trained_discriminators_come_near_the_divergence_of_two_normals_and_agree() -> None:
    found = _opposed(_moments(2.0))
    assert found.best("strong").divergence == pytest.approx(_divergence_of_shifted_normals(2.0), abs=0.03)
    assert found.best("strong").accuracy == pytest.approx(0.84, abs=0.03)
    assert found.settled("again").weights > 0.99
    assert set(found.moments[0].cosines_with_strong) == {"small", "again"}


def test_nothing_is_told_of_a_generator_that_is_perfect() -> None:
    assert _opposed(_moments(0.0, 40)).best("strong").divergence == pytest.approx(0, abs=0.02)


def test_the_same_seed_gives_the_same_numbers_and_looking_changes_none() -> None:
    short, long = _moments(1.0, 4, samples=12), _moments(1.0, 16, samples=12)
    later = {each.step: each for each in long}
    assert [later[each.step] for each in short if each.step in (0, 1, 2, 4)] == [
        each for each in short if each.step in (0, 1, 2, 4)
    ]
    assert _moments(1.0, 4, samples=12, seed=1) != short


def test_the_generator_stays_as_it_was_in_either_mode() -> None:
    generator = initialised(lambda: dcgan.DCGANGenerator((1, 8, 8), 4, 4), 0)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    data = Dataset("noise", torch.randint(256, (24, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte())
    fresh = {"one": dcgan.dcgan_discriminator((1, 8, 8), 4)}
    training = LoneTraining(AdamSettings(0.01), 2, 4)
    list(oppose(generator, fresh, "one", data, data.some(8), saturating(), training, latents=4))
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(weight.grad is None for weight in generator.parameters())


def test_looking_does_not_change_a_discriminator_and_normalises_real_images_and_fakes_alike() -> None:
    discriminator = initialised(lambda: dcgan.dcgan_discriminator((1, 8, 8), 4), 0)
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    real = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    told = judge(discriminator, real, 0.5 * real)
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())
    logits = discriminator(torch.cat([real, 0.5 * real])).detach()
    expected = nn.functional.logsigmoid(torch.cat([logits[:8], -logits[8:]])).mean() * 2
    assert told.value == pytest.approx(float(expected), rel=1e-5)


class Sum(nn.Module):
    """x -> log p/q of a pack of N(0, 1) against N(1, 1) in the first coordinate, which is sum of 1/2 - x."""

    def __init__(self, pack: int) -> None:
        super().__init__()
        self.pack = pack

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return (0.5 - x[:, 0, 0, 0]).view(-1, self.pack).sum(1)


def test_packs_differ_more_than_images_and_of_images_never_too_much_is_told() -> None:
    truth = _divergence_of_shifted_normals(1.0)
    told = {m: judge(Sum(m), _normal(12_000, 0), Shift(1.0)(_normal(12_000, 1).flatten(1)).detach()) for m in (1, 4)}
    assert told[1].of_images == told[1].divergence == pytest.approx(truth, abs=0.015)
    of_four = _divergence_of_shifted_normals(2.0)  # of their means, doubled
    assert (told[4].together, told[4].divergence) == (4, pytest.approx(of_four, abs=0.02))
    assert told[4].of_images < truth


@pytest.mark.parametrize("pack", [1, 4])
def test_the_standard_error_is_the_spread_over_draws(pack: int) -> None:
    def drawn(seed: int) -> Judgement:
        return judge(Sum(pack), _normal(400, seed), Shift(1.0)(_normal(400, seed + 1000).flatten(1)).detach())

    told = [drawn(seed) for seed in range(200)]
    spread = float(torch.tensor([each.divergence for each in told]).std())
    assert sum(each.error for each in told) / 200 == pytest.approx(spread, rel=0.15)


def test_images_that_share_a_feature_are_taken_together() -> None:
    """Else logits of a group, which are nearly the same, would count as so many that are independent."""
    grouped = initialised(lambda: mlp.MLPDiscriminator(POINT, 8, 2, group=4), 0)
    assert (seen_together(grouped), seen_together(Packed(grouped, 3)), seen_together(Sum(7))) == (4, 12, 7)
    x = _normal(24, 0).repeat_interleave(4, 0)
    alone = initialised(lambda: mlp.MLPDiscriminator(POINT, 8, 2), 0)
    assert judge(grouped, x, -x).error > 0
    assert judge(Packed(grouped, 1), x, -x).together == 4
    assert judge(alone, x, -x).together == 1


# Angles.


def _agreement(weights: object, images: object) -> Agreement:
    """May hold what pytest compares with."""
    return Agreement.model_construct(weights=weights, images=images)


@pytest.mark.parametrize("loss", [saturating(), non_saturating()])
def test_the_same_discriminator_agrees_and_its_opposite_does_not(loss: AdversarialLoss) -> None:
    one, opposite = (_gradients(Linear((1.0, 2.0), sign), loss) for sign in (1.0, -1.0))
    assert agreement_of(one, one) == _agreement(pytest.approx(1), pytest.approx(1))
    assert agreement_of(one, opposite) == _agreement(pytest.approx(-1), pytest.approx(-1))


def test_orthogonal_slopes_have_cosine_0() -> None:
    found = agreement_of(*(_gradients(Linear(w), non_saturating()) for w in ((1.0, 0.0), (0.0, 3.0))))
    assert found == _agreement(pytest.approx(0, abs=1e-7), pytest.approx(0, abs=1e-7))


def test_gradients_equal_those_in_closed_form() -> None:
    """Of the mean of -log s(w z): with respect to the shift, the mean of (s - 1) w."""
    z = _normal(12, 1).flatten(1)
    w = torch.tensor([1.0, -2.0])
    found = _gradients(Linear((1.0, -2.0)), non_saturating())
    factors = torch.sigmoid(z @ w) - 1
    torch.testing.assert_close(found.weights, (factors.mean() * w).double())
    torch.testing.assert_close(found.images, (factors[:, None] * w / 12).double())


def test_a_logit_of_several_images_gives_each_its_gradient() -> None:
    one, same = (_gradients(Linear((1.0, 2.0), pack=pack), non_saturating()) for pack in (3, 1))
    assert one.images.shape == (12, 2)
    assert agreement_of(one, same).images == pytest.approx(1)


def test_tiny_gradients_keep_their_direction_and_none_has_no_direction() -> None:
    rows = torch.tensor([[3e-300, 4e-300]], dtype=torch.float64)
    tiny, nothing = Gradients(rows[0], rows), Gradients(0 * rows[0], 0 * rows)
    assert agreement_of(tiny, Gradients(rows[0] * 1e300, rows * 1e300)).weights == pytest.approx(1)
    found = agreement_of(tiny, nothing)
    assert math.isnan(found.weights)
    assert math.isnan(found.images)


def test_agreement_settles_over_the_second_half_and_the_best_value_counts() -> None:
    moments = [
        _valued(step, value, {"s": Agreement(weights=cosine, images=-cosine)})
        for step, value, cosine in ((0, -1.4, 1.0), (1, -0.2, 0.8), (2, -0.9, 0.2), (4, -0.5, 0.4))
    ]
    found = _opposed(moments)
    assert found.settled("s") == _agreement(pytest.approx(0.3), pytest.approx(-0.3))
    assert found.best("s").value == -0.2


@pytest.mark.parametrize(
    ("values", "rise"),
    [
        ([-1.4, -1.2, -1.0, -0.8], 0.1),
        ([-1.4, -0.8, -1.0, -0.8], 0.0),
        ([-1.4, -0.8, -1.0, -1.1], 0.0),
        ([-1.4, -0.8, -1.0, math.nan], 0.0),
    ],
)
def test_a_discriminator_whose_best_is_late_still_rises(values: list[float], rise: float) -> None:
    moments = [_valued(step, value) for step, value in zip((0, 1, 8, 10), values, strict=True)]
    assert _opposed(moments).rise("s") == pytest.approx(rise)


def test_a_value_that_is_not_a_number_is_never_the_best() -> None:
    for values in ((math.nan, -1.0), (-1.0, math.nan)):
        moments = [_valued(step, value) for step, value in enumerate(values)]
        assert _opposed(moments).best("s").value == -1.0
