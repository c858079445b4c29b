"""Whether two players are close to the equilibrium of Goodfellow et al. 2014: the rule, and the sentences.

At that equilibrium fakes have the distribution of the data and D says 1/2 everywhere: V = max_D V = min_G V = -log 4.
Where a run penalises its discriminator, the verdict is on the game that it plays, V - R: an adversary has to pay the
penalty too. What a discriminator finds that pays none is told beside it.

Adversaries give bounds from below, of the gap and of the divergence, whether they have converged or not. So "not
close" needs no convergence, "close" does: or that more steps at the pace of the last ones would not change it.
"""

import math
from dataclasses import dataclass, replace

from genprior.diagnosis.equilibrium_numbers import Bound, GameValue, Response

LEVEL = -math.log(4)  # value at equilibrium
# A discriminator that says nothing, against a generator that shares nothing with the data, has the gap log 4.
CLOSE_GAP = math.log(4)
# Nats, of at most log 2. Two normal distributions a standard deviation apart have 0.11; the best D is right on 69 %.
CLOSE_DIVERGENCE = 0.1
AHEAD = 5.0  # late gains, each of a fifth of the steps: twice the steps at the pace of the last ones
LEAST_STEPS = 100  # of an adversary; that fewer find nothing proves nothing
CLOSE, NOT_CLOSE, NOT_KNOWN = "close to equilibrium", "not close", "not known"


@dataclass(frozen=True)
class Equilibrium:
    """What the two adversaries of a pair of players found.

    Attributes:
        up: Discriminators against the generator.
        down: Generators against the discriminator.
        gap: Of the duality of V, with its sign.
        played_gap: Of the duality of V - R, the game of the run; that of V where it has no penalties.
        paying: Discriminators against the generator that pay the run's penalties, on V - R; None: it has none.
        at_once: Images that one logit depends on. The divergence is then that of sets of m images, which lies between
            that of single ones and m times it.
        is_unseen: Whether the players were not trained on the images that decide.
    """

    up: Response
    down: Response
    gap: Bound
    played_gap: Bound
    paying: Response | None = None
    at_once: int = 1
    is_unseen: bool = True

    @property
    def divergence(self) -> Bound:
        """Jensen-Shannon divergence of fakes and data, in nats, of as many images as are seen at once."""
        return seen_divergence(self.up)

    @property
    def played_divergence(self) -> Bound:
        """(max_D (V - R) + log 4) / 2: what the discriminators that the run allows can see of the divergence."""
        return seen_divergence(self.paying or self.up)

    @property
    def without_penalties(self) -> "Equilibrium":
        """The same for the game of V alone."""
        return replace(self, paying=None, played_gap=self.gap)

    @property
    def verdict(self) -> str:
        """One of `CLOSE`, `NOT_CLOSE`, `NOT_KNOWN`."""
        if self._broken():
            return NOT_CLOSE
        gap, seen = self.played_gap, self.played_divergence
        is_close = gap.stays_below(CLOSE_GAP) and seen.stays_below(CLOSE_DIVERGENCE)
        return CLOSE if is_close and self._tried else NOT_KNOWN

    @property
    def headline(self) -> str:
        """The verdict; both, where that on the game without penalties is another."""
        return self._headline(with_reasons=False)

    def sentences(self) -> list[str]:
        """Returns the verdict and what it stands on, in words."""
        seen = "" if self.is_unseen else "; judged by images that the players were trained on, for none are held out"
        return [
            f"Verdict: {self._headline(with_reasons=True)}{seen}.",
            *self._played_sentences(),
            self._gap_sentence(),
            response_sentence(self.up, "discriminator", "raised"),
            response_sentence(self.down, "generator", "lowered"),
            divergence_sentence(self.divergence, self.at_once),
        ]

    @property
    def _tried(self) -> bool:
        return min(response.moments[-1].step for response in (self.paying or self.up, self.down)) >= LEAST_STEPS

    def _headline(self, with_reasons: bool) -> str:
        free = self.without_penalties
        own, other = (f"{each.verdict}{each._why() if with_reasons else ''}" for each in (self, free))
        if self.verdict == free.verdict:
            return own
        return f"{own} in the game with its penalties; {other} in Goodfellow's"

    def _broken(self) -> list[str]:
        """Bounds above what is close, in words; the divergence is that of single images."""
        seen = self.played_divergence
        value, error, ahead = (number / self.at_once for number in (seen.value, seen.standard_error, seen.ahead))
        single = Bound(value=value, standard_error=error, ahead=ahead)
        rules = {"duality gap": (self.played_gap, CLOSE_GAP), "divergence": (single, CLOSE_DIVERGENCE)}
        return [
            f"{name} {bound.value:.3f} or more, close: below {most:.3g}"
            for name, (bound, most) in rules.items()
            if bound.is_above(most)
        ]

    def _why(self) -> str:
        broken = self._broken()
        if broken:
            return f" ({'; '.join(broken)})"
        return f" ({self._why_not_known()})" if self.verdict == NOT_KNOWN else ""

    def _why_not_known(self) -> str:
        adversaries = {"D'": self.paying or self.up, "G'": self.down}
        failed = [name for name, each in adversaries.items() if each.failed]
        unfinished = [name for name, each in adversaries.items() if not each.converged]
        if not all(math.isfinite(bound.value) for bound in (self.played_gap, self.played_divergence)):
            return "the value of the game is not finite"
        if not self._tried:
            return f"fewer than {LEAST_STEPS} steps prove nothing: try more --steps"
        if failed:
            return f"the optimisation of {' and of '.join(failed)} failed"
        if unfinished:
            return f"the inner problem of {' and of '.join(unfinished)} has not converged: try more --steps"
        if self.at_once > 1 and not self.played_divergence.stays_below(CLOSE_DIVERGENCE):
            return f"D sees {self.at_once} images at once; what it tells of them may be little for a single one"
        return "the bounds lie on the edge of the rule, within chance"

    def _played_sentences(self) -> list[str]:
        if self.paying is None:
            return []
        gap, seen = self.played_gap, self.played_divergence
        return [
            "In the game with its penalties, which adversaries pay too, the duality gap is "
            f"{gap.value:.3f} +- {gap.standard_error:.3f} or more, and discriminators see a divergence of "
            f"{seen.value:.3f} +- {seen.standard_error:.3f} nats or more.",
            response_sentence(self.paying, "discriminator that pays", "raised", "V less the penalties"),
        ]

    def _gap_sentence(self) -> str:
        what = "The duality gap" if self.paying is None else "Without penalties, as in what follows, the duality gap"
        gap = self.gap
        if not math.isfinite(gap.value):
            return f"{what} is not known: V is not finite."
        found = f"{what} is {gap.value:.3f} +- {gap.standard_error:.3f} or more (close: below {CLOSE_GAP:.3f})."
        if gap.value >= 0:
            return found
        return f"{found} It cannot be below 0: the adversaries are worse than the players on the judged images."


