"""Variational training: an encoder and a decoder raise a bound on log p(x) together. Knows data and models.

Kingma & Welling 2014, https://arxiv.org/abs/1312.6114.
"""

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.autoencoder import Autoencoder, PixelLikelihood
from genprior.models.players import parameter_count
from genprior.training.average import WeightAverage
from genprior.training.descent import Descent
from genprior.training.loop import Batch, check_batch
from genprior.training.optimiser import AdamSettings
from genprior.training.processes import Processes, checked_share
from genprior.training.schedule import annealed
from genprior.training.state import grouped, joined

SLOWEST = 2.0**-10  # share of the learning rate below which training stops instead


class VAE:
    """An `Algorithm` that maximises log p(x | z) - weight KL(q(z | x) | N(0, I)), z ~ q(z | x), for each image.

    At weight 1 this is the evidence lower bound (equation 10, one sample). The weight rises from 0 to 1 over the first
    part of the budget: before the decoder uses z, the KL term alone would teach the encoder to say nothing (Sonderby
    et al. 2016, https://arxiv.org/abs/1602.02282, section 2.3).

    Arguments:
        networks: In float32, or in float64 with `dtype=torch.float64`.
        likelihood: log p(x | z) of the decoder's logits and x.
        batch_size: Images in an update, over all processes together.
        adam: Settings of the optimiser; the learning rate is the largest of a schedule that follows `used`.
        kl_warm_up: Share of the budget in which the weight rises, in [0, 1).
        average_half_life: Of the moving averages, in images.
        dtype: Arithmetic of the networks: bfloat16, float32 or float64. Losses are at least float32.
        device: Where the networks live.
        processes: Those that train together.

    Raises:
        GenpriorError: The batch cannot be shared evenly among the processes.
    """

    def __init__(
        self,
        networks: Autoencoder,
        likelihood: PixelLikelihood,
        *,
        batch_size: int = 128,
        adam: AdamSettings = AdamSettings(0.002, beta1=0.9),  # noqa: B008 - frozen
        kl_warm_up: float = 0.1,
        average_half_life: float = 10_000,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
    ) -> None:
        self.processes = checked_share(processes, batch_size)
        self.wide = torch.promote_types(dtype, torch.float32)  # of weights, losses and records
        self.networks = networks.to(device, self.wide).to(memory_format=torch.channels_last)
        self.encoder, self.decoder = networks.encoder, networks.decoder
        self.average_encoder = WeightAverage(self.encoder, average_half_life)
        self.average_decoder = WeightAverage(self.decoder, average_half_life)
        self.likelihood, self.kl_warm_up = likelihood, kl_warm_up
        self.images_per_update, self.dtype, self.device = batch_size, dtype, device
        self.used, self.rate = 0.0, 1.0
        self._descent = Descent(networks, adam, self.processes)

    @property
    def kl_weight(self) -> float:
        """The weight of the KL term at the used share of the budget, in [0, 1]."""
        return min(1.0, self.used / self.kl_warm_up) if self.kl_warm_up > 0 else 1.0

    def snapshot(self) -> dict[str, Tensor]:
        """Returns nothing: only players are kept at several ages."""
        return {}

    def parameter_counts(self) -> dict[str, int]:
        """Returns the number of parameters of each network."""
        return {"encoder": parameter_count(self.encoder), "decoder": parameter_count(self.decoder)}

    def slow_down(self) -> float | None:
        """Halves the learning rate; returns its share of the settings, or None below 2^-10."""
        self.rate /= 2
        return self.rate if self.rate >= SLOWEST else None

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where the data are no images, fewer than a batch, or of another shape."""
        refuse_points(data)
        check_batch(self.images_per_update, data)
        if data.image_shape != self.decoder.image_shape:
            raise GenpriorError(
                f"the networks are for images of shape {self.decoder.image_shape}, {data.name} has {data.image_shape}",
                argument="data",
            )

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates both networks once; see the class."""
        noise = torch.randn(len(batch.images), self.decoder.latent_size, generator=generator, dtype=self.wide)
        x = self._local(batch.images).contiguous(memory_format=torch.channels_last)
        mean, log_variance = self.encoder(x.to(self.dtype))
        z = mean + torch.exp(0.5 * log_variance) * self._local(noise)
        logits = self.decoder.logits(z.to(self.dtype)).to(self.wide)
        kl, log_likelihood = kl_to_standard_normal(mean, log_variance), self.likelihood(logits, x)
        weight = self.kl_weight
        norm, bad = self._step((weight * kl - log_likelihood).mean())
        with torch.no_grad():
            errors = (torch.sigmoid(logits) - x).square().flatten(1).mean(1)
            kl, log_likelihood, errors = (
                self.processes.gather(each.detach()).mean() for each in (kl, log_likelihood, errors)
            )
        return {
            "loss": weight * kl - log_likelihood,
            "reconstruction_error": errors,
            "kl": kl,
            "negative_bound": kl - log_likelihood,
            "gradient_norm": norm,
            "non_finite_gradients": bad,
        }

    def _local(self, rows: Tensor) -> Tensor:
        """This process's share, on the device and in the dtype of losses."""
        return self.processes.share(rows).to(self.device, self.wide)

    def _step(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        return self._descent.step(loss, annealed(self.used) * self.rate)

    def average_weights(self, images_seen: int) -> None:
        """Moves both averages after an update."""
        self.average_encoder.update(self.images_per_update, images_seen)
        self.average_decoder.update(self.images_per_update, images_seen)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of both networks, their averages and the optimiser, and the share of the rate."""
        state = joined(
            {
                "encoder": self.encoder.state_dict(),
                "decoder": self.decoder.state_dict(),
                "average_encoder": self.average_encoder.network.state_dict(),
                "average_decoder": self.average_decoder.network.state_dict(),
                "adam": self._descent.state_dict(),
            }
        )
        return state | {"rate": torch.tensor(self.rate, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self.encoder.load_state_dict(grouped(state, "encoder"))
        self.decoder.load_state_dict(grouped(state, "decoder"))
        self.average_encoder.network.load_state_dict(grouped(state, "average_encoder"))
        self.average_decoder.network.load_state_dict(grouped(state, "average_decoder"))
        self._descent.load_state_dict(grouped(state, "adam"))
        self.rate = float(state["rate"])


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Returns KL(N(mean, diag(exp(log variance))) | N(0, I)) (B,) in nats (Kingma & Welling 2014, appendix B).

    Arguments:
        mean, log_variance: (B, k).

    Example:
        >>> kl_to_standard_normal(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2))
        tensor([2.])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def refuse_points(data: Dataset) -> None:
    """Raises `GenpriorError` where the data are points instead of images."""
    if data.is_points:
        raise GenpriorError(
            f"{data.name} holds points, and a VAE's decoder makes images in [0, 1]; for points take the family gan",
            argument="data",
        )
