"""Changes of all images that the discriminator sees, real ones and fakes alike, and how strong they should be.

With few images a discriminator learns them by heart, and its opinion of fakes is then worth nothing. Where it sees
changed images only, and gradients flow through the changes, it has more to learn, and the generator still makes
unchanged ones (Zhao et al. 2020, https://arxiv.org/abs/2006.10738; Karras et al. 2020, https://arxiv.org/abs/2006.06676).
`AUGMENTATIONS`, at the end, is the place to add one. Imports nothing of ours but errors.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from genprior.errors import GenpriorError

GREY = 0.5
TARGET = 0.5  # of the gap, where strength stands still: r_v of Karras et al. 2020, figure 5
EVERY = 16  # turns of the discriminator between two looks at held-out images
MEMORY = 16  # looks over which logits are averaged


class Augmentation(Protocol):
    """A change of images, differentiable in x, the same for equal draws; an image never depends on others."""

    @property
    def draws(self) -> int:
        """How many uniform numbers it needs for each image; the first says whether an image is changed."""

    def __call__(self, x: Tensor, strength: float, draws: Tensor) -> Tensor:
        """Returns x (B, C, H, W), changed with probability `strength` in [0, 1], by draws (B, n) from [0, 1)."""


@dataclass(frozen=True)
class Flip:
    """Mirrors half of the chosen images left to right: for images that look as well either way."""

    draws = 1

    def __call__(self, x: Tensor, strength: float, draws: Tensor) -> Tensor:
        """See `Augmentation`."""
        return torch.where(_each(draws[:, 0] < strength / 2), x.flip(3), x)


@dataclass(frozen=True)
class Shift:
    """Moves images by whole pixels, and continues their edges.

    Attributes:
        reach: Largest move, as a share of each side, above 0 and at most 0.5.
    """

    draws = 3
    reach: float = 0.125

    def __post_init__(self) -> None:
        _check("reach", self.reach, 0.5)

    def __call__(self, x: Tensor, strength: float, draws: Tensor) -> Tensor:
        """See `Augmentation`."""
        chosen = draws[:, 0] < strength
        rows, columns = self._places(x.shape[2], chosen, draws[:, 1]), self._places(x.shape[3], chosen, draws[:, 2])
        every = torch.arange(len(x), device=x.device)[:, None, None]
        return x.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _places(self, side: int, chosen: Tensor, draw: Tensor) -> Tensor:
        """Where each row of a moved image comes from (B, side)."""
        most = round(self.reach * side)
        steps = torch.where(chosen, (draw * (2 * most + 1)).long() - most, 0)
        places: Tensor = torch.arange(side, device=draw.device) + steps[:, None]
        return places.clamp(0, side - 1)


@dataclass(frozen=True)
class Recolour:
    """Changes brightness, saturation and contrast (Zhao et al. 2020, appendix); values may leave [0, 1].

    Saturation is about the mean of the channels, and does nothing to grey images.

    Attributes:
        brightness: Largest value that is added, above 0 and at most 1.
        saturation, contrast: Largest change of a factor of 1, above 0 and at most 1.
    """

    draws = 4
    brightness: float = 0.25
    saturation: float = 1.0
    contrast: float = 0.5

    def __post_init__(self) -> None:
        for name in ("brightness", "saturation", "contrast"):
            _check(name, getattr(self, name), 1.0)

    def __call__(self, x: Tensor, strength: float, draws: Tensor) -> Tensor:
        """See `Augmentation`."""
        swings = (draws[:, :1] < strength) * (2 * draws[:, 1:] - 1)  # (B, 3) in [-1, 1)
        brightness, saturation, contrast = (_each(each.to(x.dtype)) for each in swings.unbind(1))
        x = x + self.brightness * brightness
        x = x + self.saturation * saturation * (x - x.mean(1, keepdim=True))
        return x + self.contrast * contrast * (x - x.mean((1, 2, 3), keepdim=True))


@dataclass(frozen=True)
class Cutout:
    """Lays a grey rectangle over images, which may reach beyond an edge.

    Attributes:
        share: Of each side, that it takes, above 0 and at most 1.
    """

    draws = 3
    share: float = 0.5

    def __post_init__(self) -> None:
        _check("share", self.share, 1.0)

    def __call__(self, x: Tensor, strength: float, draws: Tensor) -> Tensor:
        """See `Augmentation`."""
        rows, columns = self._covered(x.shape[2], draws[:, 1]), self._covered(x.shape[3], draws[:, 2])
        inside = _each(draws[:, 0] < strength) & rows[:, None, :, None] & columns[:, None, None, :]
        return x.masked_fill(inside, GREY)

    def _covered(self, side: int, draw: Tensor) -> Tensor:
        """Which rows the rectangle covers (B, side)."""
        middles = torch.arange(side, device=draw.device) + 0.5
        return (middles - side * draw[:, None]).abs() < side * self.share / 2


def _check(name: str, value: float, most: float) -> None:
    if not 0 < value <= most:
        raise GenpriorError(f"expected {name} above 0 and at most {most:g}, got {value}", argument="augment")


def _each(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def augmented(x: Tensor, augmentations: Sequence[Augmentation], strength: float, draws: Tensor) -> Tensor:
    """Returns images changed by several augmentations in turn.

    Arguments:
        x: (B, C, H, W).
        augmentations: Each uses the next of the draws.
        strength: In [0, 1].
        draws: Uniform numbers (B, n) in [0, 1), n = `draws_of(augmentations)`.
    """
    if strength == 0:
        return x
    parts = torch.split(draws.to(x.device), [each.draws for each in augmentations], 1)
    for each, part in zip(augmentations, parts, strict=True):
        x = each(x, strength, part)
    return x


def draws_of(augmentations: Sequence[Augmentation]) -> int:
    """Returns how many uniform numbers an image needs."""
    return sum(each.draws for each in augmentations)


def memorised_share(real: Tensor, held_out: Tensor, fake: Tensor) -> Tensor:
    """Returns how far the discriminator tells learned from held-out images, as a share of how far it tells fakes.

    (E D(real) - E D(held out)) / (E D(real) - E D(fake)): 0 where it has learned what real images are like, 1 where it
    takes new real images for fakes (r_v of Karras et al. 2020, equation 1). Not a number where it does not tell fakes
    from real images.

    Arguments:
        real, held_out, fake: Logits (B,), (L,), (B,).

    Example:
        >>> memorised_share(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([-2.0]))
        tensor(0.2500)
    """
    told = real.mean() - fake.mean()
    share = (real.mean() - held_out.mean()) / told
    return torch.where(told > 0, share, torch.nan)


@dataclass(frozen=True)
class AugmentationSettings:
    """What the discriminator sees, and how strength is chosen.

    Attributes:
        augmentations: In their order.
        strength: In [0, 1]; None: steered by the gap of `memorised_share`, from 0 on.
        images: Real images in which a steered strength goes from 0 to 1 at most, at least 1.
    """

    augmentations: tuple[Augmentation, ...] = ()
    strength: float | None = None
    images: float = 50_000

    def __post_init__(self) -> None:
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise GenpriorError(f"expected a strength from 0 to 1, got {self.strength}", argument="augment_strength")
        if not self.images >= 1:
            raise GenpriorError(f"expected at least 1 image, got {self.images}", argument="images")

    @property
    def first_strength(self) -> float:
        """That of the first step."""
        return 0.0 if self.strength is None else self.strength


class Sight:
    """What a discriminator sees of images, and how far it knows the learned ones by heart.

    Arguments:
        settings: Which changes, and how strong.
    """

    def __init__(self, settings: AugmentationSettings) -> None:
        self.settings = settings
        self.strength, self._means, self._looks = settings.first_strength, torch.zeros(3, dtype=torch.float64), 0
        self._count = draws_of(settings.augmentations)

    def draws(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns the draws (count, n) for as many images."""
        return torch.rand(count, self._count, generator=generator)

    def __call__(self, x: Tensor, draws: Tensor) -> Tensor:
        """Returns images x (B, C, H, W) as they are seen now, by draws (B, n)."""
        return augmented(x, self.settings.augmentations, self.strength, draws)

    @property
    def gap(self) -> float:
        """`memorised_share` of the average logits; not a number before there are any.

        Logits are averaged, not their shares: where little is told yet, a share of two small numbers says anything.
        """
        return float(memorised_share(*self._means)) if self._looks else math.nan

    def look(self, real: Tensor, held_out: Tensor, fake: Tensor, images: int) -> None:
        """Takes logits (B,), (L,), (B,), `images` real images after the last ones, and moves a steered strength."""
        seen = torch.stack([logits.mean() for logits in (real, held_out, fake)]).to(self._means)
        if not seen.isfinite().all():
            return
        self._looks = min(self._looks + 1, MEMORY)
        self._means = self._means + (seen - self._means) / self._looks
        if self.settings.strength is None and not math.isnan(self.gap):
            step = images / self.settings.images
            self.strength = min(1.0, max(0.0, self.strength + (step if self.gap > TARGET else -step)))

    def record(self) -> dict[str, Tensor]:
        """Returns `memorised_share`, once it is known, and `augmentation_strength` where there is any."""
        found = {} if math.isnan(self.gap) else {"memorised_share": torch.tensor(self.gap)}
        strength = {"augmentation_strength": torch.tensor(self.strength)} if self.settings.augmentations else {}
        return found | strength

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the strength where there are changes, and the average logits once there are any."""
        strength = {"strength": torch.tensor(self.strength, dtype=torch.float64)} if self.settings.augmentations else {}
        return strength | ({"means": self._means, "looks": torch.tensor(self._looks)} if self._looks else {})

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned; checkpoints of older versions have nothing of it."""
        self.strength = float(state.get("strength", self.settings.first_strength))
        self._means, self._looks = state.get("means", torch.zeros_like(self._means)), int(state.get("looks", 0))


# Each makes a change of the images that the discriminator sees, real ones and fakes alike, from options of its own.
AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "flip": Flip,
    "shift": Shift,
    "colour": Recolour,
    "cutout": Cutout,
}
