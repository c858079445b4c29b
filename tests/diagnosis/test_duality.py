"""The duality gap: against closed forms, by quadrature, without peeking, and what convergence means."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.equilibrium_measures import (
    Adversary,
    GameMoment,
    Terms,
    best_discriminator,
    best_generator,
    equilibrium_of,
)
from genprior.diagnosis.equilibrium_numbers import LITTLE
from genprior.diagnosis.equilibrium_verdict import CLOSE, NOT_CLOSE, NOT_KNOWN, divergence
from genprior.diagnosis.gan_game import (
    GANGame,
    Offset,
    best_offset,
    cross_entropy_terms,
    measured,
    sample_of,
    seen_at_once,
    whole_batches,
)
from genprior.errors import GenpriorError
from genprior.models.mlp import MLPDiscriminator
from genprior.seeding import initialised
from genprior.training.optimisation import AdamSettings
from genprior.training.penalties import r1, r2

LOG_4 = math.log(4)


class Number(nn.Module):
    """A player that is one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))


class Quadratic:
    """V = a/2 x^2 + b x y - c/2 y^2; the generator x lowers it, the discriminator y raises it."""

    def __init__(self, a: float, b: float, c: float) -> None:
        self.a, self.b, self.c = a, b, c

    def drawn(self, discriminator: nn.Module, generator: nn.Module, step: int) -> Terms:
        return self.judged(discriminator, generator)

    def judged(self, discriminator: nn.Module, generator: nn.Module) -> Terms:
        x, y = generator.value, discriminator.value
        return Terms((-self.c / 2 * y**2)[None], (self.a / 2 * x**2 + self.b * x * y)[None])

    fit = validation = judged


def _gap(game: Quadratic, y: float, x: float, steps: int = 200) -> float:
    adam = AdamSettings(0.05, beta1=0.9)
    up = Adversary.of(True, list(best_discriminator(game, Number(y), Number(x), adam, steps)))
    down = Adversary.of(False, list(best_generator(game, Number(y), Number(x), adam, steps)))
    assert up.response.converged
    assert down.response.converged
    return equilibrium_of(up, down).gap.value


@pytest.mark.parametrize(("a", "b", "c"), [(1.0, 1.0, 1.0), (0.5, -1.0, 2.0), (2.0, 0.0, 1.0)])
@pytest.mark.parametrize(("x", "y"), [(1.0, 0.5), (-0.5, 1.0), (0.0, 0.0)])
def test_the_gap_of_a_quadratic_game_is_its_closed_form(a: float, b: float, c: float, x: float, y: float) -> None:
    expected = (a / 2 + b**2 / (2 * c)) * x**2 + (c / 2 + b**2 / (2 * a)) * y**2
    assert _gap(Quadratic(a, b, c), y, x) == pytest.approx(expected, abs=2e-3)


def test_neither_player_is_changed() -> None:
    game, y, x = Quadratic(1, 1, 1), Number(1.0), Number(2.0)
    list(best_discriminator(game, y, x, AdamSettings(0.1), 3))
    list(best_generator(game, y, x, AdamSettings(0.1), 3))
    assert (y.value.item(), x.value.item()) == (1.0, 2.0)
    assert y.value.grad is None
    assert y.value.requires_grad
    assert x.value.requires_grad


# Distributions on a line.


class Shifted(nn.Module):
    """G(z) = z + shift, a number as an image."""

    latent_size = 1

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, z: Tensor) -> Tensor:
        return (z + self.shift)[:, :, None, None]


def _normal(count: int, seed: int) -> Dataset:
    return Dataset("normal", torch.randn(count, 1, 1, 1, generator=torch.Generator().manual_seed(seed)))


def _game(generator: nn.Module) -> GANGame:
    sizes = {"known": 600, "withheld": 6000, "reported": 24_000}
    data = {name: _normal(max(size, 24_000), i) for i, (name, size) in enumerate(sizes.items())}
    samples = [sample_of(data[name], generator, size, 0, name) for name, size in sizes.items()]
    return GANGame(data["known"], *samples, seed=0)


def _linear_discriminator() -> nn.Module:
    """Of two normal distributions with one variance the best D is linear."""
    discriminator = initialised(lambda: MLPDiscriminator((1, 1, 1), 8, 0), 0)
    for weight in discriminator.parameters():
        nn.init.zeros_(weight)
    return discriminator


