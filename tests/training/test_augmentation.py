"""Changes of what a discriminator sees, and their strength."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genprior.data import Dataset, load_data
from genprior.errors import GenpriorError
from genprior.families import GANConfig, parse_config
from genprior.models.players import Players
from genprior.models.pyramid import PyramidGenerator
from genprior.training.adversarial import GAN, AdversarialSettings
from genprior.training.augmentation import (
    AUGMENTATIONS,
    EVERY,
    MEMORY,
    TARGET,
    Augmentation,
    AugmentationSettings,
    Cutout,
    Flip,
    Recolour,
    Shift,
    Sight,
    augmented,
    draws_of,
    memorised_share,
)
from genprior.training.loop import Budget, train
from genprior.training.losses import non_saturating
from genprior.training.processes import Placement

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_change = pytest.mark.parametrize("make", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
Make = Callable[[], Augmentation]


def _images(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _draws(make: Make, count: int) -> Tensor:
    return torch.rand(count, make().draws, generator=torch.Generator().manual_seed(1))


@every_shape
@every_change
def test_changed_images_keep_shape_and_dtype_and_differ(make: Make, shape: tuple[int, int, int]) -> None:
    x = _images(9, *shape)
    y = make()(x, 1.0, _draws(make, 9))
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert not torch.equal(x, y)


@every_shape
@every_change
def test_strength_0_changes_nothing(make: Make, shape: tuple[int, int, int]) -> None:
    x = _images(9, *shape)
    torch.testing.assert_close(make()(x, 0.0, _draws(make, 9)), x, rtol=0, atol=0)


@every_shape
@every_change
def test_a_batch_equals_one_by_one(make: Make, shape: tuple[int, int, int]) -> None:
    x, draws = _images(9, *shape), _draws(make, 9)
    apart = [make()(x[i : i + 1], 0.7, draws[i : i + 1]) for i in range(9)]
    torch.testing.assert_close(make()(x, 0.7, draws), torch.cat(apart), rtol=0, atol=1e-12)


@every_change
def test_strength_is_the_probability_of_a_change(make: Make) -> None:
    x, draws = _images(400, 3, 16, 16), _draws(make, 400)
    for strength in (0.3, 1.0):
        share = float((make()(x, strength, draws) != x).flatten(1).any(1).double().mean())
        expected = strength / 2 if make is Flip else strength
        assert share == pytest.approx(expected, abs=0.08)


@every_change
def test_gradients_are_those_of_differences(make: Make) -> None:
    x, draws = _images(3, 2, 16, 16).requires_grad_(), _draws(make, 3)
    assert torch.autograd.gradcheck(lambda x: make()(x, 1.0, draws), x, fast_mode=True)


@every_change
def test_the_generator_of_a_batch_is_that_of_its_images(make: Make) -> None:
    """The n-th image gets the n-th draws, whatever the batch: results do not depend on how work is shared."""
    sight = Sight(AugmentationSettings((make(),), 1.0))
    together = sight.draws(6, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    torch.testing.assert_close(together, torch.cat([sight.draws(2, generator) for _ in range(3)]), rtol=0, atol=0)


# Known answers.


def test_a_flip_mirrors_left_to_right() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    torch.testing.assert_close(Flip()(x, 1.0, torch.tensor([[0.2]])), torch.tensor([[[[2.0, 1.0], [4.0, 3.0]]]]))
    torch.testing.assert_close(Flip()(x, 1.0, torch.tensor([[0.7]])), x)


def test_a_shift_moves_an_image_and_continues_its_edges() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    down = Shift(0.25)(x, 1.0, torch.tensor([[0.0, 0.99, 0.5]]))
    torch.testing.assert_close(down[0, 0], x[0, 0][[1, 2, 3, 3]])
    right = Shift(0.25)(x, 1.0, torch.tensor([[0.0, 0.5, 0.0]]))
    torch.testing.assert_close(right[0, 0], x[0, 0][:, [0, 0, 1, 2]])


def test_brightness_is_added_and_contrast_keeps_the_mean() -> None:
    x = _images(1, 3, 4, 4)
    torch.testing.assert_close(Recolour()(x, 1.0, torch.tensor([[0.0, 0.75, 0.5, 0.5]])), x + 0.125)
    contrasted = Recolour()(x, 1.0, torch.tensor([[0.0, 0.5, 0.5, 0.0]]))
    torch.testing.assert_close(contrasted - x.mean(), 0.5 * (x - x.mean()))


def test_without_saturation_all_channels_are_alike() -> None:
    x = _images(1, 3, 4, 4)
    grey = Recolour()(x, 1.0, torch.tensor([[0.0, 0.5, 0.0, 0.5]]))
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand(1, 3, 4, 4))


def test_a_cutout_is_a_grey_rectangle() -> None:
    y = Cutout(0.5)(torch.ones(1, 1, 4, 8), 1.0, torch.tensor([[0.0, 0.5, 0.25]]))
    expected = torch.ones(4, 8)
    expected[1:3, 0:4] = 0.5
    torch.testing.assert_close(y[0, 0], expected)


def test_several_changes_use_draws_of_their_own() -> None:
    x, changes = _images(2, 1, 4, 4), (Flip(), Shift(0.25))
    draws = torch.rand(2, draws_of(changes), generator=torch.Generator().manual_seed(0))
    expected = Shift(0.25)(Flip()(x, 1.0, draws[:, :1]), 1.0, draws[:, 1:])
    torch.testing.assert_close(augmented(x, changes, 1.0, draws), expected)
    torch.testing.assert_close(augmented(x, (), 1.0, torch.empty(2, 0)), x)


@pytest.mark.parametrize(("held_out", "share"), [(2.0, 0.0), (-2.0, 1.0), (1.0, 0.25), (3.0, -0.25)])
def test_the_memorised_share_is_how_far_held_out_images_are_from_learned_ones(held_out: float, share: float) -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-3.0, -1.0])
    assert float(memorised_share(real, torch.tensor([held_out]), fake)) == pytest.approx(share)


def test_a_discriminator_that_tells_nothing_has_no_memorised_share() -> None:
    logits = torch.zeros(3)
    assert math.isnan(memorised_share(logits, logits + 1, logits))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Shift(0.6), "reach above 0 and at most 0.5"),
        (lambda: Cutout(0), "share above 0 and at most 1"),
        (lambda: Recolour(contrast=2), "contrast above 0 and at most 1"),
        (lambda: AugmentationSettings(strength=1.1), "strength from 0 to 1"),
        (lambda: AugmentationSettings(images=0), "at least 1 image"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(GenpriorError, match=words):
        make()


# Steering.


def _steered() -> Sight:
    return Sight(AugmentationSettings((Flip(),), images=1000))


def _look(sight: Sight, share: float, told: float = 2.0) -> None:
    """Shows the sight logits with that share, of a discriminator that tells fakes by so much."""
    real, held_out, fake = (torch.full((4,), value) for value in (1.0, 1 - share * told, 1 - told))
    sight.look(real, held_out, fake, 100)


def test_strength_rises_while_the_discriminator_memorises_and_falls_else() -> None:
    sight = _steered()
    _look(sight, TARGET + 0.2)
    assert sight.strength == pytest.approx(0.1)
    for _ in range(20):
        _look(sight, TARGET + 0.2)
    assert sight.strength == 1
    for _ in range(100):
        _look(sight, TARGET - 0.2)
    assert sight.strength == 0


def test_a_given_strength_stays_and_an_unknown_gap_changes_nothing() -> None:
    sight = Sight(AugmentationSettings((Flip(),), 0.4))
    _look(sight, 0.9)
    assert sight.strength == 0.4
    assert sight.gap == pytest.approx(0.9)
    for logits in (torch.full((4,), math.nan), torch.zeros(4)):  # what is not finite, and what tells nothing
        steered = _steered()
        steered.look(logits, logits, logits, 100)
        assert steered.strength == 0
        assert math.isnan(steered.gap)


def test_looks_at_a_discriminator_that_tells_little_yet_weigh_little() -> None:
    sight = _steered()
    _look(sight, 2.0, told=0.01)  # before it was trained: a ratio of chance
    for _ in range(3):
        _look(sight, 0.1)
    assert sight.gap == pytest.approx((2.0 * 0.01 + 3 * 0.1 * 2) / (0.01 + 3 * 2))


def test_looks_of_long_ago_are_forgotten() -> None:
    sight = _steered()
    for share in (0.9, 0.1):
        for _ in range(5 * MEMORY):
            _look(sight, share)
    assert sight.gap == pytest.approx(0.1, abs=0.01)


def _gan(data: Dataset, held_out: Dataset | None, **changes: object) -> GAN:
    settings: dict[str, object] = {
        "size": 16,
        "latent_size": 4,
        "model": "pyramid:generator_width=2,discriminator_width=4",
        "batch_size": 8,
        "discriminator_updates": 2,
        "penalty": ["r1:gamma=0.1"],
        "augment": ["flip", "shift", "colour", "cutout"],
        "precision": "float64",
        "schedule": "constant",
        **changes,
    }
    return GANConfig.model_validate(settings).build(data, held_out=held_out)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    """What is learned, and what is not."""
    data = load_data("digits[:96]", size=16)
    return data.part(torch.arange(64)), data.part(torch.arange(64, 96))


def _records(gan: GAN, data: Dataset, images: int, first: int = 0) -> list[dict[str, Tensor]]:
    return [step.record for step in train(gan, data, Budget(images=images), images_seen=first)]


def test_a_resumed_training_equals_an_uninterrupted_one(digits: tuple[Dataset, Dataset]) -> None:
    data, held_out = digits
    whole, first, second = (_gan(data, held_out) for _ in range(3))
    for gan in (whole, first, second):
        gan.sight.strength = 0.5  # so that changes happen at once
    _records(whole, data, 160)
    _records(first, data, 80)
    second.load_state_dict(first.state_dict())
    _records(second, data, 160, 80)
    assert whole.sight.gap == second.sight.gap
    assert 0 < whole.sight.strength == second.sight.strength
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_the_record_says_how_strongly_images_are_changed(digits: tuple[Dataset, Dataset]) -> None:
    data, held_out = digits
    record = _records(_gan(data, held_out), data, 16 * EVERY)[-1]
    assert {"memorised_share", "augmentation_strength"} <= record.keys()
    plain = _records(_gan(data, None, augment=["none"]), data, 16)[-1]
    assert not {"memorised_share", "augmentation_strength"} & plain.keys()
    assert "memorised_share" in _records(_gan(data, held_out, augment=["none"]), data, 16 * EVERY)[-1]


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_looking_at_held_out_images_leaves_training_as_it_is(digits: tuple[Dataset, Dataset], norm: str) -> None:
    data, held_out = digits
    model = f"dcgan:generator_width=2,discriminator_width=4,norm={norm}"
    changes = {"augment": ["none"], "model": model, "penalty": ["wgan-gp"] if norm == "spectral" else []}
    blind, looking = (_gan(data, images, **changes) for images in (None, held_out))
    for gan in (blind, looking):
        _records(gan, data, 16 * EVERY)
    assert math.isfinite(looking.sight.gap)
    state = looking.state_dict()
    for name, value in blind.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0, msg=name)


def test_a_strength_of_0_trains_as_without_changes(digits: tuple[Dataset, Dataset]) -> None:
    """Latents are drawn before all changes of a step, so that both see the same fakes."""
    data, _ = digits
    plain, still = _gan(data, None, augment=["none"]), _gan(data, None, augment_strength=0)
    first, second = (_records(gan, data, 16)[0] for gan in (plain, still))
    assert float(first["discriminator_loss"]) == float(second["discriminator_loss"])


class Brightness(nn.Module):
    """D(x) = c mean(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return self.c * x.flatten(1).mean(1)


def test_the_record_tells_learned_from_held_out_images_by_the_discriminators_logits() -> None:
    """Learned images are white, held-out ones black, and fakes grey: the share is (1 - 0) / (1 - grey)."""
    learned, held_out = (
        Dataset(name, torch.full((16, 1, 16, 16), value, dtype=torch.uint8)) for name, value in (("w", 255), ("b", 0))
    )
    players = Players(PyramidGenerator((1, 16, 16), 4, 2), Brightness())
    settings = AdversarialSettings(8, discriminator_updates=1)
    gan = GAN(players, non_saturating(), settings, Placement(torch.float64), held_out=held_out)
    record = _records(gan, learned, 8)[0]
    grey = float(record["fake_logit_mean"])
    assert 0.3 < grey < 0.7
    assert float(record["memorised_share"]) == pytest.approx(1 / (1 - grey))


def test_steering_needs_images_held_out(digits: tuple[Dataset, Dataset]) -> None:
    with pytest.raises(GenpriorError, match=r"augment: .*follows held-out images, and there are none"):
        _gan(digits[0], None)
    _gan(digits[0], None, augment_strength=0.3)


def test_held_out_images_of_another_shape_are_refused(digits: tuple[Dataset, Dataset]) -> None:
    gan = _gan(digits[0], load_data("digits[:20]", size=20))
    with pytest.raises(GenpriorError, match=r"held_out: .*\(1, 20, 20\)"):
        gan.check(digits[0])


def test_none_cannot_stand_beside_a_change() -> None:
    with pytest.raises(GenpriorError, match="augment: none cannot be given with others"):
        parse_config({"augment": ["none", "flip"]})
