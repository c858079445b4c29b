"""Settings of flow matching."""

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
    from genprior.diagnosis.signs import Game
    from genprior.models.velocity_field import VelocityField
    from genprior.priors.flow_matching_prior import FlowMatchingPrior
    from genprior.training.velocity_regression import VelocityRegression

VELOCITIES = Table("genprior.models.velocity_networks", "VELOCITIES")

MEASURED_ON = 2000  # images: their mean and deviation become those of the path
LEARNS_FILTER = 200  # images
LOOKED_AT = 64  # images
LARGE, LARGEST_USUAL = "flow-64", 48  # pixels of a side up to which the usual network learns fast
FOR_POINTS = "mlp"


class FlowMatchingConfig(RunConfig):
    """Everything that decides how a velocity is learned from noise to images (Lipman et al. 2023).

    Example:
        >>> FlowMatchingConfig(data="digits", model="unet:width=32").title
        'unet flow matching'
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "flow-28": {"size": 28},
        "flow-32": {"size": 32},
        # The largest images cost most: fewer channels there, and a third resolution. Their neighbouring pixels are
        # alike, so a filter begins the work; small batches take more steps in the same time.
        "flow-64": {
            "size": 64,
            "model": "unet:width=32,levels=3,wiener=5",
            "batch_size": 8,
            "learning_rate": 0.002,
            "minutes": 20.0,
        },
        "flow-points": {"data": "ring", "model": "mlp", "batch_size": 512, "learning_rate": 0.002},
    }
    DEFAULT_PRESET: ClassVar[str] = "flow-28"
    EPOCHS: ClassVar[float] = 8.0
    HELP: ClassVar[str] = "Train a velocity that carries noise to images: samples, denoiser and density in one."
    LATENTS: ClassVar[str] = (
        "Latents are the noise at the start of the differential equation, whose solution is the image. It is solved "
        "anew for each picture: a map of 64 x 64 pixels takes several seconds."
    )
    TAKES_BASE: ClassVar[bool] = True
    CURVES: ClassVar[dict[str, Curves]] = {
        "velocity": Curves(
            "Error of the velocity",
            "share of the variance",
            {"loss": "batches", "learned_error": "learned images", "held_out_error": "held-out images"},
        ),
        "times": Curves(
            "Error of the velocity over time, from noise (0) to image (1)",
            "share of the variance",
            {f"error_at_{t}": f"at {t}" for t in (0.1, 0.3, 0.5, 0.7, 0.9)},
        ),
        "gradients": Curves("gradient", "norm before clipping", {"gradient_norm": "gradient"}, is_log=True),
    }

    family: Literal["flow-matching"] = "flow-matching"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET
    model: Annotated[Spec, Field(description="Network:"), VELOCITIES] = Spec.parse("unet")
    batch_size: Annotated[int, Field(ge=1, le=65536, description="Images in an update.")] = 32
    learning_rate: Annotated[Positive, Field(description="Adam's largest step size.")] = 0.001
    beta1: Annotated[Fraction, Field(description="Adam's first decay, in [0, 1).")] = 0.9
    beta2: Annotated[Fraction, Field(description="Adam's second decay, in [0, 1).")] = 0.99
    clip: Annotated[Positive, Field(description="Largest norm of the gradient.")] = 1.0
    time_centre: Annotated[
        float, Field(ge=-10, le=10, description="Median of log(t / (1 - t)); larger: more steps with little noise.")
    ] = 0.5
    time_width: Annotated[Positive, Field(le=10, description="Standard deviation of log(t / (1 - t)).")] = 1.8

    @property
    def title(self) -> str:
        """Network and family."""
        return f"{self.model.name} flow matching"

    def better_preset(self, shape: tuple[int, int, int]) -> tuple[str, str] | None:
        """Returns `flow-64` for large images: the usual network learns them slowly."""
        sides = "x".join(map(str, shape))
        return (LARGE, f"it is made for images as large as {sides}") if min(shape[1:]) > LARGEST_USUAL else None

    def build(
        self, data: "Dataset", fabric: "Fabric | None" = None, held_out: "Dataset | None" = None
    ) -> "VelocityRegression":
        """Returns the algorithm for images of the shape of `data`, on the device of `fabric`.

        Raises:
            GenpriorError: Unknown network, or points for a network of images.
        """
        from genprior.errors import GenpriorError
        from genprior.models.velocity_field import level_shares
        from genprior.training.optimisation import AdamSettings
        from genprior.training.velocity_regression import RegressionSettings, VelocityRegression

        if data.is_points and self.model.name != FOR_POINTS:
            raise GenpriorError(
                f"{data.name} holds points, and {self.model.name} is for images; take --model {FOR_POINTS}",
                argument="model",
            )
        some = data.some(MEASURED_ON)
        spread = float(some.std()) if some.numel() > 1 else 1.0
        settings = RegressionSettings(
            self.batch_size,
            AdamSettings(self.learning_rate, self.beta1, self.beta2),
            self.clip,
            (self.time_centre, self.time_width),
            grain=0.0 if data.is_points else 1 / 255,
            average_half_life=self.average_half_life,
        )
        unseen = None if held_out is None or not len(held_out) else held_out.some(LOOKED_AT)
        shares = None if data.is_points else level_shares(some)
        field = self._field(data.image_shape, self.seed, float(some.mean()), spread, shares)
        if field.wiener is not None:
            grain = (settings.grain / float(field.spread)) ** 2 / 12
            field.wiener.learn(field.in_path(data.some(LEARNS_FILTER)), grain)
        return VelocityRegression(field, data.some(LOOKED_AT), unseen, settings, self.placement(fabric))

    def prior(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool
    ) -> "FlowMatchingPrior":
        """Returns the velocity as a prior."""
        from genprior.priors.flow_matching_prior import SIDES, FlowMatchingPrior
        from genprior.training.optimisation import grouped

        field = self._field(image_shape, 0)
        field.load_state_dict(grouped(state, "average" if average else "field"))
        return FlowMatchingPrior(field.float(), image_shape, None if self.model.name == FOR_POINTS else SIDES)

    def log_probability(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], x: "Tensor", seed: int = 0
    ) -> Likelihood | None:
        """Returns one draw of the bound for each image; see `FlowMatchingPrior.quantised_log_prob`."""
        from genprior.seeding import derived_generator

        prior, generator = self.prior(state, image_shape, average=True), derived_generator(seed, "dequantisation")
        found = prior.quantised_log_prob(x, generator)
        bits = float(found.deviation.mean()) / (math.prod(image_shape) * math.log(2))
        return Likelihood(found.nats, f"Gaussian dequantisation, levels drawn to {bits:.1g} bits")

    def game(self) -> "Game":
        """Returns that there are no players, and signs nevertheless: the record watches held-out images."""
        from genprior.diagnosis.signs import Game

        return Game()

    def _field(
        self,
        image_shape: tuple[int, int, int],
        seed: int,
        mean: float = 0.0,
        spread: float = 1.0,
        shares: "Tensor | None" = None,
    ) -> "VelocityField":
        from genprior.models.velocity_field import VelocityField
        from genprior.seeding import initialised

        def made() -> "VelocityField":
            return VelocityField(self.model.build(VELOCITIES, "model", image_shape=image_shape), mean, spread, shares)

        return initialised(made, seed)
