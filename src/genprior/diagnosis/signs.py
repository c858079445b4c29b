"""Signs of ill training in a record: each looks at a stretch of it and says what it sees, or None.

`SIGNS`, at the end, is the place to add one, with its remedy; the first that holds gives the name, causes before what
follows from them. Bounds were chosen on runs that were made healthy or ill on purpose (`benchmarks/verdicts.py`).
Imports nothing of ours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = dict[str, Any]

VANISHED = 0.02  # of a loss factor
FLAT = 1e-3  # of logits, and of their slope: at equilibrium both are small, yet a gradient is left
OVER_FITTED = 0.03  # relative: how far an error on held-out images is above its best
MEMORISED = 0.7  # of the way from learned images to fakes; steered augmentation keeps it at 0.5
CERTAIN = 0.995  # of an accuracy
SWING, SWING_BLOCK, CROSSINGS = 0.3, 5, 4
STICKS = 1e-3  # relative: how close all values of a loss lie to a known constant


@dataclass(frozen=True)
class Game:
    """What must be known of a run to read its record.

    Attributes:
        discriminator_at_equilibrium: The discriminator's loss once fakes equal the data; not a number where there are
            no players, and comparisons with it are false.
    """

    discriminator_at_equilibrium: float = math.nan


@dataclass(frozen=True)
class Window:
    """Consecutive rows of a GAN's record, the newest last.

    Attributes:
        game: Of the run.
        rows: At least one.
    """

    game: Game
    rows: Sequence[Row]

    def column(self, name: str) -> np.ndarray:
        """Returns the numbers of that name that there are, in order."""
        values = [row.get(name) for row in self.rows]
        return np.array([value for value in values if value is not None], dtype=float)

    def median(self, name: str) -> float:
        """Returns the median of a number, not-a-number where no row has it: comparisons with it are then false."""
        values = self.column(name)
        return float(np.median(values)) if len(values) else math.nan

    def thirds(self, name: str) -> tuple[float, float]:
        """Returns the medians of the first and of the last third of a number."""
        values = self.column(name)
        part = max(1, len(values) // 3)
        return (float(np.median(values[:part])), float(np.median(values[-part:]))) if len(values) else (math.nan,) * 2

    def blocks(self, name: str, size: int) -> np.ndarray:
        """Returns the means of consecutive blocks of `size` values; the newest is complete."""
        values = self.column(name)
        whole = len(values) // size * size
        means: np.ndarray = values[len(values) - whole :].reshape(-1, size).mean(1)
        return means


@dataclass(frozen=True)
class Sign:
    """A sign of ill training.

    Attributes:
        seen_in: A stretch of the record -> what it sees there, in words; None: nothing.
        remedy: What to do.
        is_slow: Whether it looks at all of the past that is kept, not at the newest stretch.
    """

    seen_in: Callable[[Window], str | None]
    remedy: str
    is_slow: bool = False


def non_finite(window: Window) -> str | None:
    """Values that are not finite."""
    names = sorted({name for row in window.rows for name in _not_finite(row)})
    return f"not finite: {', '.join(names[:3])}" if names else None


def _not_finite(row: dict[str, object]) -> list[str]:
    flagged = row.get("not_finite")
    counted = [name for name, value in row.items() if name.startswith("non_finite") and value]
    return [*(flagged if isinstance(flagged, dict) else ()), *counted]


def dead_discriminator(window: Window) -> str | None:
    """Its logits are one constant for real images and fakes, or no gradient reaches its weights."""
    spread = max(window.median("real_logit_std"), window.median("fake_logit_std"))
    gap = abs(window.median("real_logit_mean") - window.median("fake_logit_mean"))
    if max(spread, gap) < FLAT and not window.median("discriminator_slope") > FLAT:
        told = f"the discriminator gives every image the same logit (spread {spread:.1g}, real from fake {gap:.1g})"
        return _with_fingerprint(told, window)
    norm, share = window.median("discriminator_gradient_norm"), _loss_share(window)
    if norm < 1e-6 and share > 0.5:
        return f"the discriminator errs (its loss is {share:.2g} of that at chance), yet its gradient is {norm:.1g}"
    return None


def memorises(window: Window) -> str | None:
    """The discriminator takes real images that were never learned nearly for fakes."""
    share = window.median("memorised_share")
    if not share > MEMORISED:
        return None
    return (
        f"the discriminator memorises: from learned images to fakes, its logits of held-out real images lie "
        f"{100 * share:.0f} % of the way"
    )


def over_fitted(window: Window) -> str | None:
    """The error on held-out images rose from its best, while that on learned ones is below it."""
    now, best, learned = (window.median(name) for name in ("held_out_error", "held_out_best", "learned_error"))
    if not (now > (1 + OVER_FITTED) * best and learned < now):
        return None
    return (
        f"the error on held-out images is {now:.3g}, {100 * (now / best - 1):.0f} % above its best, and "
        f"{learned:.3g} on learned images"
    )


def saturated(window: Window) -> str | None:
    """The generator's own loss factor vanished where another loss would still give a full one."""
    own, other = window.median("loss_factor"), window.median("loss_factor_non-saturating")
    if not (own < VANISHED and other > 1 - 10 * VANISHED):
        return None
    return f"the generator's loss factor {_fall(window)}; non-saturating would still give {other:.2f} here"


def _fall(window: Window) -> str:
    before, after = window.thirds("loss_factor")
    decades = math.log10(before / after) if before > 0 and after > 0 else 0.0
    is_seen = decades >= 1
    return (
        f"fell {decades:.1f} decades in {len(window.rows)} steps"
        if is_seen
        else f"is {window.median('loss_factor'):.1g}"
    )


