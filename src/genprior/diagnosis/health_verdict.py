"""From the record and samples to one verdict, with its evidence and a remedy. Imports no torch.

The record is cut into stretches, each with the first sign that it shows; a sign that lasts to the end is the verdict.
Else samples decide: `VERDICTS`, at the end, has what they may show, and the signs.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from genprior.diagnosis.one_player import LEAST_DIVERSITY
from genprior.diagnosis.signs import SIGNS, Game, Row, Window

if TYPE_CHECKING:
    from torch import Tensor

HEALTHY, COLLAPSED, POOR, NOT_KNOWN = "healthy", "collapsed", "poor samples", "not known"
MOST_COPIES = 0.2
MAY_MISS = 0.01  # of many modes some are missed by chance
PLURAL = {"class": "classes", "mode": "modes"}
GOOD = 0.5  # a precision from which on a missing class is missing, rather than not learned yet
LEAST_COVERED = 0.3  # a coverage below which samples of a finished training are poor
STRETCH = 50  # steps: what lasts less is no sign of illness
BEFORE = 6 * STRETCH  # steps before its end that a stretch is seen with: falls and swings need a past


@dataclass(frozen=True)
class Episode:
    """A part of training that shows one sign.

    Attributes:
        name: Of the sign.
        text: What it saw when it began.
        first: Images seen when it began.
        last: Images seen when it was seen last.
    """

    name: str
    text: str
    first: int
    last: int


def sign_of(game: Game, rows: Sequence[Row]) -> tuple[str, str] | None:
    """Returns the first sign that the newest stretch of rows shows, and what it sees; None where it shows none."""
    newest, whole = Window(game, rows[-STRETCH:]), Window(game, rows[-BEFORE:])
    for name, sign in SIGNS.items():
        # The stretch decides, and the past tells the story.
        decides = whole if sign.is_slow else newest
        seen = sign.seen_in(decides) and (sign.seen_in(whole) or sign.seen_in(newest))
        if seen:
            return name, seen
    return None


class Watch:
    """Follows a record while it grows, and tells when a sign begins and when it ends.

    Arguments:
        game: Of the run.
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self.current: Episode | None = None
        self._rows: list[Row] = []
        self._new = 0

    def look(self, rows: Iterable[Row]) -> Iterator[tuple[str, Episode]]:
        """Yields ("begins" or "ends", episode) for each change that these rows, the next of the record, bring."""
        for row in rows:
            self._rows.append(row)
            self._new += 1
            if self._new == STRETCH:
                self._new = 0
                yield from self._decide()
                del self._rows[:-BEFORE]

    def _decide(self) -> Iterator[tuple[str, Episode]]:
        sign, before = sign_of(self.game, self._rows), self.current
        stretch = self._rows[-STRETCH:]
        first, last = (row["images_seen"] for row in (stretch[0], stretch[-1]))
        if before is not None and (sign is None or sign[0] != before.name):
            self.current = None
            yield "ends", before
        if sign is None:
            return
        if self.current is None:
            self.current = Episode(*sign, first, last)
            yield "begins", self.current
        else:
            self.current = replace(self.current, last=last)


def episodes(game: Game, rows: Sequence[Row]) -> list[Episode]:
    """Returns the ill parts of a record, oldest first; what is ill at its end ends at its last row.

    Stretches are counted from the end, so that the newest rows decide about the present; the first few rows, fewer
    than a stretch, are left out.
    """
    watch = Watch(game)
    ended = [episode for change, episode in watch.look(islice(rows, len(rows) % STRETCH, None)) if change == "ends"]
    return ended + ([watch.current] if watch.current is not None else [])


@dataclass(frozen=True)
class Sampled:
    """What samples show.

    Attributes:
        diversity: See `diversity`.
        modes: How many modes they hold, and how many there are; None where nothing could count them.
        precision: Share of them that lies among real images, over the same share of real images; None: not known.
        covered: Share of real images that samples lie near, over the share that real ones do; None: not known.
        copies: Share of samples that are near copies of training images, 0.01 where there are none; None: not known.
        is_finite: Whether all of their values are finite.
        is_flat: Whether all real images are alike, so that nothing can be told.
        mode: What a mode is called.
        is_young: Whether training has only begun, so that poor samples are no illness.
        is_finished: Whether training has used its budget, an epoch or more, so that poor samples are one.
    """

    diversity: float
    modes: tuple[int, int] | None = None
    precision: float | None = None
    covered: float | None = None
    copies: float | None = None
    is_finite: bool = True
    is_flat: bool = False
    is_young: bool = False
    is_finished: bool = False
    mode: Literal["class", "mode"] = "class"


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
        """Whether anything is wrong, or health cannot be told."""
        return self.verdict != HEALTHY


