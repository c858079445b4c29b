"""Maximum likelihood of an image flow. Knows data, models and optimisers."""

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.image_flow import ImageFlow, bits_per_dim
from genprior.models.players import parameter_count
from genprior.training.average import WeightAverage
from genprior.training.descent import Descent
from genprior.training.loop import Batch, check_batch
from genprior.training.optimiser import AdamSettings
from genprior.training.processes import Processes, checked_share
from genprior.training.schedule import annealed
from genprior.training.state import grouped, joined

SLOWEST = 2.0**-10  # share of the learning rate below which nothing would be learnt
LOOK_EVERY = 50  # updates between two looks at the round trip
LOOKED_AT = 8  # images


class MaximumLikelihood:
    """A `Learner` that raises the log-probability that a flow gives to images (Kingma & Dhariwal 2018, equation 2).

    Gradients are clipped by their joint norm, and the learning rate rises at first and falls as a cosine. Every fifty
    updates the largest error of decode(encode(x)) is measured, in float32.

    Arguments:
        model: In float32, or in float64 with `dtype=torch.float64`; initialised to the data.
        batch_size: Images in an update, over all processes together; at least 1.
        adam: Settings of the optimiser.
        clip: Largest norm of the gradient of bits per dimension.
        average_half_life: Of the moving average, in images.
        dtype: Of the couplings' convolutions; everything else is at least float32.
        device: Where the networks live.
        processes: Those that train together.

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
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
    ) -> None:
        self.processes = checked_share(processes, batch_size)
        self.wide = torch.promote_types(dtype, torch.float32)
        self.model = model.to(device, self.wide)
        self.average = WeightAverage(self.model, average_half_life)
        self.images_per_update, self.device, self.dtype = batch_size, device, dtype
        self.used, self.rate = 0.0, 1.0
        self._round_trip, self._updates_since_look = torch.zeros((), dtype=self.wide), LOOK_EVERY
        self._descent = Descent(self.model, adam, self.processes, clip)

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

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates the model once; see the class."""
        noise = self._local(self.model.draw_noise(self.images_per_update, generator))
        x = self._local(batch.images)
        self.model.flow.dtype = self.dtype
        bits = bits_per_dim(self.model.log_prob(x, noise), self.model.latent_size)
        norm, bad = self._descent.step(bits.mean(), annealed(self.used) * self.rate)
        all_bits = self.processes.gather(bits.detach())
        return {
            "bits_per_dim": all_bits.mean(),
            "gradient_norm": norm,
            "round_trip_error": self._round_trip_error(batch),
            "learning_rate": torch.tensor(self._descent.settings.learning_rate * annealed(self.used) * self.rate),
            "non_finite_gradients": bad,
        }

    @torch.no_grad()
    def _round_trip_error(self, batch: Batch) -> Tensor:
        """The largest |decode(encode(x)) - x| of a few images, measured anew in one update of fifty."""
        self._updates_since_look += 1
        if self._updates_since_look >= LOOK_EVERY:
            self._updates_since_look = 0
            x = batch.images[:LOOKED_AT].to(self.device, self.wide)
            self.model.flow.dtype = None
            self._round_trip = (self.model.decode(self.model.encode(x)) - x).abs().amax().cpu()
        return self._round_trip

    def average_weights(self, images_seen: int) -> None:
        """Moves the average after an update."""
        self.average.update(self.images_per_update, images_seen)

    def slow_down(self) -> float | None:
        """Halves the learning rate for good; see `Learner`."""
        self.rate /= 2
        return self.rate if self.rate >= SLOWEST else None

    def _local(self, rows: Tensor) -> Tensor:
        return self.processes.share(rows).to(self.device, self.wide)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of the model, its average and the optimiser, and what the record goes on with."""
        parts = {
            "model": self.model.state_dict(),
            "average": self.average.network.state_dict(),
            "adam": self._descent.state_dict(),
        }
        look = torch.tensor(self._updates_since_look)
        rate = torch.tensor(self.rate, dtype=torch.float64)
        return joined(parts) | {"rate": rate, "round_trip": self._round_trip, "updates_since_look": look}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self.model.load_state_dict(grouped(state, "model"))
        self.average.network.load_state_dict(grouped(state, "average"))
        self._descent.load_state_dict(grouped(state, "adam"))
        self.rate, self._round_trip = float(state["rate"]), state["round_trip"]
        self._updates_since_look = int(state["updates_since_look"])
