"""Whether two players are close to the equilibrium of Goodfellow et al. 2014: the rule, and the sentences.

At that equilibrium fakes have the distribution of the data and D says 1/2 everywhere: V = max_D V = min_G V = -log 4.
Where a run penalises its discriminator, the verdict is on the game that it plays, V - R: an adversary has to pay the
penalty too. What a discriminator finds that pays none is told beside it.

Adversaries give bounds from below, of the gap and of the divergence, whether they have converged or not. So "not
close" needs no convergence, "close" does: or that more steps at the pace of the last ones would not change it.
"""

import math
from dataclasses import dataclass

from genprior.diagnosis.duality import NOISE, Response, divergence, duality_gap

LEVEL = -math.log(4)  # value at equilibrium
# A discriminator that says nothing, against a generator that shares nothing with the data, has the gap log 4.
CLOSE_GAP = math.log(4)
# Nats, of at most log 2. Two normal distributions a standard deviation apart have 0.11; the best D is right on 69 %.
CLOSE_DIVERGENCE = 0.1
AHEAD = 5.0  # late gains, each of a fifth of the steps: twice the steps at the pace of the last ones
LEAST_STEPS = 100  # of an adversary; that fewer find nothing proves nothing
CLOSE, NOT_CLOSE, NOT_KNOWN = "close to equilibrium", "not close", "not known"


@dataclass(frozen=True)
class Bound:
    """A number that adversaries found, and how much more there may be.

    Attributes:
        value: What they reached.
        standard_error: Of it; nan: not known.
        ahead: What twice the steps might add; 0 where they have converged.
    """

    value: float
    standard_error: float
    ahead: float

    @property
    def noise(self) -> float:
        """What may be chance; infinite where that is not known."""
        return NOISE * self.standard_error if math.isfinite(self.standard_error) else math.inf

    def is_above(self, most: float) -> bool:
        """Whether it is above a number, chance apart."""
        return self.value - self.noise > most

    def stays_below(self, most: float) -> bool:
        """Whether it would stay below a number, chance apart, with twice the steps."""
        return self.value + self.noise + self.ahead < most


@dataclass(frozen=True)
class Equilibrium:
    """What the two adversaries of a pair of players found.

    Attributes:
        up: Discriminators against the generator.
        down: Generators against the discriminator.
        paying: Discriminators against the generator that pay the run's penalties, on V - R; None: it has none.
    """

    up: Response
    down: Response
    paying: Response | None = None

    @property
    def gap(self) -> Bound:
        """Of the duality of V, with its sign."""
        terms = duality_gap(self.up, self.down)
        return Bound(terms.value, terms.standard_error, _ahead(self.up) + _ahead(self.down))

    @property
    def divergence(self) -> Bound:
        """Jensen-Shannon divergence of fakes and data, in nats."""
        return _divergence(self.up)

    @property
    def played_gap(self) -> Bound:
        """Of the duality of V - R, the game of the run; that of V where it has no penalties."""
        if self.paying is None:
            return self.gap
        penalty = self.up.moments[0].judged - self.paying.moments[0].judged  # of the player itself
        terms = duality_gap(self.paying, self.down) + penalty
        return Bound(terms.value, terms.standard_error, _ahead(self.paying) + _ahead(self.down))

    @property
    def played_divergence(self) -> Bound:
        """(max_D (V - R) + log 4) / 2: what the discriminators that the run allows can see of the divergence."""
        return _divergence(self.paying or self.up)

    @property
    def without_penalties(self) -> "Equilibrium":
        """The same for the game of V alone."""
        return Equilibrium(self.up, self.down)

    @property
    def verdict(self) -> str:
        """One of `CLOSE`, `NOT_CLOSE`, `NOT_KNOWN`."""
        rules = ((self.played_gap, CLOSE_GAP), (self.played_divergence, CLOSE_DIVERGENCE))
        if any(bound.is_above(most) for bound, most in rules):
            return NOT_CLOSE
        is_close = self._tried and all(bound.stays_below(most) for bound, most in rules)
        return CLOSE if is_close else NOT_KNOWN

    @property
    def _tried(self) -> bool:
        return min(response.moments[-1].step for response in (self.paying or self.up, self.down)) >= LEAST_STEPS

    def sentences(self) -> list[str]:
        """Returns the verdict and what it stands on, in words."""
        return [
            f"Verdict: {self.verdict}{_why(self)}.",
            *self._played_sentences(),
            self._gap_sentence(),
            _response_sentence(self.up, "discriminator", "raised"),
            _response_sentence(self.down, "generator", "lowered"),
            f"The best discriminator found puts the Jensen-Shannon divergence at {self.divergence.value:.3f} nats or "
            f"more (0: fakes are like the data, {math.log(2):.3f}: they share nothing; close: below "
            f"{CLOSE_DIVERGENCE:g}).",
        ]

    def _played_sentences(self) -> list[str]:
        if self.paying is None:
            return []
        gap, seen = self.played_gap, self.played_divergence
        return [
            "The verdict is on the game with the run's penalties, which adversaries pay too: its duality gap is "
            f"{gap.value:.3f} +- {gap.standard_error:.3f} or more, and its discriminators see a divergence of "
            f"{seen.value:.3f} nats or more.",
            _response_sentence(self.paying, "discriminator that pays", "raised", "V less the penalties"),
            f"Without penalties, of which the rest tells, the verdict is: {self.without_penalties.verdict}.",
        ]

    def _gap_sentence(self) -> str:
        gap = self.gap
        found = (
            f"The duality gap is {gap.value:.3f} +- {gap.standard_error:.3f} or more (close: below {CLOSE_GAP:.3f})."
        )
        if gap.value >= 0:
            return found
        return f"{found} It cannot be below 0: the adversaries are worse than the players on the judged images."


def _why(found: Equilibrium) -> str:
    if found.verdict == NOT_KNOWN:
        if not found._tried:
            return f" (fewer than {LEAST_STEPS} steps prove nothing: try more --steps)"
        adversaries = (("D'", found.paying or found.up), ("G'", found.down))
        unfinished = [name for name, each in adversaries if not each.has_converged]
        if unfinished:
            return f" (the inner problem of {' and of '.join(unfinished)} has not converged: try more --steps)"
        return " (the bounds lie on the edge of the rule, within chance)"
    return ""


def _response_sentence(response: Response, who: str, did: str, what: str = "V") -> str:
    start, best = response.moments[0].judged.value, response.best
    tail = "it has converged"
    if response.best.step == 0 and response.has_converged:
        tail = "no step bettered the player, so it has converged"
    elif response.has_failed:
        tail = "it ended worse than it began, the optimisation failed"
    elif not response.has_converged:
        still = "rising" if response.rises else "falling"
        tail = f"it was still {still}, the last fifth of the steps brought {response.late_gain:.3g}"
    return (
        f"Against the player that stood still, a {who} {did} {what} from {start:.3f} to {best.judged.value:.3f} in "
        f"{best.step:,} of {response.moments[-1].step:,} steps; {tail}."
    )


def _divergence(response: Response) -> Bound:
    best = response.best.judged
    return Bound(divergence(best.value), best.standard_error / 2, _ahead(response) / 2)


def _ahead(response: Response) -> float:
    if response.has_failed:
        return math.inf
    return 0.0 if response.has_converged else AHEAD * response.late_gain