def discriminator_wins(window: Window) -> str | None:
    """It tells real images from fakes without an error, and surely."""
    accuracy = min(window.median("accuracy_real"), window.median("accuracy_fake"))
    if not (accuracy >= CERTAIN and _loss_share(window) < 0.01):
        return None
    return (
        f"the discriminator errs on {100 * (1 - accuracy):.1f} % of the images, and its loss is "
        f"{window.median('discriminator_loss'):.2g} ({window.game.discriminator_at_equilibrium:.2g} at equilibrium)"
    )


def generator_wins(window: Window) -> str | None:
    """The discriminator takes fakes for real, and is worse than chance."""
    accuracy, share = window.median("accuracy_fake"), _loss_share(window)
    if not (accuracy < 0.2 and share > 1.3):
        return None
    return (
        f"the discriminator takes {100 * (1 - accuracy):.0f} % of the fakes for real, and its loss is "
        f"{share:.1f} times that at chance"
    )


def oscillating(window: Window) -> str | None:
    """The discriminator's opinion swings to and fro, slowly and far."""
    for name, title in (("d_fake", "D(G(z))"), ("d_real", "D(x)")):
        means = window.blocks(name, SWING_BLOCK)
        if len(means) < 8:
            return None
        low, high = np.quantile(means, (0.1, 0.9))
        crossings = _crossings(means - (low + high) / 2, (high - low) / 4)
        if high - low > SWING and crossings >= CROSSINGS:
            return f"{title} swings between {low:.2f} and {high:.2f}, {crossings} times in {len(window.rows)} steps"
    return None


def _crossings(values: np.ndarray, margin: float) -> int:
    """How often values go from below -margin to above it or back: noise around 0 does not count."""
    side = np.sign(values[np.abs(values) > margin])
    return int((side[1:] != side[:-1]).sum())


def _loss_share(window: Window) -> float:
    """The discriminator's loss over its value at equilibrium; not a number where that is 0: comparisons are false."""
    chance = window.game.discriminator_at_equilibrium
    return window.median("discriminator_loss") / chance if chance else math.nan


def _with_fingerprint(told: str, window: Window) -> str:
    for player in ("discriminator", "generator"):
        known = fingerprint(window.column(f"{player}_loss"))
        if known is not None:
            told += f"; the {player}'s loss sticks to {known}"
    return told


CLAMPED = "a probability clamped at {0} before its logarithm: write the loss on logits"
AT_CHANCE = "equilibrium, or a discriminator that is dead"
FINGERPRINTS: dict[float, str] = {
    **{-math.log(float(at)): f"-log {at}, {CLAMPED.format(at)}" for at in ("1e-6", "1e-7", "1e-8", "1e-10", "1e-12")},
    100.0: "where torch's BCELoss clamps a logarithm: use BCEWithLogitsLoss",
    1.1920929e-07: "the rounding unit of float32: the loss is 0 up to rounding",
    2 * math.log(2): f"2 log 2, cross entropy at chance: {AT_CHANCE}",
    math.log(2): f"log 2, cross entropy at chance: {AT_CHANCE}",
    0.5: f"1/2, two squared errors at chance: {AT_CHANCE}",
    0.25: f"1/4, two halved squared errors at chance: {AT_CHANCE}",
    0.125: f"1/8, a halved squared error at chance: {AT_CHANCE}",
    2.0: f"2, the hinge loss at chance: {AT_CHANCE}",
}


def fingerprint(values: Sequence[float] | np.ndarray) -> str | None:
    """Returns the known constant that all values of a loss stick to, and what it means; None where there is none.

    Such a loss has something wrong with it, or its player learns nothing.

    Example:
        >>> fingerprint([13.8155, 13.8155, 13.8156])
        '13.8155 (-log 1e-6, a probability clamped at 1e-6 before its logarithm: write the loss on logits)'
    """
    sizes = np.abs(np.asarray(values, dtype=float))
    for constant, meaning in FINGERPRINTS.items():
        if len(sizes) and bool((np.abs(sizes - constant) < STICKS * constant).all()):
            return f"{constant:.6g} ({meaning})"
    return None


BOUND = (
    "bound the discriminator's slope, as the default preset does: --penalty r1:gamma=1 on a discriminator without "
    "batch normalisation (dcgan:norm=none)"
)
SIGNS: dict[str, Sign] = {
    "non-finite": Sign(non_finite, "train anew with lower learning rates, or with --precision float32"),
    "dead discriminator": Sign(
        dead_discriminator,
        "lower --discriminator-learning-rate and --weight-decay; with squared errors of a probability take "
        "--loss least-squares-logit, whose gradient does not vanish",
    ),
    "discriminator memorises": Sign(
        memorises,
        "change what the discriminator sees: --augment shift --augment colour --augment cutout, with --augment flip "
        "where images look as well mirrored; or train on more images, or for fewer",
    ),
    "over-fitting": Sign(
        over_fitted, "train for fewer epochs (--epochs), on more images, or with fewer channels (--model unet:width=32)"
    ),
    "saturated": Sign(
        saturated, f"take --loss non-saturating, whose gradient is full where this one vanishes; or {BOUND}"
    ),
    "discriminator wins": Sign(
        discriminator_wins,
        f"{BOUND}; fewer --discriminator-updates or a higher --generator-learning-rate help less",
    ),
    "generator wins": Sign(
        generator_wins, "raise --discriminator-learning-rate or --discriminator-updates, or take a wider discriminator"
    ),
    "oscillating": Sign(
        oscillating,
        f"{BOUND}; lower --beta1 and the learning rates; --schedule linear lets the circle shrink",
        is_slow=True,
    ),
}