def _divergence_by_quadrature(shift: float) -> float:
    x = np.linspace(-12, 12 + shift, 20_001)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (0, shift))
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.nan_to_num(each * np.log(each / middle)) for each in (p, q)]
    return float(np.trapezoid(sum(parts) / 2, x))


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_the_best_discriminator_of_two_gaussians_shows_their_divergence(shift: float) -> None:
    generator = Shifted(shift)
    moments = list(best_discriminator(_game(generator), _linear_discriminator(), generator, AdamSettings(0.05), 150))
    found = Adversary.of(True, moments).response
    assert moments[0].judged.value == pytest.approx(-LOG_4)
    assert found.standard_error < 0.01
    expected = _divergence_by_quadrature(shift)
    assert found.value == pytest.approx(-LOG_4 + 2 * expected, abs=4 * found.standard_error)
    assert divergence(found.value) == pytest.approx(expected, abs=2 * found.standard_error)


def test_fakes_that_are_the_data_have_no_gap() -> None:
    generator, discriminator = Shifted(0.0), _linear_discriminator()
    game = _game(generator)
    up = Adversary.of(True, list(best_discriminator(game, discriminator, generator, AdamSettings(0.001), 100)))
    down = Adversary.of(False, list(best_generator(game, discriminator, generator, AdamSettings(0.001), 100)))
    found = equilibrium_of(up, down)
    assert -up.first.value == pytest.approx(1.3863, abs=1e-4)
    assert found.gap.value == pytest.approx(0, abs=2e-3)
    assert found.divergence.value == pytest.approx(0, abs=1e-3)
    assert found.verdict == CLOSE


def test_terms_of_one_batch_are_as_many_as_logits() -> None:
    class Packed(nn.Module):
        def forward(self, x: Tensor, parts: int = 1) -> Tensor:
            return x.view(-1, 3).sum(1)

    generator = Shifted(0.0)
    terms = measured(Packed(), generator, sample_of(_normal(300, 0), generator, 300, 0, "known"))
    assert len(terms.real) == len(terms.fake) == 80


def test_samples_hold_whole_batches_of_images_that_are_drawn_by_chance() -> None:
    data, generator = _normal(300, 0), Shifted(0.0)
    sample = sample_of(data, generator, 1000, 0, "known")
    assert [len(real) for real, _ in sample.batches()] == [120, 120]
    assert not torch.equal(sample.real, data.images[:240])
    assert set(sample.real.flatten().tolist()) <= set(data.images.flatten().tolist())
    assert len(set(sample.real.flatten().tolist())) == 240
    assert [whole_batches(count) for count in (1, 11, 12, 119, 120, 359)] == [1, 11, 12, 108, 120, 240]


# Choice of the best step, and convergence.


def _moment(step: int, validation: float, judged: float, count: int = 2, fit: float | None = None) -> GameMoment:
    def terms(value: float) -> Terms:
        return Terms(torch.full((count,), float(value)), torch.zeros(count))

    return GameMoment(step, terms(validation if fit is None else fit), terms(validation), terms(judged))


def _response(
    values: list[float], rises: bool = True, judged: list[float] | None = None, fit: list[float] | None = None
) -> Adversary:
    rows = zip(values, judged or values, fit or values, strict=True)
    return Adversary.of(rises, [_moment(100 * step, *row[:2], fit=row[2]) for step, row in enumerate(rows)])


def test_the_best_step_is_chosen_without_looking_at_judged_samples() -> None:
    found = _response([0.0, 2.0, 1.0], judged=[5.0, 3.0, 9.0]).response
    assert found.best_step == 100
    assert found.value == 3.0
    assert _response([0.0, 2.0, -1.0], rises=False).response.best_step == 200


def test_values_that_are_not_finite_are_never_the_best() -> None:
    assert _response([0.0, math.nan, 1.0, math.inf]).response.best_step == 200
    assert _response([0.0, math.nan], rises=False).response.best_step == 0


RISING = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
SETTLED = [0.0, 2.0, 3.0, 4.0, 5.0, 5.0005]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RISING, False),
        (SETTLED, True),
        ([-14.2, -3.0, -2.0, -1.8, -1.75, -1.61], False),  # 1 % of all gain, and yet 0.14 nats
        ([0.0] * 6, True),
        ([0.0, 0.0, 0.0, 0.0, 0.0, LITTLE / 2], True),
        ([0.0, 1.0], False),
    ],
)
def test_an_adversary_has_converged_once_the_last_fifth_brings_little(values: list[float], expected: bool) -> None:
    assert _response(values).response.converged is expected
    assert _response([-value for value in values], rises=False).response.converged is expected


