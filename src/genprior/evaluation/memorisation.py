"""Whether samples are copies of training images. Knows tensors only.

The distance to the nearest training image alone is no sign: typical samples live where training images are dense, and
blurred ones near all of them. It is therefore measured in units of how far that training image is from its own nearest
neighbour (the authenticity of Alaa et al. 2022, https://arxiv.org/abs/2102.08921, section 4.3), and the scale is set by
real images that no training has seen, as in Meehan et al. 2020, https://arxiv.org/abs/2004.05675.
"""

import torch
from torch import Tensor

ROWS = 500  # of a table of distances at a time
TAIL = 0.01


def closeness(x: Tensor, training: Tensor) -> Tensor:
    """Returns d / (d + s) in [0, 1] (B,): 0 for a copy, 1/2 for what is as near as training images are to each other.

    d is the distance to the nearest training feature, s the distance of that one to the nearest of the others.

    Arguments:
        x: (B, F).
        training: (N, F), N at least 2.
    """
    index = _nearest(x, training)
    d = (x - training[index]).norm(dim=1)
    found, place = torch.unique(index, return_inverse=True)
    other = _nearest(training[found], training, without=found)
    s = (training[found] - training[other]).norm(dim=1)[place]
    return torch.nan_to_num(d / (d + s), nan=0.0)  # a copy of what is there twice


def copied_share(held_out: Tensor, judged: Tensor) -> Tensor:
    """Returns the share of samples that are closer to a training image than 99 % of held-out images are, a scalar.

    0.01 where samples are to the training images as new real images are; 1 where all are copies.

    Arguments:
        held_out: `closeness` of real images that were not trained on (N,); some hundreds set the scale well.
        judged: `closeness` of samples (M,).
    """
    return (judged <= torch.quantile(held_out, TAIL)).double().mean()


def _nearest(x: Tensor, others: Tensor, without: Tensor | None = None) -> Tensor:
    """Index (B,) of the nearest of `others`, for each x without the one at its index in `without`."""
    found = []
    for first in range(0, len(x), ROWS):
        distance = torch.cdist(x[first : first + ROWS], others)
        if without is not None:
            distance.scatter_(1, without[first : first + ROWS, None], torch.inf)
        found.append(distance.argmin(1))
    return torch.cat(found)
