"""Many searches at once: step, compare, drop the hopeless, stop each one where it stops. Knows no priors by name."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.restoration.problem import Problem
from genprior.restoration.search_settings import SearchSettings
from genprior.restoration.weights import Weigh

SETTLED = 0.01  # share by which a weight may change in a search that has converged
BLOCK = 10  # evaluations between two looks at all searches
REASONS = ("iterations", "converged", "stalled", "dropped")
GOING, CONVERGED, STALLED, DROPPED = range(4)  # places in REASONS: whoever still goes at the end ran out of iterations


@dataclass
class Found:
    """Where R searches stand.

    Attributes:
        who: The image of each (R,).
        z: The best point of each by its objective (R, k).
        misfit, energy: There (R,).
        weight: Of the energy (R,).
        iterations: Evaluations so far (R,), int64.
        reason: Place in `REASONS` (R,), int64.
    """

    who: Tensor
    z: Tensor
    misfit: Tensor
    energy: Tensor
    weight: Tensor
    iterations: Tensor
    reason: Tensor


def minimise(
    problem: Problem, z: Tensor, who: Tensor, weight: Tensor, weigh: Weigh | None, settings: SearchSettings
) -> Found:
    """Returns where searches from z (R, k) end.

    The searches of one image compete: after a while the half with the larger misfit is dropped, again and again until
    one is left, or several for each candidate wanted (successive halving, Jamieson & Talwalkar 2016).

    Arguments:
        problem: What is to be explained.
        z: Starts (R, k).
        who: Image of each (R,), sorted, equally many starts for each.
        weight: Of the energy at first (R,).
        weigh: How the weight follows the search; None: it stays.
        settings: Method, iterations, tolerance, candidates.
    """
    run = _Run(problem, z, who, weight, settings)
    halvings = _halvings(len(z) // max(1, len(torch.unique(who))), settings)
    evaluations = settings.iterations + BLOCK * len(halvings)
    for first in range(0, evaluations, BLOCK):
        for _ in range(min(BLOCK, evaluations - first)):
            run.step()
        run.stop_the_converged(weigh if first + BLOCK < evaluations else None)
        if first // BLOCK + 1 in halvings:
            run.drop_the_worse(halvings[first // BLOCK + 1])
        if not run.compact():
            break
    return run.found


def _halvings(starts: int, settings: SearchSettings) -> dict[int, int]:
    """Returns how many searches of an image go on after which block.

    Example:
        >>> _halvings(8, SearchSettings())
        {1: 4, 2: 2, 3: 1}
    """
    plan, block, keep = {}, 0, starts
    while keep > settings.survivors:
        block, keep = block + 1, max(settings.survivors, keep // 2)
        plan[block] = keep
    return plan


class _Run:
    """The state of all searches, finished ones included, and the method's state of those that still go."""

    def __init__(self, problem: Problem, z: Tensor, who: Tensor, weight: Tensor, settings: SearchSettings) -> None:
        self.problem, self.settings = problem, settings
        self.going = torch.arange(len(z), device=z.device)
        self.misfit, self.energy, self.misfit_slope, self.energy_slope = problem.evaluate(z, who)
        zero = torch.zeros_like(who)
        self.found = Found(who, z.clone(), self.misfit.clone(), self.energy.clone(), weight.clone(), zero, zero.clone())
        # A prior may know which directions are steep everywhere; one of a user's own need not.
        guess = getattr(problem.prior, "preconditioner", None)
        self.method = settings.method(z, *self._objective(weight), None if guess is None else guess.to(z))
        self.before = self.method.value.clone()

    @property
    def who(self) -> Tensor:
        return self.found.who[self.going]

    @property
    def weight(self) -> Tensor:
        return self.found.weight[self.going]

    def _objective(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self.misfit + weight * self.energy, self.misfit_slope + weight[:, None] * self.energy_slope

    def step(self) -> None:
        z = self.method.trial()
        misfit, energy, misfit_slope, energy_slope = self.problem.evaluate(z, self.who)
        weight = self.weight
        value, slope = misfit + weight * energy, misfit_slope + weight[:, None] * energy_slope
        accepted = self.method.advance(z, value, slope)
        self.misfit = torch.where(accepted, misfit, self.misfit)
        self.energy = torch.where(accepted, energy, self.energy)
        self.misfit_slope = torch.where(accepted[:, None], misfit_slope, self.misfit_slope)
        self.energy_slope = torch.where(accepted[:, None], energy_slope, self.energy_slope)
        found, at = self.found, self.going
        better = accepted & (value < found.misfit[at] + weight * found.energy[at])
        rows = at[better]
        found.z[rows], found.misfit[rows], found.energy[rows] = z[better], misfit[better], energy[better]
        found.iterations[at] += 1

    def stop_the_converged(self, weigh: Weigh | None) -> None:
        """Ends the searches that no longer go down, unless their weight is still on its way."""
        best = self.found.misfit[self.going] + self.weight * self.found.energy[self.going]
        # The tolerance is a share of what ten evaluations ago was there: one small step is no sign of an end.
        stuck = (self.before - best < self.settings.tolerance * self.before.abs()) | (best == 0)
        self.before = best
        if weigh is not None:
            stuck &= self._reweigh(weigh)
        reason = torch.where(stuck, CONVERGED, self.found.reason[self.going])
        self.found.reason[self.going] = torch.where(self.method.failed, STALLED, reason)

    def drop_the_worse(self, keep: int) -> None:
        """Drops all but the `keep` searches of each image with the smallest misfit, finished ones included."""
        found = self.found
        order = torch.argsort(found.misfit + 0.0, stable=True)
        order = order[torch.argsort(found.who[order], stable=True)]
        starts = len(order) // max(1, len(torch.unique(found.who)))
        loser = order.view(-1, starts)[:, keep:].flatten()
        found.reason[loser] = DROPPED
        # Among those that were dropped before, none may come back.
        found.misfit = torch.where(found.reason == DROPPED, float("inf"), found.misfit)

    def _reweigh(self, weigh: Weigh) -> Tensor:
        """Gives each search the weight that follows from its misfit; returns whose hardly changed (R,)."""
        found, at = self.found, self.going
        old = found.weight[at]
        new = weigh(found.who[at], found.misfit[at], old)
        changed = new != old
        # The best point under the old weight is where the search stands under the new one.
        found.weight[at] = new
        value, slope = self._objective(new)
        if bool(changed.any()):
            self.method.revalue(value, slope)
        self.before = torch.where(changed, found.misfit[at] + new * found.energy[at], self.before)
        return (new - old).abs() <= SETTLED * old

    def compact(self) -> bool:
        """Goes on with the searches that have not ended; returns whether there are any."""
        rows = torch.nonzero(self.found.reason[self.going] == GOING)[:, 0]
        if len(rows) < len(self.going):
            self.going = self.going[rows]
            self.before = self.before[rows]
            self.misfit, self.energy = self.misfit[rows], self.energy[rows]
            self.misfit_slope, self.energy_slope = self.misfit_slope[rows], self.energy_slope[rows]
            self.method.keep(rows)
        return len(rows) > 0