def test_a_late_gain_within_noise_is_none() -> None:
    def noisy(step: int, value: float) -> GameMoment:
        terms = Terms(value + torch.tensor([-0.5, 0.5]) * (-1) ** step, torch.zeros(2))
        return GameMoment(step, terms, terms, terms)

    assert Adversary.of(True, [noisy(step, 0.1 * step) for step in range(6)]).response.converged


def test_terms_have_the_error_of_two_independent_means() -> None:
    terms = Terms(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 4.0, 8.0]))
    assert terms.value == 5.0
    assert terms.standard_error == pytest.approx(math.sqrt(2 / 2 + 16 / 3))
    assert (terms - terms).standard_error == 0
    assert math.isnan(Terms(torch.zeros(1), torch.zeros(2)).standard_error)


@pytest.mark.parametrize("logit", [-50.0, 0.0, 50.0])
def test_terms_are_those_of_probabilities_at_any_logit(logit: float) -> None:
    terms = cross_entropy_terms(torch.tensor([logit]), torch.tensor([logit]))
    assert terms.real.item() == pytest.approx(-math.log1p(math.exp(-logit)))
    assert terms.fake.item() == pytest.approx(-math.log1p(math.exp(logit)))


# The verdict.

LEVEL = -LOG_4


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        ([LEVEL] * 6, [LEVEL] * 6, CLOSE),
        ([LEVEL, -1.3, -1.3, -1.3, -1.3, -1.3], [LEVEL, -2, -2, -2, -2, -2], CLOSE),
        ([LEVEL, -0.1, -0.1, -0.1, -0.1, -0.1], [LEVEL] * 6, NOT_CLOSE),  # D' tells all
        ([LEVEL, -0.9, -0.8, -0.7, -0.6, -0.5], [LEVEL] * 6, NOT_CLOSE),  # a bound, converged or not
        ([LEVEL] * 6, [LEVEL, -3, -9, -9, -9, -9], NOT_CLOSE),  # G' fools D
        ([LEVEL, -1.36, -1.34, -1.32, -1.30, -1.24], [LEVEL] * 6, NOT_KNOWN),
        ([-0.0] * 6, [-0.0] * 6, NOT_CLOSE),  # neither gains anything, and all is told apart
    ],
)
def test_the_verdict_follows_from_bounds(up: list[float], down: list[float], expected: str) -> None:
    found = equilibrium_of(_response(up), _response(down, rises=False))
    assert found.verdict == expected
    assert found.sentences()[0].startswith(f"Verdict: {expected}")


def test_a_penalised_run_is_judged_by_adversaries_that_pay() -> None:
    free = _response([LEVEL, -0.1, -0.1, -0.1, -0.1, -0.1])
    paying = _response([LEVEL - 0.2, LEVEL - 0.1, LEVEL - 0.1, LEVEL - 0.1, LEVEL - 0.1, LEVEL - 0.1])
    down = _response([LEVEL, -2, -2, -2, -2, -2], rises=False)
    assert equilibrium_of(free, down).verdict == NOT_CLOSE
    found = equilibrium_of(free, down, paying)
    assert found.verdict == CLOSE
    assert found.gap.value == pytest.approx(1.9)
    assert found.played_gap.value == pytest.approx(LEVEL - 0.1 + 2 + 0.2)  # D' pays 0.1 less than D, or gains it
    assert found.played_divergence.value == 0
    assert found.without_penalties.verdict == NOT_CLOSE
    assert any("the duality gap is 0.714" in sentence for sentence in found.sentences())
    assert found.headline == "close to equilibrium in the game with its penalties; not close in Goodfellow's"
    reasons = "not close (duality gap 1.900 or more, close: below 1.39; divergence 0.643 or more, close: below 0.1)"
    assert found.sentences()[0] == (
        f"Verdict: close to equilibrium in the game with its penalties; {reasons} in Goodfellow's."
    )


def test_penalties_are_taken_from_the_value_by_their_mean_over_turns() -> None:
    """Of D(x) = w x + b the slope is w wherever it is taken: R = gamma / 2 w^2."""
    generator, discriminator = Shifted(0.0), _linear_discriminator()
    with torch.no_grad():
        next(discriminator.parameters()).fill_(0.5)
    free = _game(generator)
    game = replace(free, penalties=[r1(3.0, every=4)])
    expected = 3.0 / 2 * 0.25
    for value in ("fit", "validation", "judged"):
        without, paid = (getattr(each, value)(discriminator, generator).value for each in (free, game))
        assert without - paid == pytest.approx(expected, rel=1e-5)
    costs = [
        (free.drawn(discriminator, generator, i) - game.drawn(discriminator, generator, i)).value for i in range(5)
    ]
    assert costs == pytest.approx([4 * expected, 0, 0, 0, 4 * expected], rel=1e-5, abs=1e-6)