def diversity(samples: "Tensor", real: "Tensor") -> float:
    """Returns the total variance of samples (N, C, H, W) over that of real images, 0 where all samples are equal.

    The variance is half the mean squared distance of two of them, so no pair needs to be formed.
    """
    spread = [x.double().flatten(1).var(0, unbiased=True).sum() for x in (samples, real)]
    return float(spread[0] / spread[1].clamp_min(sys.float_info.min))


def decide(
    found: Sequence[Episode],
    last_images: int,
    sampled: Sampled,
    stopped: str | None = None,
    *,
    fault: str | None = None,
    has_players: bool = True,
) -> Diagnosis:
    """Returns the verdict.

    Arguments:
        found: Ill parts of the record, oldest first.
        last_images: Images seen at the end of the record.
        sampled: What samples show.
        stopped: Why training ended by itself, where it did so for values that are not finite.
        fault: What is wrong with the record: nobody is called healthy on it.
        has_players: Whether two players were trained; the remedies of others differ.
    """
    remedies = VERDICTS | (WITHOUT_PLAYERS if not has_players else {})
    verdict, evidence, since = _decided(found, last_images, sampled, stopped)
    if fault is not None:
        verdict, evidence = (NOT_KNOWN if verdict == HEALTHY else verdict), [*evidence, fault]
    over = [f"was {e.name} from {e.first:,} to {e.last:,} images" for e in found if e.first != since]
    return Diagnosis(verdict, [*evidence, *over], remedies[verdict], since, list(found))


def _decided(
    found: Sequence[Episode], last_images: int, sampled: Sampled, stopped: str | None
) -> tuple[str, list[str], int | None]:
    """The verdict, its evidence, and since when it holds."""
    if stopped is not None or not sampled.is_finite:
        return "non-finite", [stopped or "samples have values that are not finite"], None
    verdict, told = _by_samples(sampled)
    for episode in found:
        if episode.last >= last_images:
            return episode.name, [episode.text, *([told] if verdict == COLLAPSED else [])], episode.first
    return verdict, [told] if told else [], None


def _by_samples(sampled: Sampled) -> tuple[str, str]:
    held, of = sampled.modes or (0, 0)
    precision = sampled.precision if sampled.precision is not None else 1.0
    varies = f"the samples vary {100 * sampled.diversity:.1f} % as much as real images"
    poor = ", poor ones counted with the nearest" if precision < GOOD else ""
    holds = f"the samples hold {held} of {of} {PLURAL[sampled.mode]}{poor}"
    are_missing = of - held > MAY_MISS * of
    # Precision is no sign here: a few odd real images have balls that hold much that is like no image.
    is_bare = sampled.modes is None and sampled.covered is not None and sampled.covered < LEAST_COVERED
    near = f"the samples lie near {100 * (sampled.covered or 0):.0f} % as many real images as other real ones do"
    if sampled.is_flat:
        return NOT_KNOWN, "all images that were learned are alike: samples cannot tell anything"
    if sampled.is_young and not (is_bare and sampled.is_finished):
        early = varies if sampled.diversity < LEAST_DIVERSITY else holds if are_missing else near if is_bare else ""
        return HEALTHY, early and f"{early}: too early to tell"
    if sampled.diversity < LEAST_DIVERSITY:
        return COLLAPSED, f"{varies}, and {holds}" if of else varies
    if sampled.copies is not None and sampled.copies > MOST_COPIES:
        share = f"{100 * sampled.copies:.0f} % of the samples"
        return "memorising", f"{share} are nearer to a training image than 99 % of new real images"
    if held <= of // 2 < of or (are_missing and precision >= GOOD):
        return COLLAPSED, holds
    if is_bare:
        return (POOR, near) if sampled.is_finished else (HEALTHY, f"{near}: not learned yet")
    good = f"{100 * precision:.0f} % as many of them as of real ones lie among real ones"
    if are_missing:
        return HEALTHY, f"{holds}, and {good}: not learned yet"
    return HEALTHY, f"{good}: not learned yet" if precision < GOOD else ""


VERDICTS: dict[str, str] = {name: sign.remedy for name, sign in SIGNS.items()} | {
    COLLAPSED: (
        "take what reaches most modes in docs/benchmarks/mode-counts.md: --loss relativistic --penalty r1:gamma=0.2 "
        "--penalty r2:gamma=0.2 --pack 4 on a discriminator without batch normalisation (norm=none; points have a "
        "recipe of their own there); a higher --discriminator-learning-rate or a wider discriminator where it is weak"
    ),
    POOR: (
        "look at the samples, and train for longer with `genprior resume`; where that changes little, take other "
        "networks or another family, smaller images, or more of them"
    ),
    NOT_KNOWN: (
        "look at what is damaged with `genprior check`, put it back from a copy, and train anew where there is none; "
        "take images that differ where they do not"
    ),
    "memorising": "train on more images, or for fewer; a set this small has little to say beyond itself",
    HEALTHY: "none needed",
}
WITHOUT_PLAYERS = {COLLAPSED: "train for longer or at a lower learning rate, and look at the curves of the run"}
