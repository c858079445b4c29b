"""Settings of GLO."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from genprior.errors import GenpriorError
from genprior.families.run_config import Curves, Positive, RunConfig
from genprior.specs import Spec, Table

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from genprior.data import Dataset
    from genprior.models.derived_generators import WhitenedGenerator
    from genprior.priors.contracts import LatentPrior
    from genprior.priors.densities import Density
    from genprior.training.latent_optimisation import GLO

RECONSTRUCTION_LOSSES = Table("genprior.training.reconstruction_losses", "RECONSTRUCTION_LOSSES")
MODELS = Table("genprior.models.players", "MODELS", given=("sizes",))
DENSITIES = Table("genprior.priors.densities", "DENSITIES")
STARTS = Table("genprior.training.latent_optimisation", "STARTS", given=("data", "size", "seed"))


class GLOConfig(RunConfig):
    """Everything that decides how a generator and its codes are trained by GLO (Bojanowski et al. 2018).

    Example:
        >>> config = GLOConfig(data="digits", loss="laplacian")
        >>> GLOConfig.model_validate_json(config.model_dump_json()) == config
        True
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        # The study's generator, with the loss of the paper: edges are sharper than by l2, and backgrounds empty.
        "glo-28": {"size": 28, "loss": "laplacian"},
        # Images of the size that the data have, in grey or colour. What a code cannot say, no search can find: long
        # codes restore better (docs/benchmarks/own-images.md). A mixture would have more parameters than codes.
        "pyramid": {
            "loss": "laplacian",
            "model": "pyramid",
            "latent_size": 800,
            "density": "gaussian",
            "minutes": 20.0,
        },
    }
    DEFAULT_PRESET: ClassVar[str] = "glo-28"
    ANY_SHAPE: ClassVar[str | None] = "pyramid"
    EPOCHS: ClassVar[float] = 25.0
    HELP: ClassVar[str] = "Train a generator together with one code for each image."
    LATENTS: ClassVar[str] = "Latents are codes: the density is that of the codes of the training images."
    CURVES: ClassVar[dict[str, Curves]] = {
        "reconstruction_error": Curves(
            "Reconstruction of training images",
            "mean squared error of a pixel",
            {"reconstruction_error": "training images"},
            is_log=True,
        ),
        "gradient_norm": Curves("Gradients", "norm", {"gradient_norm": "generator"}, is_log=True),
    }

    family: Literal["glo"] = "glo"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET
    loss: Annotated[Spec, Field(description="Error of a made image:"), RECONSTRUCTION_LOSSES] = Spec.parse("l2")
    model: Annotated[Spec, Field(description="Network of the generator:"), MODELS] = Spec.parse("dcgan")
    latent_size: Annotated[int, Field(ge=1, le=65536, description="Length of a code.")] = 100
    start: Annotated[Spec, Field(description="Where codes start:"), STARTS] = Spec.parse("pca")
    batch_size: Annotated[int, Field(ge=2, le=65536, description="Images in an update.")] = 128
    generator_learning_rate: Annotated[Positive, Field(description="Adam's largest step size.")] = 0.002
    code_learning_rate: Annotated[Positive, Field(description="Adam's largest step size for the codes.")] = 0.01
    density: Annotated[Spec, Field(description="What samples are drawn from, fitted to the codes:"), DENSITIES] = (
        Spec.parse("mixture:components=10")
    )

    @property
    def title(self) -> str:
        """Loss and family."""
        return f"{self.loss} GLO"

    def can_make(self, shape: tuple[int, int, int]) -> bool:
        """Whether the generator exists for images of a shape (C, H, W)."""
        from genprior.models.players import PlayerSizes, exist

        return exist(lambda: self.model.build(MODELS, "model", sizes=PlayerSizes(shape, self.latent_size)))

    def for_few(self, images: int) -> dict[str, Any]:
        """Returns smaller batches, and codes of fewer numbers than there are images, as principal components need."""
        longest = max(1, images - 1)
        codes = {"latent_size": longest} if longest < self.latent_size and self.start.name == "pca" else {}
        return {**super().for_few(images), **codes}

    def build(self, data: "Dataset", fabric: "Fabric | None" = None, held_out: "Dataset | None" = None) -> "GLO":
        """Returns the algorithm for these very images, on the device of `fabric`.

        Raises:
            GenpriorError: Unknown names, points, a shape that the model cannot make, too few images, or random crops.
        """
        from genprior.training.latent_optimisation import GLO, check_images
        from genprior.training.optimisation import AdamSettings

        self.check_names()
        check_images(data)
        return GLO(
            self._generator(data.image_shape, self.seed),
            self.start.build(STARTS, "start", data=data, size=self.latent_size, seed=self.seed),
            self.loss.build(RECONSTRUCTION_LOSSES, "loss"),
            batch_size=self.batch_size,
            generator_adam=AdamSettings(self.generator_learning_rate),
            code_adam=AdamSettings(self.code_learning_rate),
            average_half_life=self.average_half_life,
            placement=self.placement(fabric),
        )

    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "LatentPrior":
        """Returns the generator of whitened codes with the density of these."""
        from genprior.models.derived_generators import folded
        from genprior.priors.generator_prior import GeneratorPrior

        generator = self.generator(state, image_shape, average)
        density: Density = self.density.build(DENSITIES, "density")(generator.whitening.inverse(state["codes"].float()))
        return GeneratorPrior(folded(generator), self.latent_size, image_shape, density)

    def generator(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool
    ) -> "WhitenedGenerator":
        """Returns the generator of whitened codes, w with code = m + L w, for the solvers expect latents of scale 1."""
        from genprior.models.derived_generators import WhitenedGenerator, Whitening
        from genprior.priors.densities import whitening
        from genprior.training.optimisation import grouped

        generator = self._generator(image_shape, 0)
        generator.load_state_dict(grouped(state, "average" if average else "generator"))
        return WhitenedGenerator(Whitening(*whitening(state["codes"].float())), generator.float())

    def _generator(self, image_shape: tuple[int, int, int], seed: int) -> "nn.Module":
        from genprior.models.players import PlayerSizes, latent_size_of
        from genprior.seeding import initialised

        sizes = PlayerSizes(image_shape, self.latent_size)
        generator: nn.Module = initialised(lambda: self.model.build(MODELS, "model", sizes=sizes).generator, seed)
        if (size := latent_size_of(generator)) != self.latent_size:
            told = f"{self.model.name} takes codes of {size} numbers, got {self.latent_size}; take another model"
            raise GenpriorError(told, argument="model")
        return generator
