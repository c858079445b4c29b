"""Two-player training: the discriminator several times, the generator once. Knows data, models and losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.discriminator_parts import pack_of
from genprior.models.players import Players, latent_size_of, output_range_of, parameter_count, value_range
from genprior.training.augmentation import EVERY, AugmentationSettings, Sight
from genprior.training.loop import Batch, check_batch
from genprior.training.losses import AdversarialLoss, saturation
from genprior.training.optimisation import AdamSettings, Descent, Parts, WeightAverage, ahead, constant, grouped, joined
from genprior.training.penalties import SlopePenalty, uniform_mix
from genprior.training.player_checks import (
    check_held_out,
    check_penalty,
    check_processes,
    check_ranges,
    check_steering,
)
from genprior.training.processes import ON_CPU, Placement

ADAM = AdamSettings(0.002)
UNCHANGED = AugmentationSettings()


@dataclass(frozen=True)
class AdversarialSettings:
    """How two players are trained against each other.

    Attributes:
        batch_size: Real images, and fakes, in one update of the discriminator, over all processes together; >= 2.
        discriminator_updates: For each update of the generator, at least 1.
        generator_adam, discriminator_adam: Settings of the two optimisers.
        penalties: Added to the discriminator's loss.
        unroll: Steps by which the generator sees the discriminator ahead (`optimisation.ahead`), on the last batch and
            without penalties; 0: as it is.
        schedule: Share of the learning rates that is left after a share of the budget, from [0, 1] to [0, 1].
        average_half_life: Of the generator's moving average, in images.
        augmentation: Of what the discriminator sees; none by default.
    """

    batch_size: int = 128
    discriminator_updates: int = 3
    generator_adam: AdamSettings = ADAM
    discriminator_adam: AdamSettings = ADAM
    penalties: tuple[SlopePenalty, ...] = ()
    unroll: int = 0
    schedule: Callable[[float], float] = constant
    average_half_life: float = 10_000
    augmentation: AugmentationSettings = UNCHANGED


USUAL = AdversarialSettings()


class GAN:
    """An `Algorithm` that trains a generator against a discriminator.

    One update is `discriminator_updates` updates of the discriminator, each with a batch of its own, then one of the
    generator with the fakes of the last. All fakes of an update come from the same generator weights, so
    those of the last batch need not be drawn again (as in Radford et al. 2016's reference loop).

    Arguments:
        players: Networks in float32, or in float64 where the placement's dtype is.
        loss: On logits.
        settings: How they are trained.
        placement: Device and arithmetic of the networks, and the processes; losses are at least float32.
        compared: Losses by name; the record holds what each would make of the generator's gradient.
        held_out: Images that are never learned. The record then holds how far the discriminator tells them from
            learned ones (`augmentation.memorised_share`), and that steers the strength of augmentation.

    Raises:
        GenpriorError: A steered augmentation without such images, a batch that the processes cannot share evenly, or
            several of them that unroll.
    """

    def __init__(
        self,
        players: Players,
        loss: AdversarialLoss,
        settings: AdversarialSettings = USUAL,
        placement: Placement = ON_CPU,
        compared: Mapping[str, AdversarialLoss] | None = None,
        held_out: Dataset | None = None,
    ) -> None:
        check_processes(placement, players.discriminator, settings.batch_size, settings.unroll)
        check_steering(settings.augmentation, held_out)
        self.held_out, self.sight = held_out, Sight(settings.augmentation)
        self.placement, self.device, self.processes = placement, placement.device, placement.processes
        self.generator, self.discriminator = (
            placement.placed(players.generator),
            placement.placed(players.discriminator),
        )
        self.latent_size = latent_size_of(self.generator)
        self.average = WeightAverage(self.generator, settings.average_half_life)
        self.loss, self.settings, self.compared = loss, settings, compared or {}
        self.images_per_update = settings.batch_size * settings.discriminator_updates
        self.turns = 0  # of the discriminator
        self._generator_descent = Descent(self.generator, settings.generator_adam, self.processes)
        self._discriminator_descent = Descent(self.discriminator, settings.discriminator_adam, self.processes)
        self._parts = Parts(
            {
                "generator": self.generator,
                "discriminator": self.discriminator,
                "average": self.average.network,
                "generator_adam": self._generator_descent,
                "discriminator_adam": self._discriminator_descent,
            }
        )

    def snapshot(self) -> dict[str, Tensor]:
        """Returns both players as they are, without averaging."""
        players = {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}
        return joined(players)

    def parameter_counts(self) -> dict[str, int]:
        """Returns the number of parameters of each player."""
        return {"generator": parameter_count(self.generator), "discriminator": parameter_count(self.discriminator)}

    def slow_down(self) -> None:
        """Returns None: two players that have lost each other do not find together again at a lower rate."""

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where shapes or value ranges of networks and data do not match."""
        check_batch(self.settings.batch_size, data)
        # Far latents show all that the generator reaches; near 0 an untrained tanh may pass for a sigmoid.
        fakes = self.sample(100 * self.latents(16 * pack_of(self.discriminator), torch.Generator().manual_seed(0)))
        if tuple(fakes.shape[1:]) != data.image_shape:
            raise GenpriorError(
                f"the generator makes images of shape {tuple(fakes.shape[1:])}, {data.name} has {data.image_shape}",
                argument="data",
            )
        check_held_out(self.held_out, data)
        check_ranges(value_range(fakes), output_range_of(self.generator), data)
        for penalty in self.settings.penalties:
            check_penalty(penalty, self.discriminator, fakes.to(self.device, self.placement.dtype))

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k), standard normal, drawn on the CPU so that every device gets the same."""
        return torch.randn(count, self.latent_size, generator=generator, dtype=self.placement.wide)

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """Returns x (B, C, H, W) of the averaged generator for z (B, k), in evaluation mode."""
        x: Tensor = self.average.network(latents.to(self.device, self.placement.dtype))
        return x.to("cpu", self.placement.wide)

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates both players once; see the class."""
        turns = self.settings.discriminator_updates
        z = self.latents(self.images_per_update, generator).chunk(turns)
        real, last = batch.images.chunk(turns), turns - 1
        for turn in range(last + 1):
            with torch.set_grad_enabled(turn == last):
                fake = self.generator(self._local(z[turn]))
            seen_real = self._seen(self._local(real[turn]), generator)
            record = self._update_discriminator(seen_real, self._seen(fake.detach(), generator), progress, generator)
        seen = self._seen(fake, generator)
        own = self._update_generator(fake, seen, seen_real, record.pop("real_logits"), progress)
        own["non_finite_gradients"] += record["non_finite_gradients"]
        return record | own

    def average_weights(self, images_seen: int) -> None:
        """Moves the generator's average after an update."""
        self.average.update(self.images_per_update, images_seen)

    def _local(self, rows: Tensor) -> Tensor:
        """This process's share, on the device and in the dtype of the arithmetic."""
        return self.processes.share(rows).to(self.device, self.placement.dtype)

    def _seen(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """This process's images as the discriminator sees them."""
        draws = self.sight.draws(len(x) * self.processes.count, generator)
        return self.sight(x, self.processes.share(draws))

    @torch.no_grad()
    def _look(self, real: Tensor, fake: Tensor, generator: torch.Generator) -> None:
        """Measures how far the discriminator tells learned from held-out images, by logits (B,) of all processes.

        But for a steered strength it leaves training as it would be without: neither random numbers nor running
        statistics of the discriminator know of it.
        """
        if self.held_out is None or self.turns % EVERY:
            return
        count = self.settings.batch_size
        own = torch.Generator().set_state(generator.get_state())
        chosen = self.held_out.take(torch.randint(len(self.held_out), (count,), generator=own))
        buffers = {name: value.clone() for name, value in self.discriminator.named_buffers()}
        logits: Tensor = functional_call(self.discriminator, buffers, (self._seen(self._local(chosen), own),))
        unseen = logits.to(self.placement.wide)
        self.sight.look(real, self.processes.gather(unseen), fake, EVERY * count)

    def _logits(self, discriminator: Callable[..., Tensor], real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Of real images and of fakes, seen in one pass."""
        real_logits, fake_logits = discriminator(torch.cat([real, fake]), parts=2).to(self.placement.wide).chunk(2)
        return real_logits, fake_logits

    def _update_discriminator(
        self, real: Tensor, fake: Tensor, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        gather, wide = self.processes.gather, self.placement.wide
        real_logits, fake_logits = self._logits(self.discriminator, real, fake)
        real_all, fake_all = gather(real_logits.detach()), gather(fake_logits.detach())
        self._look(real_all, fake_all, generator)
        loss = self.loss.discriminator(real_logits, fake_logits).mean()
        for penalty in self.settings.penalties:
            if penalty.is_due(self.turns):
                share = penalty.share(progress)
                mix = self._local(uniform_mix(self.discriminator, self.settings.batch_size, generator))
                loss = loss + share * penalty(self.discriminator, real, fake, mix).mean()
        self.turns += 1
        norm, bad = self._discriminator_descent.step(loss, self.settings.schedule(progress))
        real_opinion, fake_opinion = self.loss.opinions(real_all, fake_all)
        return {
            "real_logits": real_logits.detach(),
            "discriminator_loss": self.loss.discriminator(real_all, fake_all).mean(),
            **_logit_record("real", real_all),
            **_logit_record("fake", fake_all),
            "d_real": torch.sigmoid(real_opinion).mean(),
            "d_fake": torch.sigmoid(fake_opinion).mean(),
            "accuracy_real": (real_opinion > self.loss.equilibrium_logit).to(wide).mean(),
            "accuracy_fake": (fake_opinion <= self.loss.equilibrium_logit).to(wide).mean(),
            "discriminator_gradient_norm": norm,
            "non_finite_logits": (~torch.isfinite(torch.cat([real_all, fake_all]))).sum(),
            "non_finite_gradients": bad,
            **self.sight.record(),
        }

    def _seen_ahead(self, real: Tensor, fake: Tensor, progress: float) -> Callable[..., Tensor]:
        """The discriminator as the generator sees it."""
        if not self.settings.unroll:
            return self.discriminator
        descent = self._discriminator_descent
        state, share = descent.state_dict(), self.settings.schedule(progress)

        def loss(discriminator: Callable[..., Tensor]) -> Tensor:
            return self.loss.discriminator(*self._logits(discriminator, real, fake)).mean()

        return ahead(self.discriminator, loss, self.settings.unroll, descent.settings, state, share)

    def _update_generator(
        self, fake: Tensor, seen: Tensor, real: Tensor, real_logits: Tensor, progress: float
    ) -> dict[str, Tensor]:
        """Updates it by fakes, as they are and as they and real images are seen."""
        # Gradients for the discriminator's weights would cost a third of this pass and be thrown away.
        self.discriminator.requires_grad_(False)
        fake.retain_grad()
        discriminator = self._seen_ahead(real, seen, progress)
        fake_logits = discriminator(seen).to(self.placement.wide)
        if (
            self.loss.is_relative or self.settings.unroll
        ):  # compared with the same discriminator's logits of real images
            with torch.no_grad():
                real_logits = discriminator(real).to(self.placement.wide)
        loss = self.loss.generator(real_logits, fake_logits).mean()
        norm, bad = self._generator_descent.step(loss, self.settings.schedule(progress))
        self.discriminator.requires_grad_(True)
        gather = self.processes.gather
        real_all, fake_all = gather(real_logits), gather(fake_logits.detach())
        assert fake.grad is not None
        arrived = (len(fake_logits) * fake.grad.double()).norm()  # the loss is a mean over this process's logits
        image_gradient = gather(arrived[None]).norm()
        return {
            "generator_loss": self.loss.generator(real_all, fake_all).mean(),
            "generator_gradient_norm": norm,
            "non_finite_gradients": bad,
            **saturation(self.loss, self.compared, real_all, fake_all, image_gradient, norm),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of both players, the average and both optimisers, and how strongly images are changed."""
        counted = {"turns/discriminator": torch.tensor(self.turns)}
        return self._parts.state_dict() | counted | joined({"augmentation": self.sight.state_dict()})

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._parts.load_state_dict(state)
        self.turns = int(grouped(state, "turns").get("discriminator", torch.tensor(0)))  # older runs had no penalties
        self.sight.load_state_dict(grouped(state, "augmentation"))


def _logit_record(who: str, logits: Tensor) -> dict[str, Tensor]:
    return {
        f"{who}_logit_mean": logits.mean(),
        f"{who}_logit_std": logits.std(),
    }
