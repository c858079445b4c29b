"""The training images that are nearest to samples, pixel by pixel, and how near they are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.errors import GenpriorError
from genprior.evaluation.distances import nearest_others
from genprior.images import to_float
from genprior.judges.run_images import run_split
from genprior.runs.run_folder import open_run, refuse_other_data
from genprior.sampling.sample_settings import SampleSettings

MEASURE = (
    "Distances are root mean squared differences of pixels in [0, 1]. Closeness is 0 for a copy of a training image, "
    "and 0.5 for what is as far from it as that one is from the nearest other."
)


@dataclass(frozen=True)
class NearestImages:
    """The training images that are nearest to each of B samples, nearest first.

    Attributes:
        images: x (B, n, C, H, W).
        numbers: Which of the learned images they are (B, n).
        distances: Root mean squared differences of values (B, n).
        closeness: d / (d + s) (B,), d the first distance, s that of this training image to the nearest other one. It
            is 0 for a copy, and 1/2 for what is as near as training images are to each other. NaN: there is no other.
    """

    images: Tensor
    numbers: Tensor
    distances: Tensor
    closeness: Tensor

    def beside(self, x: Tensor) -> Tensor:
        """Returns samples x (B, C, H, W) each followed by its own nearest images (B (n + 1), C, H, W)."""
        return torch.cat([x[:, None], self.images], 1).flatten(0, 1)

    def lines(self, first: int = 0) -> list[str]:
        """Returns a line for each sample, the first of which has that number."""
        return [
            f"{first + i}: "
            + ", ".join(f"{distance:.3f} from image {number}" for distance, number in zip(*pair, strict=True))
            + f"; closeness {float(self.closeness[i]):.2f}"
            for i, pair in enumerate(zip(self.distances.tolist(), self.numbers.tolist(), strict=True))
        ]


def learned_images(settings: SampleSettings, split: Split | None = None) -> Dataset:
    """Returns the images that a run has learned from.

    Arguments:
        settings: Name the run.
        split: Of the run's data, where it is loaded already.

    Raises:
        GenpriorError: They cannot be had, have changed since, or are points of the plane.
    """
    run = open_run(settings.run)
    learned = run_split(run).learned if split is None else split.learned
    refuse_other_data(run, learned, "run")
    if learned.is_points:
        raise GenpriorError("goes with images; these are points of the plane", argument="nearest")
    return learned


@torch.no_grad()
def nearest_images(x: Tensor, learned: Dataset, count: int) -> NearestImages:
    """Returns the learned images that are nearest to samples x (B, C, H, W) in [0, 1].

    Arguments:
        x: Samples, finite.
        learned: Images of the same shape, at least one.
        count: Images for each sample, at least 1; fewer where there are fewer.

    Raises:
        GenpriorError: Samples that are not finite.
    """
    if not bool(torch.isfinite(x).all()):
        raise GenpriorError("the samples are not finite: the training has diverged", argument="run")
    flat = learned.images.flatten(1)
    scale = x[0].numel() ** 0.5
    distances, numbers = nearest_others(x.flatten(1), flat, count)
    found, place = torch.unique(numbers[:, 0], return_inverse=True)
    apart, others = nearest_others(to_float(flat[found]), flat, 2)
    own = apart.masked_fill(others == found[:, None], torch.inf).amin(1)[place]  # inf where there is no other
    d = distances[:, 0]
    closeness = torch.nan_to_num(d / (d + own), nan=0.0)  # a copy of what is there twice
    closeness[own.isinf()] = torch.nan
    images = to_float(learned.images[numbers.flatten()]).view(*numbers.shape, *x.shape[1:])
    return NearestImages(images, numbers, distances / scale, closeness)
