"""A discriminator some steps ahead: where torch's own Adam takes it, and how that depends on the fakes."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.models import dcgan, mlp
from genprior.models.players import Players
from genprior.seeding import initialised
from genprior.training.adversarial import GAN, AdversarialSettings
from genprior.training.loop import Batch, Budget, train
from genprior.training.losses import non_saturating
from genprior.training.optimisation import AdamSettings, Descent, ahead, linear
from genprior.training.processes import Placement, Processes

LOSS = non_saturating()
ADAM = AdamSettings(0.05, beta1=0.5, beta2=0.9, weight_decay=0.3)
SHAPE = (2, 1, 1)


def _points(scale: float, seed: int, count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, *SHAPE, dtype=torch.float64, generator=generator)


def _discriminator() -> nn.Module:
    network: nn.Module = initialised(lambda: mlp.MLPDiscriminator(SHAPE, 5, 2), 0)
    return network.double()


def _loss(discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor) -> Tensor:
    return LOSS.discriminator(*discriminator(torch.cat([real, fake]), parts=2).chunk(2)).mean()


def _moved_by_torch(network: nn.Module, descent_steps: int, real: Tensor, fake: Tensor, before: int) -> nn.Module:
    """A copy after steps of torch's Adam: `before` of them on other data."""
    moved = copy.deepcopy(network)
    descent = Descent(moved, ADAM)
    for _ in range(before):
        descent.step(_loss(moved, _points(2.0, 7), _points(0.5, 8)))
    for _ in range(descent_steps):
        descent.step(_loss(moved, real, fake), share=0.5)
    return moved


def _ahead(network: nn.Module, steps: int, real: Tensor, fake: Tensor, before: int) -> Callable[..., Tensor]:
    moved = copy.deepcopy(network)
    descent = Descent(moved, ADAM)
    for _ in range(before):
        descent.step(_loss(moved, _points(2.0, 7), _points(0.5, 8)))
    return ahead(moved, lambda d: _loss(d, real, fake), steps, ADAM, descent.state_dict(), share=0.5)


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_where_the_optimiser_of_torch_takes_it(steps: int, before: int) -> None:
    real, fake, x = _points(1.0, 0), _points(3.0, 1), _points(2.0, 2)
    expected = _moved_by_torch(_discriminator(), steps, real, fake, before)(x)
    torch.testing.assert_close(_ahead(_discriminator(), steps, real, fake, before)(x), expected)


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_its_derivative_by_the_fakes_is_that_of_training_anew_with_other_fakes(steps: int, before: int) -> None:
    """Central differences through torch's Adam, where the fakes both move the discriminator and are judged by it."""
    real, fake, along = _points(1.0, 0), _points(3.0, 1), _points(1.0, 3)

    def generator_loss(shift: float) -> float:
        x = fake + shift * along
        logits = _moved_by_torch(_discriminator(), steps, real, x, before)(x)
        return float(LOSS.generator(logits, logits).mean().detach())

    h = 1e-6
    expected = (generator_loss(h) - generator_loss(-h)) / (2 * h)
    leaf = fake.clone().requires_grad_(True)
    logits = _ahead(_discriminator(), steps, real, leaf, before)(leaf)
    (gradient,) = torch.autograd.grad(LOSS.generator(logits, logits).mean(), leaf)
    assert float((gradient * along).sum()) == pytest.approx(expected, rel=1e-5)


def test_it_is_more_than_the_gradient_at_the_place_ahead() -> None:
    real, fake = _points(1.0, 0), _points(3.0, 1).requires_grad_(True)
    through = _ahead(_discriminator(), 4, real, fake, 3)(fake)
    stopped = _ahead(_discriminator(), 4, real, fake.detach(), 3)(fake)
    gradients = [torch.autograd.grad(LOSS.generator(a, a).mean(), fake)[0] for a in (through, stopped)]
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) > 0.01


def _gan(unroll: int, processes: Processes | None = None, norm: str = "batch") -> GAN:
    players = initialised(
        lambda: Players(dcgan.DCGANGenerator((1, 8, 8), 4, 4), dcgan.dcgan_discriminator((1, 8, 8), 4, norm)), seed=0
    )
    settings = AdversarialSettings(8, 1, unroll=unroll, schedule=linear)
    return GAN(players, LOSS, settings, Placement(torch.float64, processes=processes or Processes()))


def _after(gan: GAN, steps: int) -> Batch:
    """Trains it, and returns another batch."""
    data = load_data("digits[:64]", size=8)
    for _ in train(gan, data, Budget(images=8 * steps)) if steps else ():
        pass
    return Batch(data.take(torch.arange(8)).double(), torch.arange(8))


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_the_weights_of_the_discriminator_move_as_without(norm: str) -> None:
    plain, unrolled = _gan(0, norm=norm), _gan(3, norm=norm)
    for gan in (plain, unrolled):
        gan.update(_after(gan, 0), 0.0, torch.Generator().manual_seed(0))
    expected, found = plain.state_dict(), unrolled.state_dict()
    learned = {f"discriminator/{name}" for name, _ in plain.discriminator.named_parameters()}
    assert learned
    assert all(torch.equal(found[name], expected[name]) for name in learned)
    assert not torch.equal(found["generator/layers.0.weight"], expected["generator/layers.0.weight"])


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_generator_follows_the_discriminator_ahead(norm: str) -> None:
    """Its gradient is that of its loss under `ahead`: with Adam and its state, the last batch, the schedule."""
    gan = _gan(3, norm=norm)
    batch = _after(gan, 4)
    twin = copy.deepcopy(gan)
    norm_found = gan.update(batch, 0.5, torch.Generator().manual_seed(0))["generator_gradient_norm"]
    fake = twin.generator(twin.latents(8, torch.Generator().manual_seed(0)))
    twin._update_discriminator(batch.images, fake.detach(), 0.5, torch.Generator())
    descent = twin._discriminator_descent
    seen = ahead(
        twin.discriminator,
        lambda discriminator: _loss(discriminator, batch.images, fake),
        3,
        descent.settings,
        descent.state_dict(),
        share=0.5,
    )
    logits = seen(fake)
    gradients = torch.autograd.grad(LOSS.generator(logits, logits).mean(), list(twin.generator.parameters()))
    torch.testing.assert_close(norm_found, torch.stack([gradient.norm() for gradient in gradients]).norm())


def test_it_trains() -> None:
    data = load_data("digits[:64]", size=8)
    records = [step.record for step in train(_gan(2), data, Budget(images=80))]
    assert all(torch.isfinite(torch.stack([v.double() for v in record.values()])).all() for record in records)


def test_several_processes_are_refused() -> None:
    processes = Processes()
    processes.count = 2
    with pytest.raises(GenpriorError, match=r"unroll: several processes cannot unroll"):
        _gan(1, processes)
