"""The inner problem where its answer is known: every z goes to the point that D likes most."""

import math

import pytest
import torch
from torch import Tensor, nn

from genprior.data.toy import ring_centres
from genprior.diagnosis.minmax_problems import descend, evenly, logits_of_real
from genprior.diagnosis.one_player import Descended, InnerMoment
from genprior.diagnosis.retraining import LoneTraining, draw_latents
from genprior.evaluation.mode_counts import near_centres
from genprior.models import dcgan, mlp
from genprior.seeding import initialised
from genprior.training.losses import LOSSES, AdversarialLoss, cross_entropy_discriminator, non_saturating, saturating
from genprior.training.optimisation import AdamSettings

BEST = torch.tensor([0.6, -0.3])
RING = ring_centres().repeat(15, 1)[:, :, None, None]


class Plane(nn.Module):
    """z (B, 2) -> x (B, 2, 1, 1), affine; at first x = z / |z|, all over the ring."""

    latent_size = 2

    def __init__(self) -> None:
        super().__init__()
        self.affine = nn.Linear(2, 2)
        self.spread = nn.Parameter(torch.ones(()))
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, z: Tensor) -> Tensor:
        on_ring = z / z.norm(dim=1, keepdim=True)
        x: Tensor = self.spread * on_ring + self.affine(z)
        return x[:, :, None, None]


class Bowl(nn.Module):
    """x -> 1 - |x - best|^2, one logit for each `pack` points that follow one another."""

    def __init__(self, best: Tensor = BEST, pack: int = 1) -> None:
        super().__init__()
        self.best, self.pack = nn.Parameter(best.clone()), pack

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        squares = (x.flatten(1) - self.best).square().sum(1)
        return 1 - squares.view(-1, self.pack).mean(1)


def _modes(x: Tensor) -> int:
    return len(near_centres(x, ring_centres(), 0.01)[1].unique())


def _moments(generator: nn.Module, discriminator: nn.Module, steps: int = 200, **changes: object) -> list[InnerMoment]:
    training = LoneTraining(changes.pop("adam", AdamSettings(0.05)), steps, 24, changes.pop("seed", 0))
    settings = {"loss": non_saturating(), "samples": 120, "count_modes": _modes, **changes}
    return list(descend(generator, discriminator, real=RING, training=training, **settings))


@pytest.mark.parametrize("loss", [saturating(), non_saturating()])
@pytest.mark.parametrize("pack", [1, 3])
def test_every_z_goes_to_the_point_that_d_likes_most(loss: AdversarialLoss, pack: int) -> None:
    moments = _moments(Plane(), Bowl(pack=pack), 150, loss=loss, adam=AdamSettings(0.1))
    assert (moments[0].modes, moments[-1].modes) == (8, 1)
    assert moments[0].diversity == pytest.approx(1, abs=0.05)
    assert moments[-1].diversity < 1e-3
    assert moments[-1].fake_logit == pytest.approx(1, abs=1e-2)  # the largest there is


def test_the_first_moment_is_the_generator_as_it_was() -> None:
    moments = _moments(Plane(), Bowl(), 1)
    x = Plane()(draw_latents(Plane(), 120, 0, "inner probe"))
    assert moments[0].fake_logit == pytest.approx(float(Bowl()(x).detach().mean()))


def test_the_best_image_of_a_linear_discriminator_is_found() -> None:
    """D(x) = w x with x in [0, 1] is largest where x is 1 for positive weights and 0 for negative ones."""
    generator = initialised(lambda: mlp.MLPGenerator((1, 8, 8), 4, 16, 1), 0)
    linear = initialised(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0)), 0)
    real = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    *_, last = descend(generator, linear, non_saturating(), real, LoneTraining(AdamSettings(0.05), 100, 24), samples=24)
    largest = float((linear[1].weight.clamp_min(0).sum() + linear[1].bias).detach())
    assert last.fake_logit == pytest.approx(largest, rel=0.05)
    assert last.diversity < 0.05


