"""Images that are nearly the same: recompressed, brighter or darker, or equal. Found exactly, whatever their number."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from genprior.data.geometry import CHUNK
from genprior.images import to_float

SIDE = 16  # pixels a side of the thumbnails that are compared
RADIUS = 0.1  # of two thumbnails of mean 0 and length 1: a correlation of 0.995
LENGTH = 4000  # thumbnails become whole numbers of this length, so their products stay below 2^24: exact in float32
FLAT = 1 / 255  # standard deviation below which an image is constant: one level of 8 bits
PAIRS_AT_ONCE = 2**24


def duplicate_groups(images: Tensor) -> Tensor:
    """Returns the group of each image, int64 (N,): images of one group are near duplicates, or linked by some.

    Thumbnails of 16 x 16 are compared after their mean is taken off and their length set to 1, so brightness and
    contrast make no difference. Two are near duplicates if they are at most 0.1 apart. All constant images are one
    group. The result is the same on any machine.

    Arguments:
        images: uint8 (N, C, H, W).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = _near_pairs(_thumbnails(images))
    links = coo_array((torch.ones(len(first)).numpy(), (first.numpy(), second.numpy())), shape=(len(images),) * 2)
    _, groups = connected_components(links, directed=False)
    return torch.from_numpy(groups).long()


def constant_images(images: Tensor) -> Tensor:
    """Returns which images show nothing, bool (N,): their values differ by less than a level of 8 bits."""
    return torch.cat([_pooled(chunk).std(1, correction=0) < FLAT for chunk in torch.split(images, CHUNK)])


def _thumbnails(images: Tensor) -> Tensor:
    """Thumbnails (N, D), float32 that hold whole numbers; the length of each is 4000, but for rounding."""
    return torch.cat([_thumbnail(chunk) for chunk in torch.split(images, CHUNK)])


def _thumbnail(images: Tensor) -> Tensor:
    values = _pooled(images)
    centred = values - values.mean(1, keepdim=True)
    centred[values.std(1, correction=0) < FLAT] = torch.eye(1, values.shape[1], dtype=torch.float64)
    scaled: Tensor = LENGTH * centred / centred.norm(dim=1, keepdim=True)
    return scaled.round().float()


def _pooled(images: Tensor) -> Tensor:
    return adaptive_avg_pool2d(to_float(images).double(), (SIDE, SIDE)).flatten(1)


def _near_pairs(thumbnails: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of all pairs within the radius.

    A projection brings no two points farther apart. So in the order of their projections, a thumbnail need only be
    compared with those whose projections are within the radius: exact, and a tenth of the work.
    """
    along = thumbnails @ _widest(thumbnails)
    along, order = along.sort()
    ordered, reach = thumbnails[order], RADIUS * LENGTH + 1
    squares = ordered.square().sum(1) - (RADIUS * LENGTH) ** 2 / 2  # |u - v|^2 = |u|^2 + |v|^2 - 2 uv
    found, start = [], 0
    while start < len(ordered):
        stop = min(len(ordered), start + max(1, PAIRS_AT_ONCE // len(ordered)))
        last = int(torch.searchsorted(along, along[stop - 1] + reach, right=True))
        near = 2 * ordered[start:stop] @ ordered[start:last].T >= squares[start:stop, None] + squares[start:last]
        found.append(near.triu(1).nonzero() + start)
        start = stop
    first, second = torch.cat(found).T
    return order[first], order[second]


def _widest(points: Tensor) -> Tensor:
    """The direction (D,) in which points spread most; any other would do, but more slowly."""
    some = points[:: max(1, len(points) // 2000)].double()
    centred = some - some.mean(0)
    directions: Tensor = torch.linalg.eigh(centred.T @ centred)[1]
    return directions[:, -1].float()
