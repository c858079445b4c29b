"""Settings of GANs."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from genprior.errors import GenpriorError
from genprior.families.run_config import Fraction, NotNegative, Positive, RunConfig
from genprior.specs import Spec, Table

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from genprior.data import Dataset
    from genprior.diagnosis.signs import Game
    from genprior.models.players import Players
    from genprior.priors.contracts import LatentPrior
    from genprior.training.adversarial import GAN, AdversarialSettings
    from genprior.training.losses import AdversarialLoss

LOSSES = Table("genprior.training.losses", "LOSSES")
PENALTIES = Table("genprior.training.penalties", "PENALTIES")
AUGMENTATIONS = Table("genprior.training.augmentation", "AUGMENTATIONS")
MODELS = Table("genprior.models.players", "MODELS", given=("sizes",))
SCHEDULES = Table("genprior.training.optimisation", "SCHEDULES", given=("warm_up",))


# The discriminator's slope at real images is penalised instead of its activations normalised, both players move
# equally often, Adam forgets fast, and the rates fall to zero.
RECIPE: dict[str, Any] = {
    "model": "dcgan:norm=none",
    "penalty": ("r1:gamma=0.5,every=8",),
    "beta1": 0.0,
    "beta2": 0.99,
    "discriminator_updates": 1,
    "generator_learning_rate": 0.001,
    "discriminator_learning_rate": 0.001,
    "schedule": "linear",
    "average_half_life": 20_000,
}


class GANConfig(RunConfig):
    """Everything that decides how a GAN is trained; a step draws `discriminator_updates * batch_size` images.

    Example:
        >>> config = GANConfig(data="digits", loss="hinge")
        >>> GANConfig.model_validate_json(config.model_dump_json()) == config
        True
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        # The best that we know for these networks (docs/benchmarks/losses-and-recipe.md, "A better recipe").
        "r1-28": {"size": 28, "epochs": 25.0, **RECIPE},
        "r1-32": {"size": 32, "epochs": 25.0, **RECIPE},
        "r1-64": {"size": 64, "epochs": 25.0, **RECIPE},
        # Images of the size that the data have, in grey or colour (docs/benchmarks/own-gans.md). Batches are small:
        # in ten minutes the number of updates decides, not how exact each of them is. So steps are small.
        "pyramid": {
            **RECIPE,
            "model": "pyramid:enlarging=bilinear",
            "batch_size": 32,
            "minutes": 10.0,
            "penalty": ("r1:gamma=2,every=8",),
            "generator_learning_rate": 0.0004,
            "discriminator_learning_rate": 0.0004,
        },
        # For --distil: a trained flow-matching network becomes the generator (docs/training.md).
        "few-steps": {
            **RECIPE,
            "model": "few-steps",
            "batch_size": 32,
            "minutes": 20.0,
            "generator_learning_rate": 0.0002,
            "average_half_life": 10_000,
            "score_every": 0,  # latents are too many for a search
        },
        # The study's networks and settings, its "lambda = 0.5" read as Adam's beta1.
        "dcgan-28": {"size": 28},
        # The same with "L2 regularisation, lambda = 0.5" taken literally, as weight decay; it hardly learns.
        "study-literal": {"size": 28, "weight_decay": 0.5, "beta1": 0.9, "beta2": 0.999},
        "dcgan-32": {"size": 32},
        "dcgan-64": {"size": 64},
        # 2-D toy distributions.
        "points": {
            "data": "ring",
            "model": "mlp",
            "latent_size": 2,
            "precision": "float32",  # bf16 is coarser than the spread of a mode
            "discriminator_updates": 1,
            "generator_learning_rate": 1e-3,
            "discriminator_learning_rate": 1e-3,
        },
    }
    DEFAULT_PRESET: ClassVar[str] = "r1-28"
    ANY_SHAPE: ClassVar[str | None] = "pyramid"
    EPOCHS: ClassVar[float] = 10.0
    HELP: ClassVar[str] = "Train a generator against a discriminator."
    LATENTS: ClassVar[str] = "Latents are standard normal noise, of which the generator makes an image."

    family: Literal["gan"] = "gan"
    preset: Annotated[str, Field(description=f"One of {', '.join(PRESETS)}.")] = DEFAULT_PRESET
    loss: Annotated[Spec, Field(description="What both players minimise:"), LOSSES] = Spec.parse("non-saturating")
    penalty: Annotated[
        tuple[Spec, ...],
        Field(max_length=8, description="On the slope of the discriminator, repeatable; none for no penalty:"),
        PENALTIES,
    ] = ()
    augment: Annotated[
        tuple[Spec, ...],
        Field(max_length=8, description="Changes of all images that the discriminator sees, repeatable; none:"),
        AUGMENTATIONS,
    ] = ()
    augment_strength: Annotated[
        float | None, Field(ge=0, le=1, description="Probability of each change; default: steered by held-out images.")
    ] = None
    pack: Annotated[
        int,
        Field(ge=1, le=65536, description="Images that the discriminator sees at once (PacGAN)."),
    ] = 1
    unroll: Annotated[
        int, Field(ge=0, le=100, description="Steps by which the generator sees the discriminator ahead; 0: none.")
    ] = 0
    model: Annotated[Spec, Field(description="Networks of both players:"), MODELS] = Spec.parse("dcgan")
    latent_size: Annotated[int, Field(ge=1, le=65536, description="Length of z; few-steps has one of its own.")] = 100
    batch_size: Annotated[int, Field(ge=2, le=65536, description="Real images in a discriminator update.")] = 128
    discriminator_updates: Annotated[
        int, Field(ge=1, le=1000, description="Discriminator updates for each generator update.")
    ] = 3
    generator_learning_rate: Annotated[Positive, Field(description="Adam's step size.")] = 0.002
    discriminator_learning_rate: Annotated[Positive, Field(description="Adam's step size.")] = 0.002
    beta1: Annotated[Fraction, Field(description="Adam's first decay, in [0, 1).")] = 0.5
    beta2: Annotated[Fraction, Field(description="Adam's second decay, in [0, 1).")] = 0.999
    schedule: Annotated[str, Field(description="Of both learning rates:"), SCHEDULES] = "constant"
    weight_decay: Annotated[NotNegative, Field(le=1000, description="Adam's L2 coefficient.")] = 0.0

    @field_validator("penalty", "augment", mode="before")
    @classmethod
    def _none_of_them(cls, given: object, info: ValidationInfo) -> object:
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list | tuple) or "none" not in names:
            return names
        if len(names) > 1:
            raise GenpriorError("none cannot be given with others", argument=info.field_name)
        return ()

    @model_validator(mode="after")
    def _whole_packs(self) -> Self:
        if self.batch_size % self.pack:
            raise GenpriorError(
                f"batches of {self.batch_size} images do not fill packs of {self.pack}; take a divisor of --batch-size",
                argument="pack",
            )
        if self.batch_size < 2 * self.pack:
            raise GenpriorError(
                f"batches of {self.batch_size} images are one pack, and its logit has no deviation; take at most "
                f"{self.batch_size // 2}",
                argument="pack",
            )
        return self

    @property
    def title(self) -> str:
        """Loss and family."""
        return f"{self.loss} GAN"

    def adversarial_loss(self) -> "tuple[Spec, AdversarialLoss]":
        """Returns what both players minimise."""
        return self.loss, self.loss.build(LOSSES, "loss")

    def can_make(self, shape: tuple[int, int, int]) -> bool:
        """Whether both players exist for images of a shape (C, H, W)."""
        from genprior.models.players import PlayerSizes, exist

        return exist(lambda: self.model.build(MODELS, "model", sizes=PlayerSizes(shape, self.latent_size, self.pack)))

    def for_few(self, images: int) -> dict[str, Any]:
        """Returns batches of whole packs."""
        found = super().for_few(images)
        size = found.get("batch_size", 0) // self.pack * self.pack
        return {"batch_size": size} if size >= 2 * self.pack else {}

    def build(self, data: "Dataset", fabric: "Fabric | None" = None, held_out: "Dataset | None" = None) -> "GAN":
        """Returns the algorithm for images of the shape of `data`, on the device of `fabric`.

        Raises:
            GenpriorError: Unknown model or loss, or a shape that the model cannot make; steered augmentation without
                images held out.
        """
        from genprior.training.adversarial import GAN

        players = self._players(data.image_shape, self.seed)
        compared = {name: make() for name, make in LOSSES.load().items()}
        _, loss = self.adversarial_loss()
        for doubt in self._doubts(loss, players.discriminator):
            warnings.warn(doubt, stacklevel=2)
        return GAN(players, loss, self._adversarial_settings(), self.placement(fabric), compared, held_out)

    def _doubts(self, loss: "AdversarialLoss", discriminator: "nn.Module") -> "Iterator[str]":
        """What will hardly train: in a line each."""
        from torch.nn.utils.parametrize import is_parametrized

        from genprior.models.discriminator_parts import MinibatchDeviation
        from genprior.models.layers import BatchNorm2d

        layers = list(discriminator.modules())
        if self.penalty and any(isinstance(layer, BatchNorm2d | MinibatchDeviation) for layer in layers):
            yield (
                "the penalty acts on a discriminator with batch normalisation or minibatch deviation, where the slope "
                f"of one image depends on the others: add norm=none,deviation=0 to --model {self.model}"
            )
        has_spectral_norm = any(is_parametrized(layer) for layer in layers)
        if not loss.has_scale and not self.penalty and not has_spectral_norm:
            yield (
                f"nothing bounds the slope of the discriminator, and the loss {self.loss} needs a bound: add --penalty "
                "wgan-gp:weight=10, or norm=spectral to --model"
            )

    def _adversarial_settings(self) -> "AdversarialSettings":
        from genprior.training.adversarial import AdversarialSettings
        from genprior.training.augmentation import Augmentation, AugmentationSettings
        from genprior.training.optimisation import AdamSettings

        changes: tuple[Augmentation, ...] = tuple(change.build(AUGMENTATIONS, "augment") for change in self.augment)
        adam = {"beta1": self.beta1, "beta2": self.beta2, "weight_decay": self.weight_decay}
        return AdversarialSettings(
            batch_size=self.batch_size,
            discriminator_updates=self.discriminator_updates,
            generator_adam=AdamSettings(self.generator_learning_rate, **adam),
            discriminator_adam=AdamSettings(self.discriminator_learning_rate, **adam),
            penalties=tuple(penalty.build(PENALTIES, "penalty") for penalty in self.penalty),
            unroll=self.unroll,
            schedule=SCHEDULES.load()[self.schedule],
            average_half_life=self.average_half_life,
            augmentation=AugmentationSettings(changes, self.augment_strength),
        )

    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "LatentPrior":
        """Returns the generator with standard normal latents."""
        from genprior.models.derived_generators import folded
        from genprior.models.players import latent_size_of
        from genprior.priors.generator_prior import GeneratorPrior

        generator = folded(self.generator(state, image_shape, average))
        return GeneratorPrior(generator, latent_size_of(generator), image_shape)

    def generator(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "nn.Module":
        """Returns the generator."""
        from genprior.training.optimisation import grouped

        generator = self._players(image_shape, 0).generator
        generator.load_state_dict(grouped(state, "average" if average else "generator"))
        return generator.float()

    @property
    def keeps_ages(self) -> bool:
        """Yes: both players."""
        return True

    def game(self) -> "Game":
        """Returns the equilibrium of its loss."""
        from genprior.diagnosis.signs import Game

        return Game(self.loss.build(LOSSES, "loss").at_equilibrium()[0])

    def _players(self, image_shape: tuple[int, int, int], seed: int) -> "Players":
        from genprior.models.players import PlayerSizes
        from genprior.seeding import initialised

        sizes = PlayerSizes(image_shape, self.latent_size, self.pack)
        return initialised(lambda: self.model.build(MODELS, "model", sizes=sizes), seed)


def gan_config(config: RunConfig, path: Path) -> GANConfig:
    """Returns the settings of a run of two players.

    Arguments:
        config, path: Of the run.

    Raises:
        GenpriorError: It has no discriminator.
    """
    if not isinstance(config, GANConfig):
        raise GenpriorError(
            f"{path} is a {config.title}, which has no discriminator; give a run of `genprior train gan`",
            argument="run",
        )
    return config
