"""Settings of mixtures of factor analysers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from genprior.families.run_config import Count, Curves, Likelihood, NotNegative, Positive, RunConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

    from genprior.data import Dataset
    from genprior.priors.mixture_prior import MixturePrior
    from genprior.training.expectation_maximisation import ExpectationMaximisation

AT_ONCE = 1000  # images


class MixtureConfig(RunConfig):
    """Everything that decides how a mixture of factor analysers is fitted (Richardson & Weiss 2018).

    Example:
        >>> MixtureConfig(data="digits", components=10).title
        'mixture of factor analysers'
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        # Images keep their size; both sizes of the mixture are chosen by held-out likelihood.
        "mixture": {},
        "mixture-28": {"size": 28},
    }
    DEFAULT_PRESET: ClassVar[str] = "mixture"
    EPOCHS: ClassVar[float] = 2.0
    HELP: ClassVar[str] = "Fit a mixture of Gaussians, of low rank each, whose posterior is known exactly."
    LATENTS: ClassVar[str] = (
        "Latents are the images themselves. A map follows the two strongest factors of the component that the "
        "middle is of, and between two images there are cross-fades."
    )
    CURVES: ClassVar[dict[str, Curves]] = {
        "likelihood": Curves("negative log-likelihood", "bits per dimension", {"bits_per_dim": "training batches"}),
        "components": Curves("components", "effective number", {"components_used": "exp(entropy of the weights)"}),
    }

    family: Literal["mixture"] = "mixture"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET
    components: Annotated[
        Count | None, Field(le=100_000, description="Factor analysers; default: chosen by held-out likelihood.")
    ] = None
    rank: Annotated[
        Count | None, Field(le=100_000, description="Factors of each; default: chosen by held-out likelihood.")
    ] = None
    noise_floor: Annotated[
        Positive, Field(le=1, description="Smallest standard deviation of a pixel's own noise, in units of x.")
    ] = 0.005
    pseudo_images: Annotated[
        NotNegative, Field(description="Images that the noise of all components counts for in each of them.")
    ] = 5.0
    batch_size: Annotated[
        Count | None, Field(le=10**7, description="Images in an update; default: an eighth of all, at most 10,000.")
    ] = None
    average_half_life: Annotated[
        Positive, Field(description="Unused: a mixture averages its statistics over one pass.")
    ] = 10_000

    @property
    def title(self) -> str:
        """The family."""
        return "mixture of factor analysers"

    @property
    def arithmetic(self) -> str:
        """Never less than float32: sums over many images and factorisations need it."""
        return "float32" if self.precision == "bf16" else self.precision

    def build(
        self, data: "Dataset", fabric: "Fabric | None" = None, held_out: "Dataset | None" = None
    ) -> "ExpectationMaximisation":
        """Returns the algorithm for these very images, on the device of `fabric`."""
        from genprior.training.expectation_maximisation import ExpectationMaximisation, MixtureSettings

        settings = MixtureSettings(self.components, self.rank, self.noise_floor**2, self.pseudo_images, self.seed)
        return ExpectationMaximisation(data, settings, self.batch_size, self.placement(fabric))

    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "MixturePrior":
        """Returns the mixture; its weights and their average are the same."""
        from genprior.models.factor_analysers import FactorAnalysers
        from genprior.priors.mixture_prior import MixturePrior
        from genprior.training.optimisation import grouped

        own = grouped(state, "model")
        model = FactorAnalysers(*(own[name].float() for name in ("weights", "means", "factors", "noise")))
        if model.means.shape[1] != math.prod(image_shape):
            raise RuntimeError(f"a mixture over {model.means.shape[1]} values cannot model images of {image_shape}")
        return MixturePrior(model, image_shape)

    def log_probability(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], x: "Tensor", seed: int = 0
    ) -> Likelihood | None:
        """Returns one draw of the bound that uniform noise below the last bit gives, for each image."""
        import torch

        from genprior.seeding import derived_generator

        prior, generator = self.prior(state, image_shape, average=True), derived_generator(seed, "dequantisation")
        u = torch.rand(x.shape, generator=generator) - 0.5
        nats = torch.cat([prior.log_prob(part) for part in torch.split(x + u.to(x) / 255, AT_ONCE)])
        return Likelihood(nats - math.prod(image_shape) * math.log(255), "uniform dequantisation")

    def facts(self, image_shape: tuple[int, int, int]) -> dict[str, str]:
        """Returns D and how bits are counted, without which bits per dimension say nothing."""
        return {"bits_per_dim": f"D = {math.prod(image_shape)}, at the middle of each level"}
