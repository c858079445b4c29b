"""Settings of VAE."""

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


class VAEConfig(RunConfig):
    """Everything that decides how a VAE is trained by variational inference (Kingma & Welling 2014)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"vae-28": {"size": 28}}
    DEFAULT_PRESET: ClassVar[str] = "vae-28"
    EPOCHS: ClassVar[float] = 25.0
    HELP: ClassVar[str] = "Train an encoder and a decoder by the variational bound."

    family: Literal["vae"] = "vae"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET

    @property
    def title(self) -> str:
        """The family."""
        return "VAE"

    def check_names(self) -> None:
        """Raises `GenpriorError` where a name is not known."""

    def build(self, data: "Dataset", fabric: "Fabric | None" = None) -> "Learner":
        """Returns the algorithm for images of the shape of `data`, on the device of `fabric`."""
        raise NotImplementedError

    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "Prior":
        """Returns the generator with the density of its codes."""
        raise NotImplementedError
