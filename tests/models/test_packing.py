"""Discriminators that see several images at once, and how much images differ."""

import copy

import pytest
import torch
from torch import Tensor, nn

from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.families import GANConfig, parse_config
from genprior.models import dcgan
from genprior.models.discriminator_parts import MinibatchDeviation, Packed, packed
from genprior.models.players import MODELS, Players, PlayerSizes, latent_size_of
from genprior.seeding import initialised
from genprior.training.adversarial import GAN, AdversarialSettings
from genprior.training.loop import Batch, Budget, train
from genprior.training.losses import LOSSES
from genprior.training.penalties import uniform_mix
from genprior.training.processes import Placement, Processes

every_model = pytest.mark.parametrize("name", MODELS)


def _images(count: int, *shape: int) -> Tensor:
    return torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Channels(nn.Module):
    """Logit: the sum over channels of (place of the channel + 1) * its mean."""

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return (x.mean((2, 3)) * torch.arange(1, x.shape[1] + 1)).sum(1)


def test_consecutive_images_become_the_channels_of_one() -> None:
    x = _images(6, 2, 3, 3)
    means = x.mean((2, 3))  # (6, 2)
    expected = torch.stack([means[3 * i : 3 * i + 3].flatten() @ torch.arange(1.0, 7).double() for i in range(2)])
    torch.testing.assert_close(Packed(Channels(), 3)(x), expected)


def test_real_and_fake_never_share_a_pack() -> None:
    x = _images(8, 1, 3, 3)
    together = Packed(Channels(), 2)(x, parts=2)
    apart = torch.cat([Packed(Channels(), 2)(half) for half in x.chunk(2)])
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize(("count", "parts"), [(5, 1), (6, 2), (1, 1)])
def test_images_that_do_not_fill_packs_are_refused(count: int, parts: int) -> None:
    with pytest.raises(GenpriorError, match=r"pack: \d images do not fill packs of 2"):
        Packed(Channels(), 2)(_images(count, 1, 3, 3), parts=parts)


def test_a_pack_of_one_is_the_discriminator_itself() -> None:
    assert isinstance(packed(lambda shape: nn.Identity(), (1, 8, 8), 1), nn.Identity)


@every_model
def test_every_model_can_be_packed(name: str) -> None:
    players = initialised(lambda: MODELS[name](PlayerSizes((1, 28, 28), 4, pack=2)), 0)
    size = latent_size_of(players.generator)
    x = players.generator(torch.randn(8, size, generator=torch.Generator().manual_seed(0)))
    assert x.shape == (8, 1, 28, 28)
    logits = players.discriminator(torch.cat([x, x]), parts=2)
    assert logits.shape == (8,)
    logits.sum().backward()
    assert all(p.grad is not None for p in players.generator.parameters())


@pytest.mark.parametrize("penalty", ["r1", "r2", "wgan-gp"])
@pytest.mark.parametrize("loss", ["non-saturating", "relativistic", "wasserstein"])
def test_a_packed_gan_trains_with_each_penalty(loss: str, penalty: str) -> None:
    data = load_data("digits[:64]", size=8)
    settings = {"model": "dcgan:generator_width=4,discriminator_width=4,norm=none", "size": 8, "latent_size": 4}
    config = GANConfig(data="digits", pack=4, batch_size=8, loss=loss, penalty=[penalty], **settings)
    for step in train(config.build(data), data, Budget(images=64)):
        assert all(bool(torch.isfinite(value)) for value in step.record.values())


