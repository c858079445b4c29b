"""Constants that a loss sticks to when something is wrong with it, and what they mean. Imports nothing of ours."""

import math
from collections.abc import Sequence

import numpy as np

STICKS = 1e-3  # relative: how close all values lie to the constant

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

    Example:
        >>> fingerprint([13.8155, 13.8155, 13.8156])
        '13.8155 (-log 1e-6, a probability clamped at 1e-6 before its logarithm: write the loss on logits)'
    """
    sizes = np.abs(np.asarray(values, dtype=float))
    for constant, meaning in FINGERPRINTS.items():
        if len(sizes) and bool((np.abs(sizes - constant) < STICKS * constant).all()):
            return f"{constant:.6g} ({meaning})"
    return None
