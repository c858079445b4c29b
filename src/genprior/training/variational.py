"""Variational training: an encoder and a decoder raise a bound on log p(x) together. Knows data and models.

Kingma & Welling 2014, https://arxiv.org/abs/1312.6114.
"""

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.autoencoder import Autoencoder, PixelLikelihood
from genprior.models.players import parameter_count
from genprior.training.loop import Batch, check_batch
from genprior.training.optimisation import AdamSettings, Descent, Pace, Parts, WeightAverage, annealed
from genprior.training.processes import ON_CPU, Placement


class VAE:
    """An `Algorithm` that maximises log p(x | z) - weight KL(q(z | x) | N(0, I)), z ~ q(z | x), for each image.

    At weight 1 this is the evidence lower bound (equation 10, one sample). The weight rises from 0 to 1 over the first
    part of the budget: before the decoder uses z, the KL term alone would teach the encoder to say nothing (Sonderby
    et al. 2016, https://arxiv.org/abs/1602.02282, section 2.3).

    Arguments:
        networks: In float32, or in float64 where the placement's dtype is.
        likelihood: log p(x | z) of the decoder's logits and x.
        batch_size: Images in an update, over all processes together.
        adam: Settings of the optimiser; its learning rate is the largest of the schedule `annealed`.
        kl_warm_up: Share of the budget in which the weight rises, in [0, 1).
        average_half_life: Of the moving averages, in images.
        placement: Device and arithmetic of the networks, and the processes; losses are at least float32.

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
        placement: Placement = ON_CPU,
    ) -> None:
        placement.check_batch_size(batch_size)
        self.placement, self.device, self.processes = placement, placement.device, placement.processes
        self.networks = placement.placed(networks)
        self.encoder, self.decoder = networks.encoder, networks.decoder
        self.average_encoder = WeightAverage(self.encoder, average_half_life)
        self.average_decoder = WeightAverage(self.decoder, average_half_life)
        self.likelihood, self.kl_warm_up = likelihood, kl_warm_up
        self.images_per_update, self.pace = batch_size, Pace()
        self._descent = Descent(networks, adam, self.processes)
        self._parts = Parts(
            {
                "encoder": self.encoder,
                "decoder": self.decoder,
                "average_encoder": self.average_encoder.network,
                "average_decoder": self.average_decoder.network,
                "adam": self._descent,
            }
        )

    def kl_weight(self, progress: float) -> float:
        """Returns the weight of the KL term, in [0, 1], after a share of the budget."""
        return min(1.0, progress / self.kl_warm_up) if self.kl_warm_up > 0 else 1.0

    def snapshot(self) -> dict[str, Tensor]:
        """Returns nothing: only players are kept at several ages."""
        return {}

    def parameter_counts(self) -> dict[str, int]:
        """Returns the number of parameters of each network."""
        return {"encoder": parameter_count(self.encoder), "decoder": parameter_count(self.decoder)}

    def slow_down(self) -> float | None:
        """Halves the learning rate; see `Pace.slow_down`."""
        return self.pace.slow_down()

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where the data are no images, fewer than a batch, or of another shape."""
        refuse_points(data)
        check_batch(self.images_per_update, data)
        if data.image_shape != self.decoder.image_shape:
            raise GenpriorError(
                f"the networks are for images of shape {self.decoder.image_shape}, {data.name} has {data.image_shape}",
                argument="data",
            )

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates both networks once; see the class."""
        dtype, wide = self.placement.dtype, self.placement.wide
        noise = torch.randn(len(batch.images), self.decoder.latent_size, generator=generator, dtype=wide)
        x = self.placement.share(batch.images).contiguous(memory_format=torch.channels_last)
        mean, log_variance = self.encoder(x.to(dtype))
        z = mean + torch.exp(0.5 * log_variance) * self.placement.share(noise)
        logits = self.decoder.logits(z.to(dtype)).to(wide)
        kl, log_likelihood = kl_to_standard_normal(mean, log_variance), self.likelihood(logits, x)
        weight = self.kl_weight(progress)
        rate = annealed(progress) * self.pace.share
        norm, bad = self._descent.step((weight * kl - log_likelihood).mean(), rate)
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

    def average_weights(self, images_seen: int) -> None:
        """Moves both averages after an update."""
        self.average_encoder.update(self.images_per_update, images_seen)
        self.average_decoder.update(self.images_per_update, images_seen)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of both networks, their averages and the optimiser, and the share of the rate."""
        return self._parts.state_dict() | {"rate": torch.tensor(self.pace.share, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._parts.load_state_dict(state)
        self.pace.share = float(state["rate"])


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
