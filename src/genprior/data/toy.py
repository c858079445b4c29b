"""Distributions whose modes are known: Gaussians in the plane, and stacks of three digits."""

import math

import torch
from torch import Tensor

from genprior.data.dataset import Dataset, Modes
from genprior.data.named import MNIST, SPLITS, read_collection
from genprior.data.spec import Request, read_count, read_options, shaped_dataset
from genprior.errors import GenpriorError
from genprior.memory import refuse_beyond_memory
from genprior.seeding import derived_generator
from genprior.settings import size_text

POINTS = 100_000
POINT_BYTES, STACK_BYTES = 100, 6_000  # at most, while they are made
STACKS = 128_000


def ring_centres() -> Tensor:
    """Returns the centres (8, 2) of the ring: on the unit circle, counter-clockwise from (1, 0)."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def grid_centres() -> Tensor:
    """Returns the centres (25, 2) of the grid: {-4, -2, 0, 2, 4} squared, row by row.

    Example:
        >>> grid_centres()[:2].tolist()
        [[-4.0, -4.0], [-4.0, -2.0]]
    """
    ticks = torch.arange(-4.0, 5.0, 2.0)
    return torch.cartesian_prod(ticks, ticks)


def load_points(centres: Tensor, sigma: float, request: Request) -> Dataset:
    """Returns points float32 (N, 2, 1, 1) around equally likely centres; option: count=100000.

    Labels are the indices of the centres.

    Arguments:
        centres: (modes, 2).
        sigma: Standard deviation around each.
        request: Without size and channels, which points do not have.
    """
    _refuse_image_arguments(request)
    count = read_count(request.spec, read_options(request.spec, {"count": ()}), POINTS)
    refuse_beyond_memory(POINT_BYTES * count, f"{count:,} points", "data", "lower count=")
    chosen = request.spec.chosen(count)
    points, labels = draw_points(centres, sigma, count, derived_generator(0, str(request.spec.source)))
    return Dataset(
        name=request.spec.text,
        images=points[chosen.start : chosen.stop].clone(),
        labels=labels[chosen.start : chosen.stop].clone(),
        modes=Modes(len(centres), centres, sigma),
    )


def draw_points(centres: Tensor, sigma: float, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns points (count, 2, 1, 1) around equally likely centres (modes, 2), and the indices of these (count,)."""
    labels = torch.randint(len(centres), (count,), generator=generator)
    points = centres[labels] + sigma * torch.randn(count, 2, generator=generator)
    return points[:, :, None, None], labels


def load_stacked_mnist(request: Request) -> Dataset:
    """Returns three random MNIST digits as the channels of one image, 1000 modes.

    Labels are 100 a + 10 b + c. Options: count=128000, split=train|test|all.

    Reference: Metz et al. 2016, Unrolled GANs (https://arxiv.org/abs/1611.02163).
    """
    options = read_options(request.spec, {"split": tuple(SPLITS), "count": ()})
    count = read_count(request.spec, options, STACKS)
    refuse_beyond_memory(STACK_BYTES * count, f"{count:,} images", "data", "lower count=")
    chosen = request.spec.chosen(count)
    digits, classes = read_collection(MNIST, options.get("split", "train"), request.root)
    triples = torch.randint(len(digits), (count, 3), generator=derived_generator(0, "stacked-mnist"))[
        chosen.start : chosen.stop
    ]
    return shaped_dataset(request, digits[triples, 0], classes[triples] @ torch.tensor([100, 10, 1]), Modes(1000))


def _refuse_image_arguments(request: Request) -> None:
    size = None if request.size is None else size_text(request.size)
    for argument, value in (("size", size), ("channels", request.channels)):
        if value is not None:
            raise GenpriorError(
                f"expected none for points in the plane, got {value}: leave it out, choose images instead of "
                f"{request.spec.source}, or train a gan with --preset points",
                argument=argument,
            )
