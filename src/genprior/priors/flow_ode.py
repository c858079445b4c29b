"""Solving dx/dt = v(x, t) between noise and images, and how densities change on the way. Knows velocities only.

Along a solution the log-density changes by d log p_t(x) / dt = -div v(x, t): the continuity equation
dp/dt + div(p v) = 0, seen by who moves along (Chen et al. 2018, https://arxiv.org/abs/1806.07366, theorem 1). A step of
length h is the invertible layer x + h v(x, t), whose log |det(I + h J)| is h tr J up to h^2. So the integral is the
limit of the sum of log-determinants of ever more layers, each of them nearer to the identity.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]
"""x (B, C, H, W), t (B,) -> dx/dt (B, C, H, W)."""


def path_times(steps: int, last: float = 1.0) -> Tensor:
    """Returns times (steps + 1,) from 0 to `last` in (0, 1], dense near 0 and 1, where a velocity changes fastest.

    Example:
        >>> path_times(2)
        tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    angles = torch.linspace(0, 1, steps + 1, dtype=torch.float64) * math.asin(math.sqrt(last))
    return torch.sin(angles).square()


def flowed(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Returns x (B, C, H, W) at the last of `times`, from x at the first; the midpoint rule, two evaluations a step.

    Arguments:
        velocity: v.
        x: Where solutions begin.
        times: Increasing, or decreasing for the way back (N,).
    """
    for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        half = x + 0.5 * (then - now) * velocity(x, x.new_full((x.shape[0],), now))
        x = x + (then - now) * velocity(half, x.new_full((x.shape[0],), 0.5 * (now + then)))
    return x


def unit_directions(shape: tuple[int, int, int]) -> Tensor:
    """Returns the D = C H W unit vectors (D, C, H, W)."""
    return torch.eye(math.prod(shape)).view(-1, *shape)


def random_signs(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Returns directions (count, C, H, W) of independent signs, under which E[e^T J e] is the trace of J.

    Of all independent entries signs have the least variance (Hutchinson 1990).
    """
    return torch.randint(0, 2, (count, *shape), generator=generator).float() * 2 - 1


@torch.enable_grad()
def slopes(velocity: Velocity, x: Tensor, t: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns v (B, C, H, W) and e^T J e (P, B) for P directions e, J = dv/dx; without a graph.

    Over unit vectors they sum to the divergence; of random signs each one is an unbiased estimate of it. Each
    direction costs a pass backwards through the network for all images at once.

    Arguments:
        velocity: v, whose rows do not influence each other.
        x: (B, C, H, W).
        t: (B,).
        directions: (P, C, H, W).
    """
    x = x.detach().requires_grad_()
    v = velocity(x, t)
    found = []
    for place, e in enumerate(directions.to(x)):
        is_last = place + 1 == len(directions)
        (product,) = torch.autograd.grad(v, x, e.expand_as(v).contiguous(), retain_graph=not is_last)
        found.append((product * e).flatten(1).sum(1))
    return v.detach(), torch.stack(found)


@torch.no_grad()
def log_densities(velocity: Velocity, x: Tensor, times: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log N(x_0; 0, I) (B,) and the integrals of e^T J e (P, B) over the times, both in nats.

    The log-density of x at time 1 is the first minus the divergence's integral (Chen et al. 2018, equation 8).

    Arguments:
        velocity: v.
        x: (B, C, H, W) at time 1.
        times: From 1 to 0 (N,).
        directions: (P, C, H, W).
    """
    total = x.new_zeros(len(directions), len(x))
    for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        middle = x.new_full((x.shape[0],), 0.5 * (now + then))
        half = x + 0.5 * (then - now) * velocity(x, x.new_full((x.shape[0],), now))
        v, own = slopes(velocity, half, middle, directions)
        x, total = x + (then - now) * v, total - (then - now) * own
    flat = x.flatten(1)
    return -0.5 * flat.square().sum(1) - 0.5 * flat.shape[1] * math.log(2 * math.pi), total