def gap_bound(value: GameValue, one: Response, other: Response) -> Bound:
    """Returns a duality gap with what more steps of its two adversaries might add."""
    ahead = _ahead(one) + _ahead(other)
    return Bound(value=value.value, standard_error=value.standard_error, ahead=ahead)


def seen_divergence(response: Response) -> Bound:
    """Returns the divergence that discriminators found, at least the 0 that one that says nothing finds."""
    found = divergence(response.value)
    value = max(0.0, found) if math.isfinite(found) else math.nan
    return Bound(value=value, standard_error=response.standard_error / 2, ahead=_ahead(response) / 2)


def divergence(best_value: float) -> float:
    """Returns the Jensen-Shannon divergence (V + log 4) / 2 in nats that max_D V implies; at most log 2.

    Goodfellow et al. 2014, theorem 1. An estimate of max_D V from below is one of the divergence from below.

    Example:
        >>> "%.4f" % divergence(0.0)  # nothing in common: log 2
        '0.6931'
    """
    return (best_value + math.log(4)) / 2


def divergence_sentence(found: Bound, at_once: int) -> str:
    """Returns what a divergence says; `at_once` as for `Equilibrium`."""
    if not math.isfinite(found.value):
        return "The divergence is not known: V is not finite."
    of = "" if at_once == 1 else f" of sets of {at_once} images, which D sees at once,"
    single = "" if at_once == 1 else f", so that of single images at {found.value / at_once:.3g} or more"
    scale = f"0: fakes are like the data, {math.log(2):.3f}: they share nothing; close: below {CLOSE_DIVERGENCE:g}"
    number = f"{found.value:.3f} nats or more{single}"
    return f"The best discriminator found puts the Jensen-Shannon divergence{of} at {number} ({scale})."


def response_sentence(response: Response, who: str, did: str, what: str = "V") -> str:
    """Returns what an adversary reached, and whether more steps would reach more."""
    start, best = response.moments[0].judged.value, response.best
    if not (math.isfinite(start) and math.isfinite(best.judged.value)):
        return f"Against the player that stood still, a {who} met values that are not finite."
    return (
        f"Against the player that stood still, a {who} {did} {what} from {start:.3f} to {best.judged.value:.3f} in "
        f"{best.step:,} of {response.moments[-1].step:,} steps; {_how_it_went(response)}."
    )


def _how_it_went(response: Response) -> str:
    if response.failed:
        return "it ended worse than it began on what it learned from: the optimisation failed"
    if response.overfitted:
        return "from there on it learned its own images by heart and became worse on others"
    if not response.converged:
        still = "rising" if response.rises else "falling"
        return f"it was still {still}, the last fifth of the steps brought {response.late_gain:.3g}"
    return "no step bettered the player, so it has converged" if response.best.step == 0 else "it has converged"


def _ahead(response: Response) -> float:
    if response.failed:
        return math.inf
    return 0.0 if response.converged else AHEAD * response.late_gain
