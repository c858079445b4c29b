"""How many modes of a known distribution samples reach, and how evenly. Knows tensors only.

Protocol of Srivastava et al. 2017 (VEEGAN, https://arxiv.org/abs/1705.07761, section 4) and Lin et al. 2018 (PacGAN,
https://arxiv.org/abs/1712.04086, section 4). What published tables leave out stands beside each number here: what a
perfect model would get. Its points lie within three standard deviations in 98.9 % of cases, not in all; its divergence
at n samples is not 0; and a classifier gives each image a class, noise too.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genprior.evaluation.histogram import Divergence, class_counts, divergence, kl_floor, modes_found

WITHIN = 3.0  # standard deviations around a centre
GAUSSIAN_CEILING = 1 - math.exp(-(WITHIN**2) / 2)
SURE = 0.9  # probability of its class from which on the classifier is sure of an image
UNIFORM, DATA = "uniform", "data"


@dataclass(frozen=True)
class ModeCount:
    """Modes of samples.

    Attributes:
        samples: Number of samples.
        found: Modes that they reach.
        of: Modes that there are.
        found_surely: Modes that samples of high quality reach; for points that is the same as `found`.
        high_quality: Share of samples that lie within three standard deviations of a centre, or of whose class the
            classifier is sure, in [0, 1].
        ceiling: The share that a perfect model reaches.
        divergences: Of the frequencies of modes, by what they are compared with: "uniform", and for classes "data".
            Points count where they are of high quality, images always. None where no sample counts.
        perfect: Divergence to the uniform distribution that a perfect model gets at as many samples, on average.
        counts: Samples on each mode (modes,), those that count.
        note: What must stand beside the numbers, where there is something to say.
    """

    samples: int
    found: int
    of: int
    found_surely: int
    high_quality: float
    ceiling: float
    divergences: dict[str, Divergence | None]
    perfect: float
    counts: Tensor = field(repr=False)
    note: str | None = None


def count_gaussian_modes(x: Tensor, centres: Tensor, sigma: float, generator: torch.Generator) -> ModeCount:
    """Returns the modes of a mixture of equally likely Gaussians that points reach, each by one point or more.

    Arguments:
        x: Points (N, 2, 1, 1), at least one, in the units of the centres; what is not finite is near no centre.
        centres: (modes, 2).
        sigma: Standard deviation around each, above 0.
        generator: Of the floor's simulation.
    """
    is_good, mode = near_centres(x, centres, sigma)
    counts = class_counts(mode[is_good], len(centres))
    found, even = int((counts > 0).sum()), torch.ones(len(centres))
    divergences = {UNIFORM: divergence(counts, even, even, generator)}
    share = float(is_good.double().mean())
    perfect, _ = kl_floor(max(1, round(GAUSSIAN_CEILING * len(x))), even, even, generator)
    note = None if counts.any() else "no point lies within three standard deviations of a centre"
    return ModeCount(len(x), found, len(centres), found, share, GAUSSIAN_CEILING, divergences, perfect, counts, note)


def near_centres(x: Tensor, centres: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Returns whether points lie within three standard deviations of a centre, and the nearest one; both (N,).

    Arguments:
        x, centres, sigma: As for `count_gaussian_modes`.
    """
    distance, mode = (x.flatten(1).double()[:, None] - centres.double()).norm(dim=2).min(1)
    return distance <= WITHIN * sigma, mode


def count_class_modes(
    probabilities: Tensor, real: Tensor, ceiling: float, least: float, generator: torch.Generator
) -> ModeCount:
    """Returns the modes that images reach, a mode being a class, or a class for each channel.

    Arguments:
        probabilities: Of classes, by a classifier (N, classes), or (N, channels, classes) where it has judged channel
            by channel; then the mode is the number that the classes are the digits of.
        real: How the data are spread over the modes (modes,), at least 0, not all 0.
        ceiling: Share of real images of which the classifier is sure, in [0, 1].
        least: Share of its expected samples from which on a mode counts as reached, in [0, 1]; 0: one sample is
            enough, which is what tables of stacked digits use. The mistakes of a good classifier stay below a tenth.
        generator: Of the floors' simulation.
    """
    sure, mode = modes_of(probabilities)
    counts, sure_counts = (class_counts(each, len(real)) for each in (mode, mode[sure]))
    share = float(sure.double().mean())
    (found, of), (found_surely, _) = (modes_found(each, real, least) for each in (counts, sure_counts))
    even = torch.ones(len(real))
    uniform = divergence(counts, even, real, generator)
    assert uniform is not None, "every image is given a class"
    divergences = {UNIFORM: uniform, DATA: divergence(counts, real, real, generator)}
    note = None if share >= 0.5 else _unsure(share, ceiling, found, found_surely)
    return ModeCount(len(mode), found, of, found_surely, share, ceiling, divergences, uniform.floor, counts, note)


def modes_of(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Returns whether the classifier is sure of each image, on all its channels, and its mode; both (N,).

    Arguments:
        probabilities: As for `count_class_modes`.

    Example:
        >>> modes_of(torch.tensor([[[0.0, 1.0], [0.2, 0.8]], [[0.0, 1.0], [1.0, 0.0]]]))
        (tensor([False,  True]), tensor([3, 2]))
    """
    of_channels = probabilities if probabilities.dim() == 3 else probabilities[:, None]
    largest, classes = of_channels.max(2)  # (N, channels)
    places = of_channels.shape[2] ** torch.arange(of_channels.shape[1] - 1, -1, -1)
    return (largest >= SURE).all(1), (classes * places).sum(1)


def _unsure(share: float, ceiling: float, found: int, found_surely: int) -> str:
    return (
        f"the classifier is sure of {share:.0%} of the samples (real images: {ceiling:.0%}); it gives every image a "
        f"class, noise too: {found} modes count by the published protocol, {found_surely} among samples that it is "
        "sure of"
    )
