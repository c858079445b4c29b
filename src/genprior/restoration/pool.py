"""The best searches of each image, and the distinct solutions among them. Knows priors and problems."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.priors.generator_prior import Prior
from genprior.restoration.minimise import Found

DISTINCT = 0.1  # root mean square by which two solutions of an image differ, in units of x
EQUAL_SHARE = 1.2  # a solution explains the measurement as well as the best one up to this ratio of misfits


@dataclass(frozen=True)
class Pool:
    """P searches for each of B images, the smallest misfit first; after those that there are, misfits are infinite.

    Attributes:
        z: (B, P, k).
        misfit, energy, weight: (B, P).
        iterations, reason: (B, P), int64.
    """

    z: Tensor
    misfit: Tensor
    energy: Tensor
    weight: Tensor
    iterations: Tensor
    reason: Tensor

    @classmethod
    def of(cls, found: Found, images: int, keep: int) -> "Pool":
        """Returns the `keep` best of equally many searches for each image, sorted by image."""
        shape = (images, len(found.z) // images)
        values = (found.z, found.misfit, found.energy, found.weight, found.iterations, found.reason)
        return cls(*(value.view(*shape, *value.shape[1:]) for value in values)).best(keep)

    def best(self, keep: int) -> "Pool":
        """Returns the `keep` searches of each image with the smallest misfit."""
        order = torch.argsort(self.misfit, dim=1, stable=True)[:, :keep]
        z = torch.gather(self.z, 1, order[..., None].expand(*order.shape, self.z.shape[2]))
        rest = (self.misfit, self.energy, self.weight, self.iterations, self.reason)
        return Pool(z, *(torch.gather(value, 1, order) for value in rest))

    def joined(self, other: "Pool", rows: Tensor) -> "Pool":
        """Returns this pool with that of the images `rows` (b,) beside it."""
        parts = []
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            empty = torch.inf if mine is self.misfit else 0
            beside = torch.full((mine.shape[0], *theirs.shape[1:]), empty, dtype=mine.dtype, device=mine.device)
            beside[rows] = theirs
            parts.append(torch.cat([mine, beside], 1))
        return Pool(*parts)


@torch.no_grad()
def distinct(pool: Pool, prior: Prior, slack: Tensor, count: int) -> tuple[Tensor, Tensor]:
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
        places = _choose(x[i], (pool.misfit[i] <= limit[i]) & pool.misfit[i].isfinite(), count)
        chosen[i, : len(places)] = torch.tensor(places, device=chosen.device)
        counts[i] = len(places)
    return chosen, counts


def _choose(x: Tensor, fits: Tensor, count: int) -> list[int]:
    """Returns places in x (P, C, H, W), the first and those that fit and differ from all before."""
    chosen = [0]
    for place in range(1, len(x)):
        if len(chosen) == count:
            break
        apart = (x[chosen] - x[place]).square().mean((1, 2, 3)).sqrt()
        if bool(fits[place]) and float(apart.min()) >= DISTINCT:
            chosen.append(place)
    return chosen
