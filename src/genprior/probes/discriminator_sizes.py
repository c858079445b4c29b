"""A run's discriminator in other sizes."""

import inspect
from dataclasses import dataclass

from genprior.models.players import MODELS

SMALLER, LARGER, MOST = 4, 2, 4096
OPTIONS = ("discriminator_width", "width")  # what a model calls the width of its discriminator


@dataclass(frozen=True)
class Sizes:
    """Specs of a model with discriminators of several widths; only the discriminators are to be used.

    Attributes:
        models: By name, narrowest first; one alone where the model has no option for the width.
        own: Name of the width that was given.
    """

    models: dict[str, str]
    own: str

    @property
    def small(self) -> str:
        """Name of the narrowest."""
        return next(iter(self.models))

    @property
    def strong(self) -> str:
        """Name of the widest."""
        return next(reversed(self.models))


def sized(model: str) -> Sizes:
    """Returns a model with a discriminator a quarter as wide, as it is, and twice as wide.

    Example:
        >>> sized("dcgan:norm=none").models["width 8"]
        'dcgan:norm=none,discriminator_width=8'
    """
    name, _, text = model.partition(":")
    parameters = inspect.signature(MODELS[name]).parameters
    option = next((each for each in OPTIONS if each in parameters), None)
    if option is None:
        return Sizes({"its own size": model}, "its own size")
    given = dict(item.split("=", 1) for item in text.split(",") if item)
    own = int(given.get(option, parameters[option].default))
    widths = sorted({max(1, own // SMALLER), own, min(MOST, LARGER * own)})
    models = {f"width {width}": _spec(name, given | {option: str(width)}) for width in widths}
    return Sizes(models, f"width {own}")


def _spec(name: str, options: dict[str, str]) -> str:
    return f"{name}:{','.join(f'{key}={value}' for key, value in options.items())}"
