"""Signs of ill training in the record of two players: each looks at a stretch of it and says what it sees, or None.

`SIGNS`, at the end, is the place to add one; the first that holds gives the name. Bounds were chosen on runs that were
made healthy or ill on purpose (`benchmarks/verdicts.py`).
"""

import math
from collections.abc import Callable

import numpy as np

from genprior.diagnosis.fingerprints import fingerprint
from genprior.diagnosis.window import Window

VANISHED = 0.02  # of a loss factor
FLAT = 1e-3  # of logits, and of their slope: at equilibrium both are small, yet a gradient is left
CERTAIN = 0.995  # of an accuracy
SWING, SWING_BLOCK, CROSSINGS = 0.3, 5, 4


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


SIGNS: dict[str, Callable[[Window], str | None]] = {
    "non-finite": non_finite,
    "dead discriminator": dead_discriminator,
    "saturated": saturated,
    "discriminator wins": discriminator_wins,
    "generator wins": generator_wins,
    "oscillating": oscillating,
}
