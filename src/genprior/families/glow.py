"""Settings of Glow."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from genprior.families.run_config import Curves, Fraction, Likelihood, Positive, RunConfig
from genprior.specs import Spec, Table

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

    from genprior.data import Dataset
    from genprior.models.image_flow import ImageFlow
    from genprior.priors.flow_prior import FlowPrior
    from genprior.training.maximum_likelihood import MaximumLikelihood

DEQUANTISATIONS = Table("genprior.models.image_flow", "DEQUANTISATIONS")

AT_ONCE = 256  # images
INITIAL_IMAGES = 512  # that the normalisations are initialised to


class GlowConfig(RunConfig):
    """Everything that decides how a Glow is trained by maximum likelihood (Kingma & Dhariwal 2018).

    Example:
        >>> GlowConfig(data="digits", levels=1).title
        'Glow'
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        # The best density for its time: an hour on two cores.
        "glow-28": {"size": 28},
        # A good start in minutes.
        "glow-small-28": {"size": 28, "steps": 8, "width": 64, "epochs": 10},
        "glow-32": {"size": 32, "levels": 3},
    }
    DEFAULT_PRESET: ClassVar[str] = "glow-28"
    EPOCHS: ClassVar[float] = 40.0
    HELP: ClassVar[str] = "Train an invertible network by maximum likelihood."
    LATENTS: ClassVar[str] = "Latents are standard normal, as many as pixels, and those of an image are found exactly."
    JUDGED_BY_DENSITY: ClassVar[bool] = True  # a short search misleads: it is best for the youngest weights
    CURVES: ClassVar[dict[str, Curves]] = {
        "likelihood": Curves("negative log-likelihood", "bits per dimension", {"bits_per_dim": "training batches"}),
        "gradients": Curves("gradient", "norm before clipping", {"gradient_norm": "gradient"}, is_log=True),
        "round-trip": Curves(
            "largest error of decode(encode(x))", "units of x", {"round_trip_error": "round trip"}, is_log=True
        ),
    }

    family: Literal["glow"] = "glow"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET
    levels: Annotated[int, Field(ge=1, le=6, description="Resolutions; each halves the sides of the image.")] = 2
    steps: Annotated[int, Field(ge=1, le=256, description="Steps of the flow in each level.")] = 10
    width: Annotated[
        int, Field(ge=1, le=4096, description="Hidden channels in the first level, doubled in each one after it.")
    ] = 96
    dequantisation: Annotated[Spec, Field(description="Noise below the last bit:"), DEQUANTISATIONS] = Spec.parse(
        "variational"
    )
    batch_size: Annotated[int, Field(ge=1, le=65536, description="Images in an update.")] = 128
    learning_rate: Annotated[Positive, Field(description="Adam's largest step size.")] = 0.004
    beta1: Annotated[Fraction, Field(description="Adam's first decay, in [0, 1).")] = 0.9
    beta2: Annotated[Fraction, Field(description="Adam's second decay, in [0, 1).")] = 0.99
    clip: Annotated[Positive, Field(description="Largest norm of the gradient of bits per dimension.")] = 1.0

    @property
    def title(self) -> str:
        """The family."""
        return "Glow"

    def check_names(self) -> None:
        """Raises `GenpriorError` where the dequantisation is not known, or its options are out of range."""
        super().check_names()
        self.dequantisation.build(DEQUANTISATIONS, "dequantisation", image_shape=(1, 2, 2))

    def build(
        self, data: "Dataset", fabric: "Fabric | None" = None, held_out: "Dataset | None" = None
    ) -> "MaximumLikelihood":
        """Returns the algorithm for images of the shape of `data`, its normalisations initialised to some of them.

        Raises:
            GenpriorError: Unknown dequantisation, points, or sides that cannot be halved often enough.
        """
        import torch

        from genprior.errors import GenpriorError
        from genprior.seeding import derived_generator
        from genprior.training.maximum_likelihood import MaximumLikelihood
        from genprior.training.optimisation import AdamSettings

        if data.is_points:
            raise GenpriorError("glow models 8-bit images, not points; for points train a gan", argument="data")
        model = self._model(data.image_shape)
        if len(data) > 1:
            generator = derived_generator(self.seed, "initial images")
            some = torch.randperm(len(data), generator=generator)[:INITIAL_IMAGES]
            model.initialise(data.take(some), model.draw_noise(len(some), generator))
        return MaximumLikelihood(
            model,
            batch_size=self.batch_size,
            adam=AdamSettings(self.learning_rate, self.beta1, self.beta2),
            clip=self.clip,
            average_half_life=self.average_half_life,
            placement=self.placement(fabric),
        )

    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "FlowPrior":
        """Returns the flow."""
        from genprior.priors.flow_prior import FlowPrior
        from genprior.training.optimisation import grouped

        model = self._model(image_shape)
        model.load_state_dict(grouped(state, "average" if average else "model"))
        return FlowPrior(model)

    def log_probability(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], x: "Tensor", seed: int = 0
    ) -> Likelihood | None:
        """Returns one draw of the bound that dequantisation gives, for each image."""
        import torch

        from genprior.seeding import derived_generator

        prior = self.prior(state, image_shape, average=True)
        generator = derived_generator(seed, "dequantisation")
        nats = torch.cat([prior.log_prob(part, generator) for part in torch.split(x, AT_ONCE)])
        return Likelihood(nats, f"{self.dequantisation.name} dequantisation")

    def facts(self, image_shape: tuple[int, int, int]) -> dict[str, str]:
        """Returns D and the dequantisation, without which bits per dimension say nothing."""
        return {"bits_per_dim": f"D = {math.prod(image_shape)}, {self.dequantisation.name} dequantisation"}

    def _model(self, image_shape: tuple[int, int, int]) -> "ImageFlow":
        from genprior.models.glow_flow import Glow
        from genprior.models.image_flow import ImageFlow
        from genprior.seeding import initialised

        return initialised(
            lambda: ImageFlow(
                Glow(image_shape, self.levels, self.steps, self.width),
                self.dequantisation.build(DEQUANTISATIONS, "dequantisation", image_shape=image_shape),
            ),
            self.seed,
        )
