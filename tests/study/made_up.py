"""Measured numbers that nobody measured: of a study in which the report is right, with changes."""

import math
from collections.abc import Sequence
from pathlib import Path

from genprior.diagnosis.one_player import (
    Agreement,
    Descended,
    InnerMoment,
    Judgement,
    Opposed,
    OuterMoment,
    Retrained,
    RetrainingMoment,
)
from genprior.probes.collapse_rules import AGAIN, CollapseResult, CollapseSettings, InnerProblem
from genprior.probes.saturation_probe import RetrainedAge, SaturationResult, SaturationSettings
from genprior.settings import Model
from genprior.study.measured_models import (
    ClassProbabilities,
    DefaultInversion,
    InversionErrors,
    Likelihoods,
    LossFactors,
    NetworkSizes,
    PriorScores,
    ReportInversion,
    RestoredImages,
    RestoredTask,
    SampleQuality,
    TrainingCurves,
)
from genprior.study.study_evidence import StudyEvidence

SEEDS, IMAGES = 3, 30
WIGGLE = tuple(0.9 + 0.2 * i / (IMAGES - 1) for i in range(IMAGES))  # around 1, so that there is an error


def around(value: float, count: int = IMAGES) -> tuple[float, ...]:
    """Returns a number of each image, whose mean is the value."""
    return tuple(value * each for each in WIGGLE[:count])


def curves(**changes: object) -> TrainingCurves:
    """A healthy game that ends in an equilibrium."""
    values: dict[str, object] = {
        "images": tuple(1000.0 * (i + 1) for i in range(20)),
        "discriminator_loss": (1.0,) * 20,
        "generator_loss": (1.0,) * 20,
        "loss_factor": (0.5,) * 20,
        "effective_share": (0.9,) * 20,
        "accuracy": (0.51,) * 20,
        "largest_losses": (0.9, 0.5),
        "steps": 5000,
        "factor_first_below": None,
    }
    return TrainingCurves.model_validate({**values, **changes})


def saturated(**changes: object) -> TrainingCurves:
    """A game whose loss factor vanishes at once."""
    return curves(**{"loss_factor": (0.001,) * 20, "factor_first_below": 500, **changes})


def quality(distance: float = 20.0, modes: int = 10, diversity: float = 0.95) -> SampleQuality:
    """Samples; the untrained generator is at 1000, held-out images at 2."""
    known = {"untrained": 1000.0, "floor": 2.0, "of": 10, "rarest": 0.8, "judge": "made up"}
    return SampleQuality(distance=distance, modes=modes, diversity=diversity, **known)


def inversion(kind: type[InversionErrors] = ReportInversion, error: float = 0.01, high: float = 0.5) -> InversionErrors:
    """Shape recovered; a share `high` of the high frequencies missed."""
    each = {"error": error, "at_edges": 5 * error, "at_corners": 8 * error, "elsewhere": error / 2}
    sharp = {"sharpness_made": 0.1, "sharpness_real": 0.2, "sharpness_samples": 0.15}
    return kind(
        **{name: around(value) for name, value in {**each, **sharp}.items()},
        bands=(0.05, 0.1, 0.3, high),
        band_limits=(0.0625, 0.125, 0.25, 0.71),
        bands_of=tuple((0.05 * w, high * w) for w in WIGGLE),
        constant_error=around(0.08),
        constant_at_edges=around(0.16),
        constant_at_corners=around(0.2),
        constant_elsewhere=around(0.08),
    )


def noisy(l2: float, classical: float, mean_image: float = 12) -> RestoredTask:
    """Images with noise, restored to so many decibels."""
    tries = {"seen": 6, "l1": 16, "l2": l2, "classical": classical, "mean_image": mean_image, "hidden_error": 0.01}
    return RestoredTask(**{name: around(value) for name, value in tries.items()})


def restored(**changes: object) -> RestoredImages:
    """L2 suits noise, L1 outliers; loops are harder than strokes."""
    labels = tuple(i % 10 for i in range(IMAGES))
    hard = tuple((0.12 if label in (0, 6, 8, 9) else 0.05) * w for label, w in zip(labels, WIGGLE, strict=True))
    hole = {"seen": around(10), "l2": around(15), "l1": around(15.1), "hidden_fill": around(0.2)}
    values: dict[str, object] = {
        "noise": noisy(l2=18, classical=15),
        "hole": RestoredTask(**hole, hidden_error=hard),
        "outliers": RestoredTask(seen=around(12), l2=around(15), l1=around(20)),
        "labels": labels,
    }
    return RestoredImages.model_validate({**values, **changes})


def probabilities(top: float = 0.6, right: float = 0.6, count: int = 3000) -> ClassProbabilities:
    """Images whose likeliest class has a probability `top` and is right for such a share of them."""
    rest = 1 - top
    each = tuple((top, rest) + (0.0,) * 8 for _ in range(count))
    truth = tuple(0 if i < right * count else 1 for i in range(count))
    return ClassProbabilities(probabilities=each, truth=truth, real_accuracy=0.99)


def scores(inversion_error: float, decibels: float) -> PriorScores:
    """A prior with these scores."""
    each = around(decibels)
    return PriorScores(inversion=around(inversion_error), denoising=each, filling=each, seconds=0.1)


def factors(off: float = 0.0) -> LossFactors:
    """Autograd, off by so much."""
    logits = (-5.0, 0.0, 5.0)
    s = [1 / (1 + math.exp(-a)) for a in logits]
    forms = {"saturating_form": tuple(-x for x in s), "non_saturating_form": tuple(x - 1 for x in s)}
    return LossFactors(
        logits=logits, saturating=tuple(off - x for x in s), non_saturating=forms["non_saturating_form"], **forms
    )


