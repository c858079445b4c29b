"""Settings of Glow."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from genprior.config.base import RunConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

    from genprior.data import Dataset
    from genprior.restoration.priors import Prior
    from genprior.training.loop import Learner


class GlowConfig(RunConfig):
    """Everything that decides how a Glow is trained by maximum likelihood (Kingma & Dhariwal 2018)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"glow-28": {"size": 28}}
    DEFAULT_PRESET: ClassVar[str] = "glow-28"
    EPOCHS: ClassVar[float] = 25.0
    HELP: ClassVar[str] = "Train an invertible network by maximum likelihood."

    family: Literal["glow"] = "glow"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET

    @property
    def title(self) -> str:
        """The family."""
        return "Glow"

    def check_names(self) -> None:
        """Raises `GenpriorError` where a name is not known."""

    def build(self, data: "Dataset", fabric: "Fabric | None" = None) -> "Learner":
        """Returns the algorithm for images of the shape of `data`, on the device of `fabric`."""
        raise NotImplementedError

    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "Prior":
        """Returns the generator with the density of its codes."""
        raise NotImplementedError
