"""Flow matching: a network learns by regression which way the points of a path between noise and images move.

Lipman et al. 2023, https://arxiv.org/abs/2210.02747, equation 9. Knows data, models and optimisers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.players import parameter_count
from genprior.models.velocity_field import VelocityField, moved, spread_at
from genprior.seeding import derived_generator
from genprior.training.loop import Batch, check_batch
from genprior.training.optimisation import AdamSettings, Descent, Pace, Parts, WeightAverage, annealed
from genprior.training.processes import ON_CPU, Placement

LOOK_EVERY = 100  # updates between two looks at the same images with the same noise
NOT_YET = 1e9  # an error before the first look
LOOK_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


def stratified_times(count: int, centre: float, width: float, generator: torch.Generator) -> Tensor:
    """Returns times (count,) in (0, 1) with logit(t) ~ N(centre, width^2), one from each of `count` equal shares.

    The shares leave less to chance than independent times would: every batch holds all kinds of noise.

    Arguments:
        count: At least 1.
        centre: Median of the logit; above 0 there is more image than noise.
        width: Standard deviation of the logit, above 0.
        generator: Source of all randomness.
    """
    within = torch.rand(count, generator=generator, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
    shares = (torch.randperm(count, generator=generator) + within) / count
    return torch.sigmoid(centre + width * math.sqrt(2) * torch.erfinv(2 * shares - 1))


def velocity_errors(field: VelocityField, u: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Returns the mean squared error (B,) of the part of the velocity that is learned.

    Without a network, and without a Wiener filter, it would be about 1 at all times. The mean over noise and images of
    |v - (u - e)|^2 is least for v = E[u - e | x_t], as a conditional mean is the best guess by squared error; a weight
    of each time, here s^2, changes nothing about that.

    Arguments:
        field: v.
        u: Images in the units of the path (B, C, H, W).
        noise: e (B, C, H, W).
        t: (B,).
    """
    x = moved(noise, u, t)
    spread = spread_at(t)
    target = (u - noise) * spread - (2 * t - 1)[:, None, None, None] / spread * x
    return (field.residual(x, t) - target).square().flatten(1).mean(1)


@dataclass(frozen=True)
class RegressionSettings:
    """Hyperparameters of flow matching.

    Attributes:
        batch_size: Images in an update, over all processes together; at least 1.
        adam: Settings of the optimiser.
        clip: Largest norm of the gradient.
        times: Centre and width of the distribution of times; see `stratified_times`.
        grain: Width of the uniform noise that images get, so that they have a density: a level of theirs, or 0.
        average_half_life: Of the moving average, in images.
    """

    batch_size: int = 32
    adam: AdamSettings = AdamSettings(0.001, 0.9, 0.99)  # noqa: RUF009 - frozen
    clip: float = 1.0
    times: tuple[float, float] = (0.5, 1.8)
    grain: float = 1 / 255
    average_half_life: float = 10_000