def test_the_error_of_v_less_penalties_is_the_spread_over_draws() -> None:
    """A penalty has a spread of its own among images, which a mean over them would hide."""
    generator = Shifted(1.0)
    discriminator = initialised(lambda: MLPDiscriminator((1, 1, 1), 16, 2), 3)
    with torch.no_grad():
        for weight in discriminator.parameters():
            weight.mul_(2)
    for penalty in (r1(20.0), r2(20.0)):
        draws = [
            measured(discriminator, generator, sample_of(_normal(240, i), generator, 240, i, "draw"), [penalty])
            for i in range(60)
        ]
        spread = float(torch.tensor([draw.value for draw in draws]).std())
        told = sum(draw.standard_error for draw in draws) / len(draws)
        assert told == pytest.approx(spread, rel=0.3)


class Pack(nn.Module):
    """One logit for several images."""

    def __init__(self, pack: int) -> None:
        super().__init__()
        self.pack, self.weight = pack, nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        if len(x) % (self.pack * parts):
            raise ValueError("no whole packs")
        return self.weight * x.view(-1, self.pack).sum(1)


@pytest.mark.parametrize("pack", [1, 7, 16, 32, 200])
@pytest.mark.parametrize("count", [201, 640])
def test_samples_fill_packs_of_any_size(pack: int, count: int) -> None:
    generator, data = Shifted(0.0), _normal(count, 0)
    samples = [sample_of(data, generator, most, 0, name, pack) for most, name in ((120, "a"), (480, "b"), (4, "c"))]
    game = GANGame(data, *samples, seed=0)
    for value in (game.fit, game.validation, game.judged):
        assert math.isfinite(value(Pack(pack), generator).value)
    assert math.isfinite(game.drawn(Pack(pack), generator, 3).value)


def test_fewer_images_than_a_pack_are_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^run: expected 8 images or more of normal, got 7$"):
        sample_of(_normal(7, 0), Shifted(0.0), 100, 0, "known", 8)


class Compared(Pack):
    """Each logit tells an image from the mean of all."""

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return torch.cat([self.weight * (part - part.mean(0)).flatten() for part in x.chunk(parts)])


def test_how_many_images_a_logit_depends_on_is_found() -> None:
    x = _normal(24, 0).images
    assert seen_at_once(_linear_discriminator(), x) == 1  # its weights are 0
    assert seen_at_once(Pack(1), x) == 1
    assert seen_at_once(Pack(4), x) == 4
    assert seen_at_once(Compared(1), x) == 24


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_an_offset_makes_v_highest_whatever_the_level_of_the_logits(scale: float) -> None:
    generator, discriminator = Shifted(1.0), Pack(1)
    sample = sample_of(_normal(600, 0), generator, 600, 0, "known")
    with torch.no_grad():
        discriminator.weight.fill_(-scale)
    offsets = [best_offset(Offset(discriminator, by), generator, sample) for by in (0.0, 4.0)]
    assert offsets[0] - offsets[1] == pytest.approx(4.0, abs=1e-6 * scale)
    values = [measured(Offset(discriminator, offsets[0] + by), generator, sample).value for by in (0, 0.1, -0.1)]
    assert values[0] == max(values)


def test_what_has_not_converged_is_said() -> None:
    found = equilibrium_of(_response([LEVEL, -1.36, -1.34, -1.32, -1.30, -1.24]), _response([LEVEL] * 6, rises=False))
    text = " ".join(found.sentences())
    assert "(the inner problem of D' has not converged: try more --steps)" in text
    assert "it was still rising, the last fifth of the steps brought 0.06" in text
    assert "a generator lowered V from -1.386 to -1.386 in 0 of 500 steps; no step bettered the player" in text


def test_a_gap_below_zero_is_kept_and_said_to_be_a_failure() -> None:
    up = _response([0.0, 1.0], judged=[LEVEL, -1.6])
    found = equilibrium_of(up, _response([LEVEL, LEVEL], rises=False))
    assert found.gap.value == pytest.approx(-1.6 + LOG_4)
    assert "It cannot be below 0: the adversaries are worse than the players" in " ".join(found.sentences())