class Slanted(nn.Module):
    """Logit: a weight times the sum of all values."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        return self.weight.to(x.dtype) * x.flatten(1).sum(1)


def _slanted(loss: str, pack: int = 1) -> GAN:
    discriminator = packed(lambda shape: Slanted(), (1, 8, 8), pack)
    players = Players(initialised(lambda: dcgan.DCGANGenerator((1, 8, 8), 4, 4), 0), discriminator)
    return GAN(players, LOSSES[loss](), AdversarialSettings(8, 1), Placement(torch.float64))


@pytest.mark.parametrize("pack", [1, 2, 4])
def test_the_recorded_slope_is_that_of_whole_packs(pack: int) -> None:
    gan = _slanted("wasserstein", pack)
    record = gan.update(Batch(_images(8, 1, 8, 8), torch.arange(8)), 0.0, torch.Generator().manual_seed(0))
    (weight,) = gan.discriminator.parameters()
    assert float(record["discriminator_slope"]) == pytest.approx(abs(float(weight.detach())) * (64 * pack) ** 0.5)


def test_a_relative_loss_is_told_from_real_images_as_the_discriminator_now_sees_them() -> None:
    gan = _slanted("relativistic")
    fake = copy.deepcopy(gan).generator(gan.latents(8, torch.Generator().manual_seed(0))).detach()
    x = _images(8, 1, 8, 8)
    record = gan.update(Batch(x, torch.arange(8)), 0.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = nn.functional.softplus(gan.discriminator(x) - gan.discriminator(fake)).mean()
    torch.testing.assert_close(record["generator_loss"], expected)


def test_points_between_are_at_one_share_for_all_images_of_a_pack() -> None:
    mix = uniform_mix(Packed(Channels(), 3), 12, torch.Generator().manual_seed(0)).view(4, 3)
    assert torch.equal(mix, mix[:, :1].expand(4, 3))
    assert len(mix.unique()) == 4
    assert len(uniform_mix(Channels(), 12, torch.Generator().manual_seed(0)).unique()) == 12


def test_packs_that_do_not_fill_the_share_of_a_process_are_refused_at_once() -> None:
    processes = Processes()
    processes.count = 2
    players = Players(dcgan.DCGANGenerator((1, 8, 8), 4, 4), packed(lambda shape: Slanted(), (1, 8, 8), 4))
    with pytest.raises(GenpriorError, match="pack: 6 images of a process do not fill packs of 4"):
        GAN(players, LOSSES["hinge"](), AdversarialSettings(12), Placement(processes=processes))


def test_a_batch_of_one_pack_is_refused() -> None:
    with pytest.raises(GenpriorError, match=r"pack: batches of 32 images are one pack, .* take at most 16"):
        parse_config({"family": "gan", "pack": 32, "batch_size": 32})


@pytest.mark.parametrize(("pack", "batch_size"), [(3, 8), (16, 8), (5, 128)])
def test_packs_that_do_not_fill_a_batch_are_refused(pack: int, batch_size: int) -> None:
    with pytest.raises(GenpriorError, match=f"pack: batches of {batch_size} images do not fill packs of {pack}"):
        parse_config({"family": "gan", "pack": pack, "batch_size": batch_size})


# Minibatch deviation.


def test_the_deviation_of_known_groups() -> None:
    """Pairs that differ by 2 d in each feature have a standard deviation of d."""
    base, d = _images(2, 3, 2, 2), torch.tensor([0.5, 2.0], dtype=torch.float64).view(2, 1, 1, 1)
    x = torch.stack([base - d, base + d], 1).flatten(0, 1)  # pairs side by side
    out = MinibatchDeviation(2)(x)
    assert out.shape == (4, 4, 2, 2)
    torch.testing.assert_close(out[:, :3], x)
    expected = torch.tensor([0.5, 0.5, 2.0, 2.0], dtype=torch.float64).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    torch.testing.assert_close(out[:, 3:], expected, rtol=1e-6, atol=0)


def test_it_works_on_rows_of_features_too() -> None:
    x = _images(6, 5)
    expected = x.view(2, 3, 5).std(1, unbiased=False).mean(1).repeat_interleave(3)
    torch.testing.assert_close(MinibatchDeviation(3)(x)[:, 5], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("count", "group", "size"), [(6, 4, 3), (4, 4, 4), (2, 4, 2), (5, 3, 1), (7, 7, 7)])
def test_a_group_that_does_not_divide_the_batch_is_made_smaller(count: int, group: int, size: int) -> None:
    x = _images(count, 3)
    expected = x.view(-1, size, 3).std(1, unbiased=False).mean(1).repeat_interleave(size)
    torch.testing.assert_close(MinibatchDeviation(group)(x)[:, 3], expected, rtol=1e-6, atol=2e-4)


def test_no_group_spans_real_images_and_fakes() -> None:
    x = _images(8, 3)
    together = MinibatchDeviation(8)(x, parts=2)
    torch.testing.assert_close(together, torch.cat([MinibatchDeviation(8)(half) for half in x.chunk(2)]))


def test_equal_images_have_a_finite_gradient() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    MinibatchDeviation(4)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@every_model
def test_every_discriminator_sees_the_deviation(name: str) -> None:
    """Copies of one image are told from the image among others, which no discriminator of single images can."""
    plain, seeing = (
        initialised(
            lambda deviation=deviation: MODELS[name](PlayerSizes((1, 28, 28), 4), norm="none", deviation=deviation),
            0,
        ).discriminator.double()
        for deviation in (0, 4)
    )
    x = _images(4, 1, 28, 28)
    copies = x[:1].expand(4, 1, 28, 28)
    torch.testing.assert_close(plain(copies)[0], plain(x)[0])
    assert abs(float((seeing(copies)[0] - seeing(x)[0]).detach())) > 1e-4


@every_model
def test_bad_options_are_refused(name: str) -> None:
    with pytest.raises(GenpriorError, match=r"option 'deviation' must be an integer from 0 to 4096, got 1\.5"):
        MODELS[name](PlayerSizes((1, 28, 28), 4), deviation=1.5)
    with pytest.raises(GenpriorError, match="option 'deviation' must be 2 or more, or 0"):
        MODELS[name](PlayerSizes((1, 28, 28), 4), deviation=1)
    with pytest.raises(GenpriorError, match="unknown norm 'bach'"):
        MODELS[name](PlayerSizes((1, 28, 28), 4), norm="bach")
