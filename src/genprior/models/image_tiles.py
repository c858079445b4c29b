"""Large images through a network piece by piece: memory stays bounded, and results are those of the whole image.

A network of convolutions sees no farther than its reach. A tile with a margin of that width gets all that its pixels
depend on, so there are no seams. Normalisation over the channels of one place keeps this true; statistics over a whole
image would not.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

WHOLE = 2**18  # pixels of an image up to which it is not cut
TILE = 512  # pixels of a side of a tile, without margins

Network = Callable[[Tensor, Tensor], Tensor]
"""x (B, C, H, W), t (B,) -> (B, C, H, W)."""


def in_tiles(network: Network, x: Tensor, t: Tensor, reach: int, stride: int) -> Tensor:
    """Returns network(x, t) (B, C, H, W), equal up to rounding; of images larger than `WHOLE` tile by tile.

    What a pass backwards needs of a tile is computed anew when its turn comes.

    Arguments:
        network: An output depends on inputs at most `reach` pixels away, counted in whole cells of `stride` pixels.
        x: H and W multiples of the stride.
        t: (B,).
        reach: Pixels, at least 0.
        stride: Pixels; tiles begin at multiples of it.
    """
    height, width = x.shape[2:]
    if height * width <= WHOLE:
        return network(x, t)
    rows = []
    for row in windows(height, reach, stride):
        parts = []
        for column in windows(width, reach, stride):
            found = _evaluated(network, x[:, :, row[0] : row[1], column[0] : column[1]], t)
            kept = slice(row[2], row[3]), slice(column[2], column[3])
            parts.append(found[:, :, kept[0], kept[1]])
        rows.append(torch.cat(parts, 3))
    return torch.cat(rows, 2)


def windows(side: int, reach: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Returns the tiles along a side: where each begins and ends, margins included, and what of it is kept.

    Tiles are about equal, at most `TILE` without margins, and begin at multiples of the stride.

    Example:
        >>> windows(1040, reach=40, stride=8)
        [(0, 392, 0, 352), (312, 744, 40, 392), (664, 1040, 40, 376)]
    """
    count = -(-side // TILE)
    inner = -(-side // (count * stride)) * stride
    margin = -(-reach // stride) * stride
    found = []
    for start in range(0, side, inner):
        stop = min(start + inner, side)
        first = max(0, start - margin)
        found.append((first, min(side, stop + margin), start - first, stop - first))
    return found


def _evaluated(network: Network, x: Tensor, t: Tensor) -> Tensor:
    if not (torch.is_grad_enabled() and x.requires_grad):
        return network(x, t)
    found: Tensor = checkpoint(network, x, t, use_reentrant=False, preserve_rng_state=False)
    return found
