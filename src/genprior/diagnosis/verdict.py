"""From signs and samples to one verdict, with its evidence and a remedy. Knows numbers only.

`VERDICTS`, at the end, is the place to add one; the first that holds is given, causes before what follows from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.diagnosis.episodes import Episode

HEALTHY = "healthy"
LEAST_DIVERSITY, MOST_COPIES = 0.2, 0.2
GOOD = 0.5  # a precision from which on a missing class is missing, rather than not learned yet


@dataclass(frozen=True)
class Sampled:
    """What samples show.

    Attributes:
        diversity: See `diversity`.
        modes: How many classes they hold, and how many there are; None where no classifier looked.
        precision: Share of them that lies among real images, over the same share of real images; None: not known.
        copies: Share of samples that are near copies of training images, 0.01 where there are none; None: not known.
    """

    diversity: float
    modes: tuple[int, int] | None = None
    precision: float | None = None
    copies: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """A verdict.

    Attributes:
        verdict: One of `VERDICTS`.
        evidence: Sentences, the decisive one first.
        remedy: What to do.
        since_images: Images seen when it began; None where that is not known.
        episodes: All ill parts of training, those that are over included.
    """

    verdict: str
    evidence: list[str]
    remedy: str
    since_images: int | None
    episodes: list[Episode]

    @property
    def is_ill(self) -> bool:
        """Whether anything is wrong."""
        return self.verdict != HEALTHY


def diversity(samples: Tensor, real: Tensor) -> float:
    """Returns the total variance of samples (N, C, H, W) over that of real images, 0 where all samples are equal.

    The variance is half the mean squared distance of two of them, so no pair needs to be formed.
    """
    spread = [x.double().flatten(1).var(0, unbiased=True).sum() for x in (samples, real)]
    return float(spread[0] / spread[1].clamp_min(torch.finfo(torch.float64).tiny))


def decide(found: Sequence[Episode], last_images: int, sampled: Sampled, stopped: str | None = None) -> Diagnosis:
    """Returns the verdict.

    Arguments:
        found: Ill parts of the record, oldest first.
        last_images: Images seen at the end of the record.
        sampled: What samples show.
        stopped: Why training ended by itself, where it did so for values that are not finite.
    """
    if stopped is not None:
        return _of("non-finite", [stopped], None, found)
    for episode in found:
        if episode.last >= last_images:
            return _of(episode.name, [episode.text], episode.first, found)
    if not sampled.diversity >= LEAST_DIVERSITY:  # not-a-number is no diversity either
        told = f"the samples vary {100 * sampled.diversity:.1f} % as much as real images"
        return _of("collapsed", [told], None, found)
    if sampled.copies is not None and sampled.copies > MOST_COPIES:
        told = (
            f"{100 * sampled.copies:.0f} % of the samples are nearer to a training image than 99 % of new real images"
        )
        return _of("memorising", [told], None, found)
    return _by_classes(sampled, found)


def _by_classes(sampled: Sampled, found: Sequence[Episode]) -> Diagnosis:
    held, of = sampled.modes or (0, 0)
    told = f"the samples hold {held} of {of} classes"
    precision = sampled.precision if sampled.precision is not None else 1.0
    if held <= of // 2 < of or (held < of and precision >= GOOD):
        return _of("collapsed", [told], None, found)
    still = (
        f"{told}, and {100 * precision:.0f} % as many of them as of real images lie among real ones: not learned yet"
    )
    return _of(HEALTHY, [still] if held < of else [], None, found)


def _of(verdict: str, evidence: list[str], since: int | None, found: Sequence[Episode]) -> Diagnosis:
    over = [f"was {e.name} from {e.first:,} to {e.last:,} images" for e in found if e.first != since]
    return Diagnosis(verdict, [*evidence, *over], VERDICTS[verdict], since, list(found))


BOUND = "bound the discriminator's slope: --penalty r1:gamma=1 with --model dcgan:norm=none, as the default preset does"
VERDICTS: dict[str, str] = {
    "non-finite": "train anew with lower learning rates, or with --precision float32",
    "dead discriminator": (
        "lower --discriminator-learning-rate and --weight-decay; with squared errors of a probability take "
        "--loss least-squares-logit, whose gradient does not vanish"
    ),
    "saturated": f"take --loss non-saturating, whose gradient is full where this one vanishes; or {BOUND}",
    "discriminator wins": f"{BOUND}; fewer --discriminator-updates or a higher --generator-learning-rate help less",
    "generator wins": "raise --discriminator-learning-rate or --discriminator-updates, or take a wider discriminator",
    "oscillating": f"{BOUND}; lower --beta1 and the learning rates; --schedule linear lets the circle shrink",
    "collapsed": f"{BOUND}; a higher --discriminator-learning-rate or a wider discriminator where it is weak",
    "memorising": "train on more images, or for fewer; a set this small has little to say beyond itself",
    HEALTHY: "none needed",
}
