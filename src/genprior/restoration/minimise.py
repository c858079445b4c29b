"""Many searches at once: step, compare, drop the hopeless, stop each where it stops; then the best of each image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import Weigh
from genprior.restoration.problem import Problem
from genprior.restoration.search_settings import SearchSettings

SETTLED = 0.01  # share by which a weight may change in a search that has converged
BLOCK = 10  # evaluations between two looks at all searches
REASONS = ("iterations", "converged", "stalled", "dropped")
DISTINCT = 0.1  # root mean square by which two solutions of an image differ, in units of x
EQUAL_SHARE = 1.2  # a solution explains the measurement as well as the best one up to this ratio of misfits
GOING, CONVERGED, STALLED, DROPPED = range(4)  # places in REASONS: whoever still goes at the end ran out of iterations


@dataclass
class Searches:
    """Where searches stand, one in each place of a leading shape (...): (R,), or (B, P) for P searches of B images.

    Attributes:
        z: The best point of each by its objective (..., k).
        misfit, energy: There (...); the misfit is infinite where there is no search.
        weight: Of the energy (...).
        iterations: Evaluations so far (...), int64.
        reason: Place in `REASONS` (...), int64.
    """

    z: Tensor
    misfit: Tensor
    energy: Tensor
    weight: Tensor
    iterations: Tensor
    reason: Tensor

    def by_image(self, images: int, keep: int) -> "Searches":
        """Returns the `keep` best (B, keep) of equally many searches (R,) for each image, sorted by image."""
        shape = (images, len(self.z) // images)
        return Searches(*(value.view(*shape, *value.shape[1:]) for value in vars(self).values())).best(keep)

    def best(self, keep: int) -> "Searches":
        """Returns the `keep` searches of each image with the smallest misfit, that one first."""
        return self.taken(torch.argsort(self.misfit, dim=1, stable=True)[:, :keep])

    def taken(self, places: Tensor) -> "Searches":
        """Returns the searches of each image at these places (B, K)."""
        row = torch.arange(len(places), device=places.device)[:, None]
        return Searches(*(value[row, places] for value in vars(self).values()))

    def joined(self, other: "Searches", rows: Tensor) -> "Searches":
        """Returns these searches with those of the images `rows` (b,) beside them."""
        parts = []
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            empty = torch.inf if mine is self.misfit else 0
            beside = torch.full((mine.shape[0], *theirs.shape[1:]), empty, dtype=mine.dtype, device=mine.device)
            beside[rows] = theirs
            parts.append(torch.cat([mine, beside], 1))
        return Searches(*parts)


def minimise(
    problem: Problem, z: Tensor, who: Tensor, weight: Tensor, weigh: Weigh | None, settings: SearchSettings
) -> Searches:
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
        self.here = problem.evaluate(z, who)
        misfit, energy, zero = self.here.misfit.clone(), self.here.energy.clone(), torch.zeros_like(who)
        self.image = who
        self.found = Searches(z.clone(), misfit, energy, weight.clone(), zero, zero.clone())
        guess = problem.prior.preconditioner
        self.method = settings.method(z, *self.here.objective(weight), None if guess is None else guess.to(z))
        self.before = self.method.value.clone()

    @property
    def who(self) -> Tensor:
        return self.image[self.going]

    @property
    def weight(self) -> Tensor:
        return self.found.weight[self.going]

    def step(self) -> None:
        z = self.method.trial()
        there, weight = self.problem.evaluate(z, self.who), self.weight
        value, slope = there.objective(weight)
        accepted = self.method.advance(z, value, slope)
        self.here = there.where(accepted, self.here)
        found, at = self.found, self.going
        better = accepted & (value < found.misfit[at] + weight * found.energy[at])
        rows = at[better]
        found.z[rows], found.misfit[rows], found.energy[rows] = z[better], there.misfit[better], there.energy[better]
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
        order = order[torch.argsort(self.image[order], stable=True)]
        starts = len(order) // max(1, len(torch.unique(self.image)))
        loser = order.view(-1, starts)[:, keep:].flatten()
        found.reason[loser] = DROPPED
        # Among those that were dropped before, none may come back.
        found.misfit = torch.where(found.reason == DROPPED, float("inf"), found.misfit)

    def _reweigh(self, weigh: Weigh) -> Tensor:
        """Gives each search the weight that follows from its misfit; returns whose hardly changed (R,)."""
        found, at = self.found, self.going
        old = found.weight[at]
        new = weigh(self.who, found.misfit[at], old)
        changed = new != old
        # The best point under the old weight is where the search stands under the new one.
        found.weight[at] = new
        value, slope = self.here.objective(new)
        if bool(changed.any()):
            self.method.revalue(value, slope)
        self.before = torch.where(changed, found.misfit[at] + new * found.energy[at], self.before)
        return (new - old).abs() <= SETTLED * old

    def compact(self) -> bool:
        """Keeps the searches that have not ended; returns whether there are any."""
        rows = torch.nonzero(self.found.reason[self.going] == GOING)[:, 0]
        if len(rows) < len(self.going):
            self.going = self.going[rows]
            self.before = self.before[rows]
            self.here = self.here.taken(rows)
            self.method.keep(rows)
        return len(rows) > 0


@torch.no_grad()
def distinct(pool: Searches, prior: LatentPrior, slack: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns up to `count` solutions of each image that differ to the eye and explain the measurement equally well.

    The first is the one with the smallest misfit; each further one has at most `EQUAL_SHARE` of its misfit plus `slack`
    and differs from those before it by `DISTINCT` or more.

    Arguments:
        pool: Best first.
        prior: Decodes.
        slack: Misfit (B,) that noise alone may account for.
        count: K, at least 1.

    Returns:
        Places in the pool (B, K) and how many of them there are (B,), int64; the places after those repeat the first.
    """
    images = len(pool.z)
    chosen = torch.zeros(images, count, dtype=torch.int64, device=pool.z.device)
    counts = torch.ones_like(chosen[:, 0])
    if count == 1:
        return chosen, counts
    x = torch.stack([prior.decode(z) for z in pool.z.unbind(1)], 1)
    limit = EQUAL_SHARE * pool.misfit[:, 0] + slack
    for i in range(images):
        places = chosen_apart(x[i], (pool.misfit[i] <= limit[i]) & pool.misfit[i].isfinite(), count)
        chosen[i, : len(places)] = torch.tensor(places, device=chosen.device)
        counts[i] = len(places)
    return chosen, counts


def chosen_apart(x: Tensor, fits: Tensor, count: int) -> list[int]:
    """Returns up to `count` places in x (P, C, H, W), the first and those that fit (P,) and differ from all before."""
    chosen = [0]
    for place in range(1, len(x)):
        if len(chosen) == count:
            break
        apart = (x[chosen] - x[place]).square().mean((1, 2, 3)).sqrt()
        if bool(fits[place]) and float(apart.min()) >= DISTINCT:
            chosen.append(place)
    return chosen