def saturation(falls: float = 4.0) -> SaturationResult:
    """A fresh D under which the saturating gradient falls by so many decades, the other by half of one."""
    both = ({"saturating": 1.0, "non-saturating": 1.0}, {"saturating": 10**-falls, "non-saturating": 10**-0.5})
    moments = tuple(
        RetrainingMoment(step=i, gradient_norm=norms, loss_factor=norms, real_logit=5, fake_logit=-5, accuracy=1)
        for i, norms in enumerate(both)
    )
    age = RetrainedAge(images_seen=1000, discriminators=(Retrained(seed=0, moments=moments),))
    settings = SaturationSettings(run=Path("runs/ns"))
    return SaturationResult(settings=settings, latents=64, batch_size=64, planned=(1000,), ages=(age,))


def collapse(last: float = 0.01, narrow: float = 0.1, again: float = 0.9) -> CollapseResult:
    """The inner problem ends at a diversity; the narrow D's gradient has a cosine with the wide one's."""
    ends = (
        InnerMoment(step=0, modes=10, diversity=1, fake_logit=0),
        InnerMoment(step=9, modes=1 if last < 0.2 else 10, diversity=last, fake_logit=9),
    )
    inner = InnerProblem(
        planned=(1000,), ages=(Descended(images_seen=1000, real_logit=1, best_real_logit=3, moments=ends),)
    )
    sizes = ("width 8", "width 32", "width 64")
    told = {name: Judgement(accuracy=0.9, value=-1.0, error=0.01) for name in (*sizes, AGAIN)}
    each = {sizes[0]: narrow, sizes[1]: 0.9, AGAIN: again}
    cosines = {name: Agreement(weights=value, images=0.5) for name, value in each.items()}
    moment = OuterMoment(step=9, discriminators=told, cosines_with_strong=cosines)
    one = Opposed(images_seen=1000, strong=sizes[-1], moments=(moment,))
    return CollapseResult(
        settings=CollapseSettings(run=Path("runs/ns")),
        batch_size=64,
        loss="saturating",
        held_out="made up",
        samples=100,
        judged_on=100,
        latents_of_gradients=64,
        images_of_a_logit=1,
        sizes=sizes,
        own_size=sizes[1],
        inner=inner,
        generators_planned=(1000,),
        generators=(one,),
    )


RIGHT: dict[tuple[str, str], Model] = {
    ("non-saturating", "NetworkSizes"): NetworkSizes(
        parameters={"generator": 600_513, "discriminator": 166_177}, image_shape=(1, 28, 28)
    ),
    ("saturating", "TrainingCurves"): saturated(),
    ("saturating", "SampleQuality"): quality(distance=900, modes=1),
    ("non-saturating", "TrainingCurves"): curves(),
    ("non-saturating", "SampleQuality"): quality(),
    ("least-squares", "TrainingCurves"): curves(),
    ("least-squares", "SampleQuality"): quality(distance=40),
    ("larger-d", "TrainingCurves"): curves(),
    ("larger-d", "SampleQuality"): quality(distance=400, modes=2),
    ("weight-decay", "SampleQuality"): quality(distance=900, modes=1, diversity=0.01),
    ("non-saturating", "ReportInversion"): inversion(error=0.01),
    ("non-saturating", "DefaultInversion"): inversion(DefaultInversion, high=0.45),
    ("recipe", "DefaultInversion"): inversion(DefaultInversion, high=0.2),
    ("glo", "DefaultInversion"): inversion(DefaultInversion, high=0.15),
    ("later-same", "ReportInversion"): inversion(high=0.5),
    ("later-larger", "ReportInversion"): inversion(high=0.3),
    ("non-saturating", "RestoredImages"): restored(),
    ("mixture", "ClassProbabilities"): probabilities(),
    ("flow", "ClassProbabilities"): probabilities(),
    ("glow", "Likelihoods"): Likelihoods(bits_per_dim=around(1.5), how="made up", first_bits_per_dim=6.0),
    ("non-saturating", "Likelihoods"): Likelihoods(first_bits_per_dim=math.nan),
    ("glo", "Likelihoods"): Likelihoods(first_bits_per_dim=math.nan),
    ("non-saturating", "LossFactors"): factors(),
    ("non-saturating", "SaturationResult"): saturation(),
    ("non-saturating", "CollapseResult"): collapse(),
    ("recipe", "SampleQuality"): quality(distance=8),
    ("recipe", "TrainingCurves"): curves(),
    **{(cell, "PriorScores"): scores(0.02, 15) for cell in ("recipe", "glo", "vae", "mixture", "flow")},
    ("non-saturating", "PriorScores"): scores(0.01, 18),
}


def evidence(*changes: tuple[str, Model | Sequence[Model]], has_digits: bool = True) -> StudyEvidence:
    """Returns numbers by which the report is right, of three seeds, but for changes.

    Arguments:
        changes: Cell and what was measured of it, in all seeds or seed by seed.
        has_digits: Whether classes are the digits.
    """
    found: dict[tuple[str, str], Sequence[Model]] = {key: [one] * SEEDS for key, one in RIGHT.items()}
    for cell, each in changes:
        seeds = [each] * SEEDS if isinstance(each, Model) else list(each)
        found[cell, type(seeds[0]).__name__] = seeds
    return StudyEvidence(found, {}, has_digits)
