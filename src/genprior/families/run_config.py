"""What all families' settings share. Importing this module does not import torch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from genprior.errors import GenpriorError, suggestion
from genprior.settings import Channels, Fit, Model, Setting, Settings, Size, Strict, White, is_path, validated
from genprior.specs import Spec

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from genprior.data import Dataset
    from genprior.data.held_out import Split
    from genprior.diagnosis.signs import Game
    from genprior.priors.contracts import LatentPrior
    from genprior.specs import Spec
    from genprior.training.loop import Budget, Learner
    from genprior.training.losses import AdversarialLoss
    from genprior.training.processes import Placement

BUDGETS = ("images_seen", "epochs", "minutes")
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Curves:
    """A picture of numbers of the record over images seen.

    Attributes:
        title: Above it.
        unit: Along the vertical axis.
        labels: What each curve is called, by its name in the record.
        is_log: Whether the vertical axis is logarithmic.
    """

    title: str
    unit: str
    labels: Mapping[str, str]
    is_log: bool = False


@dataclass(frozen=True)
class Likelihood:
    """How probable a model finds images.

    Attributes:
        nats: Log-probability of each 8-bit image (B,), or a lower bound of it.
        how: How it was found, in a few words.
    """

    nats: "Tensor"
    how: str


class ForkedFrom(Model):
    """Where a run began that goes on from another one with other settings, or with its network in another family.

    Attributes:
        run: Folder of the other run.
        step, images_seen: Of its checkpoint; the record of a fork begins after it.
        changed: A line for each setting of a fork that is another one, with what it was.
        is_distilled: Whether only the network is the other run's, and the record begins at 0.
    """

    run: str
    step: Annotated[int, Field(ge=0)]
    images_seen: Annotated[int, Field(ge=0)]
    changed: tuple[str, ...] = ()
    is_distilled: bool = False

    @property
    def how(self) -> str:
        """How the run began, in a word."""
        return "distilled" if self.is_distilled else "forked"

    def in_words(self) -> str:
        """Returns the same in a line."""
        at = f"from {self.run} at step {self.step:,} ({self.images_seen:,} images)"
        return at if self.is_distilled else f"{at}: {'; '.join(self.changed) or 'all settings as they were'}"


def largest_power(most: int) -> int:
    """Returns the largest power of 2 that is not above a number, at least 1.

    Example:
        >>> largest_power(18)
        16
    """
    return 1 << (most.bit_length() - 1)


class RunConfig(Settings, ABC):
    """Everything that decides how a model is trained; a run folder holds it as JSON.

    Images seen are the clock: exactly one of `images_seen`, `epochs` and `minutes` ends training, and where none is
    given it is the `EPOCHS` of the family. The description of each field is the help of its flag.

    Raises:
        pydantic.ValidationError: A value out of range, or an unknown key.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]]
    """Each overrides defaults; what the caller gives overrides the preset."""
    DEFAULT_PRESET: ClassVar[str]
    EPOCHS: ClassVar[float]
    HELP: ClassVar[str]
    """What the family's sub-command does."""
    LATENTS: ClassVar[str]
    """What its latents are, to somebody who looks at a map of them."""
    ANY_SHAPE: ClassVar[str | None] = None
    """The preset for shapes that the default network cannot make; None: there is no other."""
    TAKES_BASE: ClassVar[bool] = False
    """Whether samples may begin at a mixture of images, kept beside the run."""
    JUDGED_BY_DENSITY: ClassVar[bool] = False
    """Whether weights of several ages are compared by `log_probability`, not by restored images."""
    CURVES: ClassVar[dict[str, Curves]] = {}
    """Pictures of a run's record, by the names of their files."""

    family: str
    preset: str
    data: Annotated[str, Field(description="What to train on: a name, a folder, an array file.")] = "mnist"
    data_root: Annotated[
        str | None, Field(description="Folder of named data sets; default $GENPRIOR_DATA, else a cache folder.")
    ] = None
    size: Size = None
    channels: Channels = None
    fit: Fit = "crop"
    white: White = None
    strict: Strict = False
    held_out: Annotated[
        Fraction, Field(description="Share of images never learned where the data have no test images; 0 for none.")
    ] = 0.1
    score_every: Annotated[
        int | None,
        Field(ge=0, description="Images between looks at held-out ones; 0: none; default: 1/20 of the time."),
    ] = None
    patience: Annotated[
        Count | None, Field(description="Images without a better look at held-out ones after which training ends.")
    ] = None
    average_half_life: Annotated[
        Positive, Field(description="Half-life of the moving average of the weights, in images.")
    ] = 10_000
    images_seen: Annotated[Count | None, Field(description="Budget in images.")] = None
    epochs: Annotated[Positive | None, Field(description="Budget in passes over the data.")] = None
    minutes: Annotated[Positive | None, Field(description="Budget in minutes.")] = None
    seed: Annotated[int, Field(description="Any integer; the same settings give the same run.")] = 0
    precision: Annotated[
        Literal["auto", "bf16", "float32", "float64"], Field(description="Arithmetic of the networks:")
    ] = "auto"
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1 ...")] = "auto"
    threads: Annotated[
        int | None, Field(ge=1, le=1024, description="CPU threads of each process; default: chosen by trial.")
    ] = None
    checkpoint_seconds: Annotated[Positive, Field(description="Time between checkpoints.")] = 60
    tensorboard: Annotated[bool, Field(description="Write TensorBoard files into the run.")] = False
    forked_from: ForkedFrom | None = None  # no description: it is no flag, and written by whatever forks

    @model_validator(mode="wrap")
    @classmethod
    def _remember_what_was_named(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        """Counts as set what the caller gave, and not what a preset gave: that may be fitted to the images."""
        config = build(given)
        if isinstance(given, Mapping):
            object.__setattr__(config, "__pydantic_fields_set__", {*given} & cls.model_fields.keys())
        return config

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset", cls.DEFAULT_PRESET)
        if not isinstance(preset, str) or preset not in cls.PRESETS:
            raise GenpriorError(f"unknown preset '{preset}', {suggestion(str(preset), cls.PRESETS)}", argument="preset")
        values = {**cls.PRESETS[preset], **given}
        if "size" not in given and is_path(str(given.get("data", ""))):
            values["size"] = None  # images of one's own keep their size, or get the one that suits them
        if any(given.get(name) is not None for name in BUDGETS):  # one budget takes the place of another
            values |= {name: given.get(name) for name in BUDGETS}
        return values

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise GenpriorError(
                f"give one of images_seen, epochs and minutes, got {' and '.join(given)}", argument=given[-1]
            )
        if not given:
            object.__setattr__(self, "epochs", self.EPOCHS)
        return self

    @model_validator(mode="after")
    def _patience_needs_scores(self) -> Self:
        if self.patience is not None and (self.score_every == 0 or self.held_out == 0):
            name = "score_every" if self.score_every == 0 else "held_out"
            raise GenpriorError("needs looks at held-out images, got 0", argument=name)
        return self

    @classmethod
    def settings(cls) -> list[Setting]:
        """Returns all fields that a user may set, with the defaults of the default preset."""
        preset = cls.PRESETS[cls.DEFAULT_PRESET]
        return [replace(each, default=preset.get(each.name, each.default)) for each in super().settings()]

    @property
    @abstractmethod
    def title(self) -> str:
        """What is trained, in a few words."""

    def adversarial_loss(self) -> "tuple[Spec, AdversarialLoss] | None":
        """Returns what two players minimise, as it is named and as functions; None where there are no players."""
        return None

    def check_names(self) -> None:
        """Raises `GenpriorError` where a name or an option is not known, as far as that is known without the data."""
        for name, table in self.tables().items():
            value = getattr(self, name)
            for spec in value if isinstance(value, tuple) else [value]:
                if isinstance(spec, Spec):
                    spec.check(table, name)

    def fitted(self, data: "Dataset") -> tuple[Self, list[str]]:
        """Returns settings that suit the images where nobody named others, and a line for each that differs.

        A shape that the default network cannot make, or learns slowly, takes the preset that suits it. Fewer images
        than a batch take a smaller batch. What was named, be it the default, stays as it is: `build` and `check` say
        what is wrong with it.

        Arguments:
            data: What is to be learned.

        Raises:
            GenpriorError: A setting that was named does not go with the others.
        """
        config, lines = self._for_shape(data.image_shape)
        fewer = {name: value for name, value in config.for_few(len(data)).items() if name not in self.model_fields_set}
        changed = {name: (value, dict(config)[name]) for name, value in fewer.items() if value != dict(config)[name]}
        for name, (value, usual) in changed.items():
            lines.append(
                f"{name.replace('_', ' ')} {value}, and not {usual}: there are {len(data)} images to learn from"
            )
        if changed:
            config = validated(type(self), {**config.model_dump(), **{name: fewer[name] for name in changed}})
        return config, lines

    def _for_shape(self, shape: tuple[int, int, int]) -> tuple[Self, list[str]]:
        found = None if self.model_fields_set & {"preset", "model"} else self.better_preset(shape)
        if found is None:
            return self, []
        preset, why = found
        own = self.model_dump(include=self.model_fields_set)
        other = validated(type(self), {**own, "preset": preset, "size": self.size})  # images are loaded already
        return (other, [f"preset {preset}: {why}"]) if other.can_make(shape) else (self, [])

    def better_preset(self, shape: tuple[int, int, int]) -> tuple[str, str] | None:
        """Returns the preset for images of a shape (C, H, W) where it is another than the default, and why."""
        if self.ANY_SHAPE is None or self.can_make(shape):
            return None
        return self.ANY_SHAPE, f"the networks of {self.preset} cannot make images of {'x'.join(map(str, shape))}"

    def can_make(self, shape: tuple[int, int, int]) -> bool:
        """Whether the networks exist for images of a shape (C, H, W); True where any network of the family does."""
        return True

    def for_few(self, images: int) -> dict[str, Any]:
        """Returns what takes the place of settings that need more images, by their names.

        Arguments:
            images: That are learned, at least 1.
        """
        usual = dict(self).get("batch_size")
        return {} if usual is None or not 1 < images < usual else {"batch_size": largest_power(images)}

    @abstractmethod
    def build(self, data: "Dataset", fabric: "Fabric | None" = None, held_out: "Dataset | None" = None) -> "Learner":
        """Returns the algorithm for images of the shape of `data`, on the device of `fabric`.

        Arguments:
            data: What is learned.
            fabric: Of the processes that train; None: one process.
            held_out: Images that are never learned, by which training may watch itself; not every family does.

        Raises:
            GenpriorError: Unknown names, or a shape that the model cannot make.
        """

    @abstractmethod
    def prior(self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool) -> "LatentPrior":
        """Returns the trained model as a prior, in float32 on the CPU.

        Arguments:
            state: Tensors of a checkpoint.
            image_shape: (C, H, W).
            average: Use the moving average of the weights; False: the weights as they were at the last step.

        Raises:
            RuntimeError: The tensors are not those of this model.
        """

    def generator(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], average: bool
    ) -> "nn.Module | None":
        """Returns what makes images of standard normal latents, for which an encoder may be trained; None: nothing."""
        return None

    def log_probability(
        self, state: "Mapping[str, Tensor]", image_shape: tuple[int, int, int], x: "Tensor", seed: int = 0
    ) -> Likelihood | None:
        """Returns how probable the averaged model finds 8-bit images; None where the family has no density.

        Arguments:
            state: Tensors of a checkpoint.
            image_shape: (C, H, W).
            x: (B, C, H, W), multiples of 1/255 in [0, 1].
            seed: Of all draws.
        """
        return None

    def game(self) -> "Game | None":
        """Returns what signs of ill training must know of a run; None where its record shows none."""
        return None

    def facts(self, image_shape: tuple[int, int, int]) -> dict[str, str]:
        """Returns what must stand beside the numbers of the record, by their names."""
        return {}

    @property
    def begins_after(self) -> tuple[int, int]:
        """The step and the images seen after which the run's own record begins: zeros but for a fork."""
        origin = self.forked_from
        return (0, 0) if origin is None or origin.is_distilled else (origin.step, origin.images_seen)

    @property
    def keeps_ages(self) -> bool:
        """Whether a run keeps what its learner was at several ages."""
        return False

    @property
    def arithmetic(self) -> str:
        """What the family computes in, where `precision` is what was asked for."""
        return self.precision

    def budget(self) -> "Budget":
        """Returns how long the model is trained."""
        from genprior.training.loop import Budget

        return Budget(self.images_seen, self.epochs, self.minutes)

    def placement(self, fabric: "Fabric | None" = None) -> "Placement":
        """Returns where the model is trained and in which arithmetic.

        Raises:
            GenpriorError: No such device here.
        """
        import torch

        from genprior.hardware import resolve_device, resolve_precision
        from genprior.training.processes import Placement, Processes

        device = resolve_device(self.device) if fabric is None else fabric.device
        dtypes = {"bf16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
        return Placement(dtypes[resolve_precision(self.precision, device)], device, Processes(fabric))

    def load_data(self) -> "Dataset":
        """Returns all images that training sees: those of `data`, but for the ones held out."""
        return self.load_split().learned

    def load_split(self) -> "Split":
        """Returns what training sees, and what it never does."""
        from genprior.data import load_data
        from genprior.data.held_out import split_data

        def load(spec: str) -> "Dataset":
            return load_data(
                spec,
                root=self.data_root,
                size=self.size,
                channels=self.channels,
                fit=self.fit,
                strict=self.strict,
                white=self.white,
            )

        return split_data(self.data, self.held_out, load)
