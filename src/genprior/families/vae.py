"""Settings of VAE."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from genprior.families.run_config import Curves, Fraction, Likelihood, Positive, RunConfig
from genprior.specs import Spec, Table

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from genprior.data import Dataset
    from genprior.models.autoencoder import Autoencoder
    from genprior.priors.contracts import LatentPrior
    from genprior.training.variational import VAE

VAES = Table("genprior.models.autoencoder", "VAES")
LIKELIHOODS = Table("genprior.models.autoencoder", "LIKELIHOODS")

AT_ONCE = 256  # images
SAMPLES = 100


class VAEConfig(RunConfig):
    """Everything that decides how a VAE is trained by variational inference (Kingma & Welling 2014).

    Example:
        >>> config = VAEConfig(data="digits", likelihood="bernoulli")
        >>> VAEConfig.model_validate_json(config.model_dump_json()) == config
        True
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        # The perceptrons of Bora et al. 2017, k = 20.
        "vae-28": {"size": 28},
        # The study's shapes.
        "vae-conv-28": {"size": 28, "model": "conv", "latent_size": 30},
    }
    DEFAULT_PRESET: ClassVar[str] = "vae-28"
    EPOCHS: ClassVar[float] = 30.0
    HELP: ClassVar[str] = "Train an encoder and a decoder by the variational bound."
    LATENTS: ClassVar[str] = "Latents are standard normal codes, which the decoder turns into images."
    CURVES: ClassVar[dict[str, Curves]] = {
        "bound": Curves(
            "Negative variational bound and its KL term",
            "nats",
            {"negative_bound": "negative bound", "loss": "loss (KL weight rises)", "kl": "KL(q(z | x), N(0, I))"},
        ),
        "reconstruction": Curves(
            "Reconstruction", "mean squared error", {"reconstruction_error": "of a sample of q(z | x)"}, is_log=True
        ),
    }

    family: Literal["vae"] = "vae"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET
    model: Annotated[Spec, Field(description="Networks:"), VAES] = Spec.parse("dense")
    latent_size: Annotated[int, Field(ge=1, le=65536, description="Length of z.")] = 20
    # Less deviation draws closer images, but takes more measurements to choose among them.
    likelihood: Annotated[Spec, Field(description="log p(x | z) of a pixel:"), LIKELIHOODS] = Spec.parse(
        "gaussian:sigma=0.35"
    )
    kl_warm_up: Annotated[
        Fraction, Field(description="Share of the budget over which the KL weight rises from 0 to 1.")
    ] = 0.1
    batch_size: Annotated[int, Field(ge=2, le=65536, description="Images in an update.")] = 128
    learning_rate: Annotated[Positive, Field(description="Adam's largest step size.")] = 0.002
    beta1: Annotated[Fraction, Field(description="Adam's first decay, in [0, 1).")] = 0.9
    beta2: Annotated[Fraction, Field(description="Adam's second decay, in [0, 1).")] = 0.999

    @property
    def title(self) -> str:
        """Model and family."""
        return f"{self.model.name} VAE"

    def build(self, data: "Dataset", fabric: "Fabric | None" = None, held_out: "Dataset | None" = None) -> "VAE":
        """Returns the algorithm for images of the shape of `data`, on the device of `fabric`.

        Raises:
            GenpriorError: Unknown model or likelihood, points, or a shape that the model cannot make.
        """
        from genprior.training.optimisation import AdamSettings
        from genprior.training.variational import VAE, refuse_points

        refuse_points(data)
        return VAE(
            self._networks(data.image_shape, self.seed),
            self.likelihood.build(LIKELIHOODS, "likelihood"),
            batch_size=self.batch_size,
            adam=AdamSettings(self.learning_rate, self.beta1, self.beta2),
            kl_warm_up=self.kl_warm_up,
            average_half_life=self.average_half_life,
            placement=self.placement(fabric),
        )

    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "LatentPrior":
        """Returns the decoder with standard normal latents, and the encoder's posterior mean as the way back."""
        from genprior.models.derived_generators import folded
        from genprior.priors.generator_prior import EncodedPrior

        networks = self._trained(state, image_shape, average)
        return EncodedPrior(folded(networks.decoder), self.latent_size, image_shape, networks.encoder)

    def generator(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "nn.Module":
        """Returns the decoder."""
        return self._trained(state, image_shape, average).decoder

    def log_probability(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], x: "Tensor", seed: int = 0
    ) -> Likelihood | None:
        """Returns the importance-weighted bound; None for cross entropy, which is no density of 8-bit images.

        The Gaussian density at the middle of a level, times the width 1/255 of a level: the midpoint rule.
        """
        import math

        import torch

        from genprior.evaluation.image_quality import importance_weighted_bound
        from genprior.models.autoencoder import Gaussian, PixelLikelihood
        from genprior.seeding import derived_generator

        density: PixelLikelihood = self.likelihood.build(LIKELIHOODS, "likelihood")
        if not isinstance(density, Gaussian):
            return None
        networks = self._trained(state, image_shape, average=True).eval()

        def log_likelihood(z: "Tensor", x: "Tensor") -> "Tensor":
            return density(networks.decoder.logits(z), x)

        generator = derived_generator(seed, "importance samples")
        bounds = [
            importance_weighted_bound(networks.encoder, log_likelihood, part, SAMPLES, generator)
            for part in torch.split(x, AT_ONCE)
        ]
        nats = torch.cat(bounds) - math.prod(image_shape) * math.log(255)
        return Likelihood(nats, f"Gaussian pixels, importance-weighted bound of {SAMPLES}")

    def _trained(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool
    ) -> "Autoencoder":
        """Both networks of a checkpoint, in float32."""
        from genprior.training.optimisation import grouped

        networks, which = self._networks(image_shape, 0), "average_" if average else ""
        networks.encoder.load_state_dict(grouped(state, f"{which}encoder"))
        networks.decoder.load_state_dict(grouped(state, f"{which}decoder"))
        return networks.float()

    def _networks(self, image_shape: tuple[int, int, int], seed: int) -> "Autoencoder":
        from genprior.seeding import initialised

        return initialised(
            lambda: self.model.build(VAES, "model", image_shape=image_shape, latent_size=self.latent_size), seed
        )
