"""Whole pictures of any sizes, from which crops are cut: fixed ones side by side, or new ones at each visit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.data.geometry import Shape


@dataclass(frozen=True)
class WholePictures:
    """Pictures from which the images of a data set are cut.

    Attributes:
        pictures: uint8 (C, h, w) each, of any sizes that hold a crop.
        owners: Of which picture each image of the data set is a part (N,), int64.
    """

    pictures: tuple[Tensor, ...]
    owners: Tensor

    def new_crops(self, indices: Tensor, shape: Shape, generator: torch.Generator) -> Tensor:
        """Returns uint8 (B, C, *shape): for each image another part of its picture, all places equally likely.

        Arguments:
            indices: Of images of the data set (B,).
            shape: Height and width.
            generator: Source of all randomness; two numbers for each crop.
        """
        height, width = shape
        draws = torch.rand(len(indices), 2, generator=generator, dtype=torch.float64).tolist()
        crops = []
        for owner, (down, across) in zip(self.owners[indices].tolist(), draws, strict=True):
            picture = self.pictures[owner]
            top, left = int(down * (picture.shape[1] - height + 1)), int(across * (picture.shape[2] - width + 1))
            crops.append(picture[:, top : top + height, left : left + width])
        return torch.stack(crops)

    def part(self, chosen: Tensor) -> "WholePictures":
        """Returns the pictures for some images of the data set, indices (B,) or bool (N,)."""
        return WholePictures(self.pictures, self.owners[chosen])

    def groups(self) -> Tensor:
        """Returns the group of each image, int64 (N,): one for each picture, and for those that are equal to it."""
        first: dict[tuple[tuple[int, ...], bytes], int] = {}
        group = [first.setdefault((tuple(x.shape), x.numpy().tobytes()), i) for i, x in enumerate(self.pictures)]
        return torch.tensor(group)[self.owners]


def cut(pictures: Sequence[Tensor], shape: Shape) -> tuple[Tensor, WholePictures]:
    """Returns fixed crops uint8 (N, C, *shape), and the pictures that they come from.

    The crops of a picture are as many as find room side by side, spread evenly from edge to edge.

    Arguments:
        pictures: uint8 (C, h, w) each, at least one, all at least as large as a crop.
        shape: Height and width.

    Example:
        >>> crops, whole = cut([torch.zeros(1, 4, 9, dtype=torch.uint8)], (4, 4))
        >>> tuple(crops.shape), whole.owners.tolist()
        ((2, 1, 4, 4), [0, 0])
    """
    height, width = shape
    crops, owners = [], []
    for owner, picture in enumerate(pictures):
        for top in _evenly(picture.shape[1], height):
            for left in _evenly(picture.shape[2], width):
                crops.append(picture[:, top : top + height, left : left + width])
                owners.append(owner)
    return torch.stack(crops), WholePictures(tuple(pictures), torch.tensor(owners))


def _evenly(side: int, part: int) -> list[int]:
    """Where parts begin that lie side by side, from the first pixel of a side to the last."""
    starts: list[int] = torch.linspace(0, side - part, side // part).round().long().tolist()
    return starts