def test_an_adversary_that_was_lost_proves_nothing() -> None:
    lost = _response([LEVEL, -2.0, -3.0])
    found = equilibrium_of(lost, _response([LEVEL] * 3, rises=False))
    assert lost.response.failed
    assert not lost.response.converged
    assert found.verdict == NOT_KNOWN
    assert "it ended worse than it began on what it learned from: the optimisation failed" in " ".join(
        found.sentences()
    )
    assert "(the optimisation of D' failed)" in found.sentences()[0]
    assert not _response([LEVEL, LEVEL - 0.01]).response.failed


def test_an_adversary_that_knows_its_images_by_heart_has_not_failed() -> None:
    up = _response([LEVEL, -1.30, -1.29, -1.40, -1.6, -2.0], fit=[LEVEL, -1.2, -1.1, -0.9, -0.7, -0.5])
    found = equilibrium_of(up, _response([LEVEL] * 6, rises=False))
    assert up.response.overfitted
    assert not up.response.failed
    text = " ".join(found.sentences())
    assert "to -1.290 in 200 of 500 steps; from there on it learned its own images by heart" in text
    assert "try more --steps" not in text
    assert found.verdict == CLOSE


def test_a_value_that_still_rises_is_not_close_by_its_share_of_all_gain() -> None:
    up = _response([-2.3, -1.9, -1.5, -1.4, -1.27, -1.22])
    found = equilibrium_of(up, _response([-2.3] * 6, rises=False))
    assert found.divergence.ahead == pytest.approx(0.125, abs=1e-5)
    assert found.verdict == NOT_KNOWN


def test_a_divergence_is_never_below_that_of_a_discriminator_that_says_nothing() -> None:
    found = equilibrium_of(_response([-1.61] * 6), _response([-1.61] * 6, rises=False))
    assert found.divergence.value == 0
    assert "divergence at 0.000 nats or more" in found.sentences()[-1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_have_sentences_of_their_own(bad: float) -> None:
    found = equilibrium_of(_response([bad] * 3), _response([bad] * 3, rises=False))
    text = " ".join(found.sentences())
    assert "Verdict: not known (the value of the game is not finite)." in text
    assert "The divergence is not known: V is not finite." in text
    assert not {"nan", "inf"} & set(text.split())


def test_the_reason_for_not_close_is_said() -> None:
    found = equilibrium_of(_response([LEVEL] + [-0.5] * 5), _response([LEVEL] * 6, rises=False))
    assert found.sentences()[0] == "Verdict: not close (divergence 0.443 or more, close: below 0.1)."


def test_sets_of_images_bound_the_divergence_of_single_ones_on_both_sides() -> None:
    up, down = _response([-1.186] * 6), _response([-1.186] * 6, rises=False)  # 0.1003: not close, if of single images
    assert equilibrium_of(up, down).verdict == NOT_CLOSE
    packed = equilibrium_of(up, down, at_once=4)
    assert packed.verdict == NOT_KNOWN
    assert "D sees 4 images at once" in packed.sentences()[0]
    assert "of sets of 4 images, which D sees at once, at 0.100 nats or more, so that of single images at 0.025" in (
        packed.sentences()[-1].replace("  ", " ")
    )
    assert equilibrium_of(_response([-0.1] * 6), down, at_once=4).verdict == NOT_CLOSE  # 0.643 / 4


def test_a_verdict_on_images_of_the_run_says_so() -> None:
    found = equilibrium_of(_response([LEVEL] * 6), _response([LEVEL] * 6, rises=False), is_unseen=False)
    assert found.sentences()[0].endswith("; judged by images that the players were trained on, for none are held out.")


def test_few_steps_prove_nothing() -> None:
    few = [Adversary.of(rises, [_moment(0, LEVEL, LEVEL), _moment(99, LEVEL, LEVEL)]) for rises in (True, False)]
    assert equilibrium_of(*few).verdict == NOT_KNOWN
    assert "(fewer than 100 steps prove nothing: try more --steps)" in equilibrium_of(*few).sentences()[0]


def test_without_a_standard_error_nothing_is_known() -> None:
    one = [Adversary.of(rises, [_moment(0, LEVEL, LEVEL, 1), _moment(100, LEVEL, LEVEL, 1)]) for rises in (True, False)]
    found = equilibrium_of(*one)
    assert found.verdict == NOT_KNOWN
    assert "within chance" in found.sentences()[0]
