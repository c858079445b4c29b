"""Maximum likelihood of an image flow. Knows data, models and optimisers."""

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.image_flow import ImageFlow, bits_per_dim
from genprior.models.players import parameter_count
from genprior.training.loop import Batch, check_batch
from genprior.training.optimisation import AdamSettings, Descent, Pace, Parts, WeightAverage, annealed
from genprior.training.processes import ON_CPU, Placement

LOOK_EVERY = 50  # updates between two looks at the round trip
LOOKED_AT = 8  # images


class MaximumLikelihood:
    """A `Learner` that raises the log-probability that a flow gives to images (Kingma & Dhariwal 2018, equation 2).

    Gradients are clipped by their joint norm, and the learning rate rises at first and falls as a cosine. Every fifty
    updates the largest error of decode(encode(x)) is measured, in float32.

    Arguments:
        model: In float32, or in float64 where the placement's dtype is; initialised to the data.
        batch_size: Images in an update, over all processes together; at least 1.
        adam: Settings of the optimiser.
        clip: Largest norm of the gradient of bits per dimension.
        average_half_life: Of the moving average, in images.
        placement: Device and processes, and the dtype of the couplings' convolutions; everything else is at least
            float32.

    Raises:
        GenpriorError: The batch cannot be shared evenly among the processes.
    """

    def __init__(
        self,
        model: ImageFlow,
        *,
        batch_size: int = 128,
        adam: AdamSettings = AdamSettings(0.004, 0.9, 0.99),  # noqa: B008 - frozen
        clip: float = 1.0,
        average_half_life: float = 10_000,
        placement: Placement = ON_CPU,
    ) -> None:
        placement.check_batch_size(batch_size)
        self.placement, self.device, self.processes = placement, placement.device, placement.processes
        self.model = model.to(placement.device, placement.wide)
        self.average = WeightAverage(self.model, average_half_life)
        self.images_per_update, self.pace = batch_size, Pace()
        self._round_trip, self._updates_since_look = torch.zeros((), dtype=placement.wide), LOOK_EVERY
        self._descent = Descent(self.model, adam, self.processes, clip)
        self._parts = Parts({"model": self.model, "average": self.average.network, "adam": self._descent})

    def snapshot(self) -> dict[str, Tensor]:
        """Returns nothing: only players are kept at several ages."""
        return {}

    def parameter_counts(self) -> dict[str, int]:
        """Returns the number of parameters of the flow and of what makes noise below the last bit."""
        noise = parameter_count(self.model.dequantisation)
        return {"flow": parameter_count(self.model.flow)} | ({"dequantisation": noise} if noise else {})

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where the images are not of the model's shape, or fewer than a batch."""
        if data.image_shape != self.model.image_shape:
            raise GenpriorError(
                f"the flow models images of shape {self.model.image_shape}, {data.name} has {data.image_shape}",
                argument="data",
            )
        check_batch(self.images_per_update, data)

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates the model once; see the class."""
        noise = self.placement.share(self.model.draw_noise(self.images_per_update, generator))
        x = self.placement.share(batch.images)
        self.model.flow.dtype = self.placement.dtype
        bits = bits_per_dim(self.model.log_prob(x, noise), self.model.latent_size)
        norm, bad = self._descent.step(bits.mean(), annealed(progress) * self.pace.share)
        all_bits = self.processes.gather(bits.detach())
        return {
            "bits_per_dim": all_bits.mean(),
            "gradient_norm": norm,
            "round_trip_error": self._round_trip_error(batch),
            "learning_rate": torch.tensor(self._descent.settings.learning_rate * annealed(progress) * self.pace.share),
            "non_finite_gradients": bad,
        }

    @torch.no_grad()
    def _round_trip_error(self, batch: Batch) -> Tensor:
        """The largest |decode(encode(x)) - x| of a few images, measured anew in one update of fifty."""
        self._updates_since_look += 1
        if self._updates_since_look >= LOOK_EVERY:
            self._updates_since_look = 0
            x = batch.images[:LOOKED_AT].to(self.device, self.placement.wide)
            self.model.flow.dtype = None
            self._round_trip = (self.model.decode(self.model.encode(x)) - x).abs().amax().cpu()
        return self._round_trip

    def average_weights(self, images_seen: int) -> None:
        """Moves the average after an update."""
        self.average.update(self.images_per_update, images_seen)

    def slow_down(self) -> float | None:
        """Halves the learning rate; see `Pace.slow_down`."""
        return self.pace.slow_down()

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of the model, its average and the optimiser, and what the record continues with."""
        look = torch.tensor(self._updates_since_look)
        rate = torch.tensor(self.pace.share, dtype=torch.float64)
        return self._parts.state_dict() | {"rate": rate, "round_trip": self._round_trip, "updates_since_look": look}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._parts.load_state_dict(state)
        self.pace.share, self._round_trip = float(state["rate"]), state["round_trip"]
        self._updates_since_look = int(state["updates_since_look"])
