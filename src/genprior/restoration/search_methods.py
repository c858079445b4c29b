"""Methods that go down for many independent searches at once: L-BFGS, and Adam as the study used it.

Every search has its own state, step and acceptance. One evaluation serves all: a search whose trial point is refused
only shortens its step, while the others move on, so nobody waits for anybody's line search. Imports torch only.
"""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

MEMORY = 10  # curvature pairs kept
DECREASE = 1e-4  # Armijo's constant
FIRST_STEP = 1.0  # length of the first move, in the units of z
LONGEST_STEP = 5.0  # a longer one has left the region in which the pairs mean anything
SHORTEST = 1e-6  # a step this small against the direction has failed


class Method(Protocol):
    """Many independent searches that each go down step by step; made from z (R, k), value (R,), slope (R, k), guess."""

    z: Tensor
    value: Tensor
    slope: Tensor
    failed: Tensor

    def trial(self) -> Tensor:
        """Returns the points (R, k) to be evaluated next."""

    def advance(self, z: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """Takes in the evaluation of the trial points; returns which of them were accepted (R,)."""

    def revalue(self, value: Tensor, slope: Tensor) -> None:
        """Replaces value and slope where the searches stand."""

    def keep(self, rows: Tensor) -> None:
        """Keeps these searches alone."""


@dataclass
class LBFGS:
    """Limited-memory BFGS (Nocedal 1980), the state of R searches in k dimensions.

    Attributes:
        z, value, slope: The accepted points (R, k), (R,), (R, k); searches begin where these are put.
        guess: First guess of the inverse Hessian up to a factor (k, k), the same for all; None: the identity.
        direction: Where each search goes (R, k).
        step: How far along it the trial point lies (R,).
        steps, changes: The last moves and changes of slope (MEMORY, R, k), newest first; zero where there is none.
        failed: Searches (R,) in which no step along steepest descent went down.
    """

    z: Tensor
    value: Tensor
    slope: Tensor
    guess: Tensor | None = None
    direction: Tensor = field(init=False)
    step: Tensor = field(init=False)
    steps: Tensor = field(init=False)
    changes: Tensor = field(init=False)
    failed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.direction = -self._guessed(self.slope)
        self.step = _first_step(self.direction)
        self.steps = self.z.new_zeros(MEMORY, *self.z.shape)
        self.changes = self.steps.clone()
        self.failed = torch.zeros_like(self.value, dtype=torch.bool)

    def trial(self) -> Tensor:
        """Returns the points (R, k) to be evaluated next."""
        return self.z + self.step[:, None] * self.direction

    def advance(self, z: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """Takes in the evaluation of the trial points; returns which of them were accepted (R,)."""
        promised = (self.slope * self.direction).sum(1)
        accepted = value <= self.value + DECREASE * self.step * promised  # false for NaN
        self._remember(z, slope, accepted)
        shorter = self._shortened(value, promised)
        hopeless = ~accepted & (shorter < SHORTEST * _first_step(self.direction))
        self.z = torch.where(accepted[:, None], z, self.z)
        self.value = torch.where(accepted, value, self.value)
        self.slope = torch.where(accepted[:, None], slope, self.slope)
        has_pairs = (self.steps[0] != 0).any(1)
        self.failed |= hopeless & ~has_pairs
        self.steps[:, hopeless] = 0
        self.changes[:, hopeless] = 0
        self._turn(accepted | hopeless, shorter)
        return accepted

    def keep(self, rows: Tensor) -> None:
        """Keeps these searches alone."""
        for name in ("z", "value", "slope", "direction", "step", "failed"):
            setattr(self, name, getattr(self, name)[rows])
        self.steps, self.changes = self.steps[:, rows], self.changes[:, rows]

    def revalue(self, value: Tensor, slope: Tensor) -> None:
        """Replaces value and slope at the accepted points: the objective's weights have changed."""
        self.value, self.slope = value, slope
        self._turn(torch.ones_like(self.failed), self.step)

    def _remember(self, z: Tensor, slope: Tensor, accepted: Tensor) -> None:
        moved, changed = z - self.z, slope - self.slope
        curved = (moved * changed).sum(1) > 1e-10 * changed.square().sum(1)
        new = (accepted & curved)[None, :, None]
        self.steps = torch.where(new, torch.cat([moved[None], self.steps[:-1]]), self.steps)
        self.changes = torch.where(new, torch.cat([changed[None], self.changes[:-1]]), self.changes)

    def _shortened(self, value: Tensor, promised: Tensor) -> Tensor:
        """Minimum of the parabola through value and slope at 0 and the value at the trial, kept within [0.1, 0.5]."""
        excess = value - self.value - self.step * promised
        ratio = -0.5 * self.step * promised / excess
        share: Tensor = torch.nan_to_num(ratio, nan=0.1, posinf=0.5, neginf=0.1).clamp(0.1, 0.5)
        return self.step * share

    def _turn(self, turning: Tensor, shorter: Tensor) -> None:
        """Gives the searches that moved a new direction and a full step; the others a shorter step."""
        direction = -self._inverse_hessian_times(self.slope)
        uphill = (direction * self.slope).sum(1) >= 0
        direction = torch.where(uphill[:, None], -self._guessed(self.slope), direction)
        has_pairs = (self.steps[0] != 0).any(1) & ~uphill
        full = torch.where(has_pairs, (LONGEST_STEP / _length(direction)).clamp_max(1.0), _first_step(direction))
        self.direction = torch.where(turning[:, None], direction, self.direction)
        self.step = torch.where(turning, full, shorter)

    def _guessed(self, slope: Tensor) -> Tensor:
        return slope if self.guess is None else slope @ self.guess

    def _inverse_hessian_times(self, slope: Tensor) -> Tensor:
        """The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4); missing pairs are zero and do nothing."""
        products = (self.steps * self.changes).sum(2)
        rho = torch.where(products > 0, 1 / products.clamp_min(1e-30), 0.0)
        alphas: list[Tensor] = []
        q = slope
        for i in range(MEMORY):
            alpha = rho[i] * (self.steps[i] * q).sum(1)
            q = q - alpha[:, None] * self.changes[i]
            alphas.append(alpha)
        q = self._guessed(q)
        size = (self.changes[0] * self._guessed(self.changes[0])).sum(1)
        q = q * torch.where(size > 0, products[0] / size.clamp_min(1e-30), 1.0)[:, None]
        for i in reversed(range(MEMORY)):
            beta = rho[i] * (self.changes[i] * q).sum(1)
            q = q + (alphas[i] - beta)[:, None] * self.steps[i]
        return q


def _first_step(direction: Tensor) -> Tensor:
    """Step that moves a search by `FIRST_STEP`; 0 where there is nowhere to go."""
    step: Tensor = FIRST_STEP / _length(direction)
    return torch.where(torch.isfinite(step), step, 0.0)


def _length(direction: Tensor) -> Tensor:
    """Norms (R,), also of directions whose squares are too small for their type."""
    largest = direction.abs().amax(1)
    length: Tensor = largest * torch.nan_to_num(direction / largest[:, None]).norm(dim=1)
    return length


class Adam:
    """Adam (Kingma & Ba 2015), torch's own, the state of R searches in k dimensions; every step is accepted.

    It works element by element, so the rows of one tensor are searches that never influence each other.

    Arguments:
        z, value, slope: The points where the searches stand (R, k), (R,), (R, k).
        guess: Unused: Adam has a scale of its own for each dimension.
        learning_rate: Above 0.

    Attributes:
        failed: Searches (R,) that cannot go on: never.
    """

    def __init__(
        self, z: Tensor, value: Tensor, slope: Tensor, guess: Tensor | None = None, learning_rate: float = 0.01
    ) -> None:
        self.z, self.value, self.slope = z, value, slope
        self.failed = torch.zeros_like(value, dtype=torch.bool)
        self._point = z.detach().clone()
        self._optimiser = torch.optim.Adam([self._point], lr=learning_rate)

    def trial(self) -> Tensor:
        """Returns the points (R, k) to be evaluated next."""
        self._point.grad = self.slope
        self._optimiser.step()
        return self._point.clone()

    def advance(self, z: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """Takes in the evaluation of the trial points; all of them are accepted (R,)."""
        self.z, self.value, self.slope = z, value, slope
        return ~self.failed

    def revalue(self, value: Tensor, slope: Tensor) -> None:
        """Replaces value and slope where the searches stand: the objective's weights have changed."""
        self.value, self.slope = value, slope

    def keep(self, rows: Tensor) -> None:
        """Keeps these searches alone."""
        self.z, self.value, self.slope = self.z[rows], self.value[rows], self.slope[rows]
        self.failed = self.failed[rows]
        state = self._optimiser.state.pop(self._point, {})
        self._point = self._point.detach()[rows]
        self._optimiser.param_groups[0]["params"] = [self._point]
        kept = {name: value if name == "step" else value[rows] for name, value in state.items()}
        if kept:  # there is no state before the first step
            self._optimiser.state[self._point] = kept