def test_both_players_stay_as_they_were() -> None:
    generator = initialised(lambda: dcgan.DCGANGenerator((1, 8, 8), 4, 4), 0).eval()
    discriminator = initialised(lambda: dcgan.dcgan_discriminator((1, 8, 8), 4), 0)
    before = [{k: v.clone() for k, v in each.state_dict().items()} for each in (generator, discriminator)]
    real = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    list(descend(generator, discriminator, saturating(), real, LoneTraining(AdamSettings(0.1), 3, 4)))
    for network, state in zip((generator, discriminator), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
    assert (generator.training, discriminator.training) == (False, True)


def test_looking_does_not_change_what_is_learned_and_the_same_seed_gives_the_same() -> None:
    short, long = _moments(Plane(), Bowl(), 4), _moments(Plane(), Bowl(), 16)
    later = {each.step: each for each in long}
    assert short == [later[each.step] if each.step in (0, 1, 2, 4) else each for each in short]
    assert _moments(Plane(), Bowl(), 4) == short
    assert _moments(Plane(), Bowl(), 4, seed=1) != short


def test_a_loss_that_looks_at_real_images_gets_as_many_logits_as_of_fakes() -> None:
    def relative(real: Tensor, fake: Tensor) -> Tensor:
        assert real.shape == fake.shape
        return nn.functional.softplus(real - fake)

    loss = AdversarialLoss(cross_entropy_discriminator, relative)
    assert _moments(Plane(), Bowl(pack=3), 60, loss=loss)[-1].diversity < 0.5


def test_without_a_counter_modes_are_not_known_and_diversity_is() -> None:
    moments = _moments(Plane(), Bowl(), 2, count_modes=None)
    assert [each.modes for each in moments] == [None] * len(moments)
    assert moments[0].diversity > 0.9


def test_images_that_are_not_finite_are_not_counted() -> None:
    generator = Plane()
    generator.affine.bias.data.fill_(math.nan)
    moments = _moments(generator, Bowl(), 1, count_modes=lambda x: pytest.fail("counted"))
    assert moments[-1].modes is None
    assert math.isnan(moments[-1].diversity)


def test_logits_of_real_images_are_those_of_evaluation_mode() -> None:
    mean, best = logits_of_real(Bowl(RING[2].flatten()), RING)
    assert best == pytest.approx(1)
    assert mean == pytest.approx(1 - 2, abs=1e-5)  # the mean squared distance of points on a circle from one of them


def test_the_best_image_fills_a_pack_alone() -> None:
    """A generator that makes that image only shows D packs of it; the best pack of different ones it cannot show."""
    packed = logits_of_real(Bowl(RING[2].flatten(), pack=4), RING)
    assert packed == pytest.approx(logits_of_real(Bowl(RING[2].flatten()), RING), abs=1e-5)


@pytest.mark.parametrize("name", ["relativistic", "wasserstein"])
def test_a_constant_added_to_all_logits_changes_nothing_where_only_differences_count(name: str) -> None:
    class Raised(Bowl):
        def forward(self, x: Tensor, parts: int = 1) -> Tensor:
            return 4 + super().forward(x, parts)

    def met(discriminator: nn.Module) -> Descended:
        moments = _moments(Plane(), discriminator, 20, loss=LOSSES[name]())
        mean, best = logits_of_real(discriminator, RING)
        return Descended(images_seen=0, real_logit=mean, best_real_logit=best, moments=moments)

    one, other = met(Bowl()), met(Raised())
    assert other.best_real_logit - other.real_logit == pytest.approx(one.best_real_logit - one.real_logit, abs=1e-5)
    assert other.beats_best_real == one.beats_best_real
    assert [each.diversity for each in other.moments] == pytest.approx(
        [each.diversity for each in one.moments], abs=1e-4
    )


@pytest.mark.parametrize(("count", "expected"), [(2, [0, 2]), (4, [0, 1, 2, 3]), (8, [0, 0, 1, 1, 2, 2, 3, 3])])
def test_rows_are_spread_evenly(count: int, expected: list[int]) -> None:
    assert evenly(torch.arange(4), count).tolist() == expected


# The rule.


def _descended(*moments: tuple[int | None, float]) -> Descended:
    steps = [
        InnerMoment(step=i, modes=modes, diversity=spread, fake_logit=float(i))
        for i, (modes, spread) in enumerate(moments)
    ]
    return Descended(images_seen=7, real_logit=0.0, best_real_logit=2.0, moments=steps)


@pytest.mark.parametrize(
    ("moments", "collapsed", "halved_at"),
    [
        ([(8, 1.0), (4, 0.5), (1, 0.1)], True, 1),
        ([(8, 1.0), (5, 0.5), (5, 0.1)], False, None),
        ([(8, 1.0), (1, 0.5), (1, 0.3)], False, 1),
        ([(8, 1.0), (1, 0.1), (8, 0.1)], False, 1),
        ([(8, 0.134), (1, 0.0)], True, 1),
        ([(8, 0.134), (1, 0.12)], False, 1),
        ([(1, 1.0), (1, 0.1)], True, None),
        ([(None, 1.0), (None, 0.1)], True, None),
        ([(None, 1.0), (None, math.nan)], False, None),
    ],
)
def test_collapse_needs_images_alike_and_half_of_the_modes_gone(
    moments: list[tuple[int | None, float]], collapsed: bool, halved_at: int | None
) -> None:
    found = _descended(*moments)
    assert (found.collapsed, found.half_of_modes_gone_at) == (collapsed, halved_at)


def test_images_alike_from_the_start_tell_nothing() -> None:
    assert not _descended((1, 0.1), (1, 0.0)).can_tell
    assert _descended((8, 0.3), (1, 0.0)).can_tell
    assert _descended((None, 0.3), (None, 0.0)).can_tell
    assert not _descended((None, 0.1), (None, 0.0)).can_tell


def test_a_young_generator_that_holds_modes_has_something_to_lose() -> None:
    assert _descended((8, 0.134), (1, 0.0)).can_tell
    assert not _descended((8, 0.001), (1, 0.0)).can_tell


def test_images_that_are_not_finite_tell_nothing() -> None:
    assert not _descended((8, 1.0), (None, math.nan)).can_tell
    assert not _descended((8, math.nan), (8, 1.0)).can_tell


def test_the_optimum_is_far_while_one_real_image_would_be_better() -> None:
    assert not _descended((8, 1.0), (8, 1.0)).beats_best_real
    assert _descended((8, 1.0), (8, 1.0), (8, 1.0)).beats_best_real
