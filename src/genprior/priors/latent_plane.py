"""A map of latents: the plane through one of them along the directions in which the image changes most."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior
from genprior.seeding import derived_generator

PLANE = 2  # dimensions of a map
MOST_STEPS = 30  # of the Lanczos process; generators of images need 6 to 20
TOLERANCE = 1e-2  # relative change of the singular values at which it ends
SILENT = 1e-9  # gain, relative to the largest, below which a direction changes nothing
LONGEST_STEP = 1.0  # in z, whose values have a standard deviation of about 1


@dataclass(frozen=True)
class Directions:
    """Directions of the latents, those in which the image changes most first.

    Attributes:
        vectors: (R, k), R at most as many as were asked for; of length 1 where the prior has no local factors.
        gains: How fast the image changes along each (R,): the length of J v, all values of the image together.
    """

    vectors: Tensor
    gains: Tensor


@dataclass(frozen=True)
class LatentMap:
    """Latents of a square map, row by row.

    Attributes:
        z: (side * side, k); the one in the middle is where the map is about.
        side: Pictures in a row, odd.
        steps: Lengths in z of a step to the right and of a step down (2,).
        is_cut: Whether a step along either was cut to `LONGEST_STEP`, so that the image changes less than asked for.
    """

    z: Tensor
    side: int
    steps: Tensor
    is_cut: bool


class _Slopes:
    """Products with the Jacobian J of a decoder at one point, all from one evaluation of it.

    J^T u is a gradient. It is linear in u, and its own gradient in u gives J v: no decoder needs a forward mode.
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], z: Tensor) -> None:
        self.z = z.detach().clone().requires_grad_()
        self.x = decode(self.z)
        self.u = torch.zeros_like(self.x, requires_grad=True)
        self.slope = torch.autograd.grad(self.x, self.z, self.u, create_graph=True)[0]

    def along(self, v: Tensor) -> Tensor:
        """J v (D,) for v (k,)."""
        found: Tensor = torch.autograd.grad(self.slope, self.u, v.view_as(self.z), retain_graph=True)[0]
        return found.flatten()

    def back(self, u: Tensor) -> Tensor:
        """J^T u (k,) for u (D,)."""
        found: Tensor = torch.autograd.grad(self.x, self.z, u.view_as(self.x), retain_graph=True)[0]
        return found.flatten()


@torch.inference_mode(False)
@torch.enable_grad()
def steepest_directions(
    prior: LatentPrior, z: Tensor, count: int = PLANE, tolerance: float = TOLERANCE, steps: int = MOST_STEPS
) -> Directions:
    """Returns the directions in which the image of a latent changes most.

    They are the leading right singular vectors of the Jacobian J of `decode` at z. J itself is never made: the Lanczos
    process of Golub and Kahan (1965, https://doi.org/10.1137/0702016, section 4), with full reorthogonalisation, needs
    products J v and J^T u alone. Where the prior says how images vary near z, z + L n with n standard normal, they are
    those of J L, as vectors L v of z. The larger part of each is positive, so that the sign is no chance.

    Arguments:
        prior: Decodes.
        z: (k,).
        count: Directions wanted, at least 1; fewer are returned where J has a smaller rank.
        tolerance: Relative change of the wanted singular values at which the process ends.
        steps: Most that it takes.

    Raises:
        GenpriorError: The image or its slope is not finite.
    """
    factors = prior.local_factors(z)
    slopes = _Slopes(prior.decode, z[None])
    _refuse_not_finite(slopes.x)
    along = slopes.along if factors is None else lambda v: slopes.along(factors @ v)
    back = slopes.back if factors is None else lambda u: factors.T @ slopes.back(u)
    size = len(z) if factors is None else factors.shape[1]
    most = min(size, slopes.x.numel(), max(steps, count))
    v, gains = _singular(
        along, back, torch.randn(size, generator=derived_generator(0, "map")).to(z), count, most, tolerance
    )
    kept = gains > SILENT * gains.max().clamp_min(torch.finfo(gains.dtype).tiny)
    vectors = v[kept] if factors is None else v[kept] @ factors.T
    signs = torch.where(vectors.clamp_min(0).norm(dim=1) < vectors.clamp_max(0).norm(dim=1), -1.0, 1.0)
    return Directions(vectors * signs[:, None].to(vectors), gains[kept])


def _singular(
    along: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
    start: Tensor,
    count: int,
    most: int,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Leading right singular vectors (R, k) and values (R,) of a map; `most` is the largest number of steps."""
    right, left = [start / start.norm()], [along(start / start.norm())]
    before = torch.zeros(count).to(start)
    while True:
        v = torch.stack(right)
        u, r = torch.linalg.qr(torch.stack(left).T)  # A V = U R
        _refuse_not_finite(r)
        _, gains, inner = torch.linalg.svd(r)
        now = torch.nn.functional.pad(gains[:count], (0, max(0, count - len(gains))))
        is_still = len(right) > count and bool(((now - before).abs() <= tolerance * now[0]).all())
        if is_still or len(right) == most:
            return inner[:count] @ v, gains[:count]
        before = now
        w = back(u[:, -1])
        for _ in range(2):  # twice is enough (Parlett 1998, section 6.9)
            w = w - v.T @ (v @ w)
        length = w.norm()
        if not float(length) > 1e-6 * float(gains[0]):  # all that the map reaches is spanned
            return inner[:count] @ v, gains[:count]
        right.append(w / length)
        left.append(along(right[-1]))


def _refuse_not_finite(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise GenpriorError("the image of this latent, or its slope, is not finite", argument="around")


def map_around(prior: LatentPrior, z: Tensor, step: float, side: int) -> LatentMap:
    """Returns latents of a square of pictures about z, in the plane of the two directions of most change.

    Pictures change along rows as they do most, and down the columns as they do most beside that.

    Arguments:
        prior: Decodes.
        z: (k,), the middle.
        step: Root mean square, over the values of the image, of the change from a picture to the next, to first order.
        side: Pictures in a row, odd, at least 3.

    Raises:
        GenpriorError: An even side, or an image that does not change in any direction.
    """
    if side < 3 or side % 2 == 0:
        raise GenpriorError(f"expected an odd number from 3 on, so that there is a middle, got {side}", argument="side")
    found = steepest_directions(prior, z)
    if not len(found.gains) or not float(found.gains[0]):
        raise GenpriorError("the image of this latent changes in no direction", argument="around")
    size = torch.tensor(prior.image_shape).prod() ** 0.5
    wanted = step * size.to(z) / found.gains
    steps = wanted.clamp_max(LONGEST_STEP)
    places = torch.arange(side).to(z) - side // 2
    moves = steps[:, None] * found.vectors  # (R, k)
    right = places[:, None] * moves[0]
    down = places[:, None] * moves[1] if len(moves) > 1 else torch.zeros_like(right)
    cells = z + (down[:, None] + right[None]).flatten(0, 1)
    return LatentMap(cells, side, torch.nn.functional.pad(steps, (0, PLANE - len(steps))), bool((wanted > steps).any()))


def changes_between(x: Tensor, side: int) -> Tensor:
    """Returns the root mean squared change (2 side (side - 1),) between neighbours of a map x (side^2, C, H, W)."""
    table = x.flatten(1).view(side, side, -1)
    beside, below = table[:, 1:] - table[:, :-1], table[1:] - table[:-1]
    return torch.cat([each.flatten(0, 1).square().mean(1).sqrt() for each in (beside, below)])