class VelocityRegression:
    """A `Learner` that regresses the velocity of straight paths, each from noise of its own to an image.

    At every hundredth update the averaged network is looked at: its error on some learned and on some held-out
    images, always the same ones at the same times with the same noise.

    Arguments:
        field: In float32, or in float64 where the placement's dtype is.
        learned: Some of the images that are learned (N, C, H, W).
        held_out: Some that never are; None: there are none.
        settings: Hyperparameters.
        placement: Device, arithmetic of the network, and processes; errors are at least float32.

    Raises:
        GenpriorError: The batch cannot be shared evenly among the processes.
    """

    def __init__(
        self,
        field: VelocityField,
        learned: Tensor,
        held_out: Tensor | None = None,
        settings: RegressionSettings = RegressionSettings(),
        placement: Placement = ON_CPU,
    ) -> None:
        placement.check_batch_size(settings.batch_size)
        self.placement, self.device, self.processes = placement, placement.device, placement.processes
        self.field, self.settings = field, settings
        placement.placed(field)
        self.field.dtype = placement.dtype
        self.average = WeightAverage(self.field, settings.average_half_life)
        self.images_per_update, self.pace = settings.batch_size, Pace()
        self._learned, self._held_out = learned, held_out
        self._looked, self._updates_since_look = torch.full((len(LOOK_TIMES) + 3,), NOT_YET), LOOK_EVERY
        self._descent = Descent(self.field, settings.adam, self.processes, settings.clip)
        self._parts = Parts({"field": self.field, "average": self.average.network, "adam": self._descent})

    def snapshot(self) -> dict[str, Tensor]:
        """Returns nothing: only players are kept at several ages."""
        return {}

    def parameter_counts(self) -> dict[str, int]:
        """Returns the number of parameters of the network."""
        return {"velocity": parameter_count(self.field)}

    def slow_down(self) -> float | None:
        """Halves the learning rate; see `Pace.slow_down`."""
        return self.pace.slow_down()

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where the images have another shape, or a batch is larger than the data set."""
        if data.image_shape != tuple(self._learned.shape[1:]):
            raise GenpriorError(
                f"the network is for images of shape {tuple(self._learned.shape[1:])}, {data.name} has "
                f"{data.image_shape}",
                argument="data",
            )
        check_batch(self.images_per_update, data)

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates the network once; see the class."""
        shape = batch.images.shape
        t = stratified_times(len(batch.images), *self.settings.times, generator)
        noise = torch.randn(shape, generator=generator)
        below = self.settings.grain * (torch.rand(shape, generator=generator) - 0.5)
        own = self.placement.share
        u = self.field.in_path(own(batch.images + below))
        errors = velocity_errors(self.field, u, own(noise), own(t))
        share = annealed(progress) * self.pace.share
        norm, bad = self._descent.step(errors.mean(), share)
        return {
            "loss": self.processes.gather(errors.detach()).mean(),
            **self._look(),
            "gradient_norm": norm,
            "learning_rate": torch.tensor(self._descent.settings.learning_rate * share),
            "non_finite_gradients": bad,
        }

    def _look(self) -> dict[str, Tensor]:
        """Errors of the average, measured anew in one update of a hundred."""
        self._updates_since_look += 1
        if self._updates_since_look >= LOOK_EVERY:
            self._updates_since_look = 0
            seen = self._errors(self._learned)
            other = seen if self._held_out is None else self._errors(self._held_out)
            best = torch.fmin(other.mean(), self._looked[-1])
            self._looked = torch.stack([*other, seen.mean(), other.mean(), best])
        named = {f"error_at_{t}": value for t, value in zip(LOOK_TIMES, self._looked, strict=False)}
        learned, held_out, best = self._looked[-3:]
        unseen = {} if self._held_out is None else {"held_out_error": held_out, "held_out_best": best}
        return named | {"learned_error": learned} | unseen

    @torch.no_grad()
    def _errors(self, images: Tensor) -> Tensor:
        """Mean errors of the averaged network at `LOOK_TIMES`, with noise that never changes."""
        field = self.average.network
        assert isinstance(field, VelocityField)
        u = field.in_path(images.to(self.device, self.placement.wide))
        noise = torch.randn(u.shape, generator=derived_generator(0, "look")).to(u)
        errors = [velocity_errors(field, u, noise, u.new_full((len(u),), t)).mean() for t in LOOK_TIMES]
        return torch.stack(errors).cpu().float()

    def average_weights(self, images_seen: int) -> None:
        """Moves the average after an update."""
        self.average.update(self.images_per_update, images_seen)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of network, average and optimiser, and what the record continues with."""
        look = torch.tensor(self._updates_since_look)
        rate = torch.tensor(self.pace.share, dtype=torch.float64)
        return self._parts.state_dict() | {"rate": rate, "looked": self._looked, "updates_since_look": look}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._parts.load_state_dict(state)
        self.pace.share, self._looked = float(state["rate"]), state["looked"]
        self._updates_since_look = int(state["updates_since_look"])
