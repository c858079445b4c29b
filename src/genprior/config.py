"""What a run is made of, as frozen tables that reject unknown keys; presets; and names resolved to objects.

Strings live here and at the command line, nowhere below. Importing this module does not import torch.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from genprior.errors import GenpriorError, suggestion

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from genprior.data import Dataset
    from genprior.training.gan import GAN

T = TypeVar("T")
BUDGETS = ("images_seen", "epochs", "minutes")
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=1024)]  # more is a slip, and would ask for all memory there is

# Each preset overrides defaults of `GANConfig`; what the caller gives overrides the preset.
PRESETS: dict[str, dict[str, Any]] = {
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
DEFAULT_PRESET = "dcgan-28"


class GANConfig(BaseModel):
    """Everything that decides how a GAN is trained; a run folder holds it as JSON.

    Images seen are the clock: exactly one of `images_seen`, `epochs` and `minutes` ends training, and where none is
    given it is 10 epochs. A step draws `discriminator_updates * batch_size` images.

    Raises:
        pydantic.ValidationError: A value out of range, or an unknown key.

    Example:
        >>> config = GANConfig(data="digits", loss="hinge")
        >>> GANConfig.model_validate_json(config.model_dump_json()) == config
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["gan"] = "gan"
    preset: str = DEFAULT_PRESET
    data: str = "mnist"
    data_root: str | None = None
    size: Size | None = None
    channels: Literal[1, 3] | None = None
    fit: Literal["crop", "pad"] = "crop"
    strict: bool = False
    model: str = "dcgan"
    latent_size: Annotated[int, Field(ge=1, le=65536)] = 100
    loss: str = "non-saturating"
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 128
    discriminator_updates: Annotated[int, Field(ge=1, le=1000)] = 3
    generator_learning_rate: Positive = 0.002
    discriminator_learning_rate: Positive = 0.002
    beta1: Fraction = 0.5
    beta2: Fraction = 0.999
    weight_decay: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    average_half_life: Positive = 10_000
    images_seen: Count | None = None
    epochs: Positive | None = None
    minutes: Positive | None = None
    seed: int = 0
    precision: Literal["auto", "bf16", "float32", "float64"] = "auto"
    device: str = "auto"
    threads: Size | None = None
    checkpoint_seconds: Positive = 60
    tensorboard: bool = False

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset", DEFAULT_PRESET)
        if not isinstance(preset, str) or preset not in PRESETS:
            raise GenpriorError(f"unknown preset '{preset}', {suggestion(str(preset), PRESETS)}", argument="preset")
        return {**PRESETS[preset], **given}

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of images_seen, epochs and minutes, got {' and '.join(given)}")
        if not given:
            object.__setattr__(self, "epochs", 10.0)
        return self

    def load_data(self) -> "Dataset":
        """Returns the data set that this config names."""
        from genprior.data import load_data

        return load_data(
            self.data,
            root=self.data_root,
            size=self.size,
            channels=self.channels,
            fit=self.fit,
            strict=self.strict,
        )

    def build(self, data: "Dataset", fabric: "Fabric | None" = None) -> "GAN":
        """Returns the algorithm for images of the shape of `data`, on the device of `fabric`.

        Raises:
            GenpriorError: Unknown model or loss, or a shape that the model cannot make.
        """
        import torch

        from genprior.hardware import resolve_device, resolve_precision
        from genprior.models.players import MODELS, initialised
        from genprior.training.gan import GAN
        from genprior.training.losses import LOSSES
        from genprior.training.optimiser import AdamSettings
        from genprior.training.processes import Processes

        device = resolve_device(self.device) if fabric is None else fabric.device
        dtypes = {"bf16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
        shape, size = data.image_shape, self.latent_size
        players = initialised(
            lambda: build(MODELS, self.model, "model", image_shape=shape, latent_size=size),
            self.seed,
        )
        adam = {"beta1": self.beta1, "beta2": self.beta2, "weight_decay": self.weight_decay}
        return GAN(
            players,
            build(LOSSES, self.loss, "loss"),
            batch_size=self.batch_size,
            discriminator_updates=self.discriminator_updates,
            generator_adam=AdamSettings(self.generator_learning_rate, **adam),
            discriminator_adam=AdamSettings(self.discriminator_learning_rate, **adam),
            average_half_life=self.average_half_life,
            dtype=dtypes[resolve_precision(self.precision, device)],
            device=device,
            processes=Processes(fabric),
        )


def build(table: Mapping[str, Callable[..., T]], spec: str, argument: str, **given: object) -> T:
    """Returns the object that `spec` names: "name" or "name:key=value,key=value".

    Arguments:
        table: Known names and what makes their objects.
        spec: What the user wrote.
        argument: What the user calls it, for error messages.
        given: Arguments that the caller adds and the user may not set.

    Raises:
        GenpriorError: Unknown name, unknown option, or a value that is no number where the option is not a word (a
            parameter annotated `str` or `str | None`).

    Example:
        >>> build({"pair": lambda a, b=2: (a, b)}, "pair:b=5", "thing", a=1)
        (1, 5)
    """
    name, _, text = spec.partition(":")
    if name not in table:
        raise GenpriorError(f"unknown {argument} '{name}', {suggestion(name, table)}", argument=argument)
    parameters = inspect.signature(table[name]).parameters
    known = [key for key in parameters if key not in given]
    options: dict[str, float | int | str] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in known:
            hint = suggestion(key, known) if known else "it has none"
            raise GenpriorError(f"unknown option '{key}' of '{name}', {hint}", argument=argument)
        is_word = parameters[key].annotation in (str, str | None)
        options[key] = value if is_word else _number(value, f"option '{key}' of '{name}'", argument)
    return table[name](**given, **options)


def _number(text: str, what: str, argument: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise GenpriorError(f"{what} must be a number, got '{text}'", argument=argument) from None


def check_names(config: GANConfig) -> None:
    """Raises `GenpriorError` where the loss is not known; the model's name needs the data's shape."""
    from genprior.training.losses import LOSSES

    build(LOSSES, config.loss, "loss")


def parse_config(values: Mapping[str, Any]) -> GANConfig:
    """Returns the config of `values`, with errors of one line.

    Raises:
        GenpriorError: Unknown key (with the nearest known one) or a value out of range.
    """
    try:
        return GANConfig.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, GenpriorError):
            raise cause from None
        argument = str(first["loc"][0]) if first["loc"] else None
        if first["type"] == "extra_forbidden":
            hint = suggestion(str(argument), GANConfig.model_fields)
            raise GenpriorError(f"unknown config key, {hint}", argument=argument) from None
        got = f", got {first['input']!r}" if argument else ""
        message = first["msg"].removeprefix("Value error, ")
        raise GenpriorError(message[0].lower() + message[1:] + got, argument=argument) from None
