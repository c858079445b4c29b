"""A run's discriminator in other sizes."""

import inspect
from dataclasses import dataclass

from genprior.models.players import MODELS
from genprior.specs import Spec

SMALLER, LARGER, MOST = 4, 2, 4096
OPTIONS = ("discriminator_width", "width")  # what a model calls the width of its discriminator


@dataclass(frozen=True)
class Sizes:
    """Specs of a model with discriminators of several widths; only the discriminators are to be used.

    Attributes:
        models: By name, narrowest first; one alone where the model has no option for the width.
        own: Name of the width that was given.
    """

    models: dict[str, Spec]
    own: str

    @property
    def small(self) -> str:
        """Name of the narrowest."""
        return next(iter(self.models))

    @property
    def strong(self) -> str:
        """Name of the widest."""
        return next(reversed(self.models))


def sized(model: Spec) -> Sizes:
    """Returns a model with a discriminator a quarter as wide, as it is, and twice as wide.

    Example:
        >>> str(sized(Spec.parse("dcgan:norm=none")).models["width 8"])
        'dcgan:norm=none,discriminator_width=8'
    """
    parameters = inspect.signature(MODELS[model.name]).parameters
    option = next((each for each in OPTIONS if each in parameters), None)
    if option is None:
        return Sizes({"its own size": model}, "its own size")
    own = int(model.options.get(option, parameters[option].default))
    widths = sorted({max(1, own // SMALLER), own, min(MOST, LARGER * own)})
    return Sizes({f"width {width}": model.with_options(**{option: width}) for width in widths}, f"width {own}")
