"""What every data source becomes: all images in memory as uint8, and what is known about their modes."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genprior.data.random_crops import WholePictures
from genprior.images import to_float
from genprior.value_range import Extent


@dataclass(frozen=True)
class Modes:
    """True modes of a distribution that was made on purpose.

    Attributes:
        count: Number of modes.
        centres: (count, 2), for mixtures of 2-D Gaussians; None where a mode is a class of images.
        sigma: Standard deviation of each Gaussian, in the units of `centres`.
    """

    count: int
    centres: Tensor | None = None
    sigma: float | None = None


@dataclass(frozen=True)
class Dataset:
    """Images in memory, as small as they can be.

    Attributes:
        name: The spec it was loaded from.
        images: uint8 (N, C, H, W); for 2-D points float32 (N, 2, 1, 1) in the data's own units.
        labels: int64 (N,), or None.
        modes: True modes where the distribution is known, else None.
        skipped: Files that could not be read and were left out.
        numbers: What numbers its files hold, by the one that is white; none for named data sets and points.
        notes: What else must be said: what looks wrong, what was left out, pages of files.
        whole: The pictures that the images are parts of; None: the images are whole.
    """

    name: str
    images: Tensor
    labels: Tensor | None = None
    modes: Modes | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    numbers: tuple[tuple[float, Extent], ...] = ()
    whole: WholePictures | None = None

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image; (2, 1, 1) for points."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def is_points(self) -> bool:
        """True for 2-D points, False for images."""
        return self.images.is_floating_point()

    def take(self, indices: Tensor) -> Tensor:
        """Returns x (B, C, H, W), float in [0, 1] (points: their own units), for indices (B,)."""
        return to_float(self.images[indices])

    def visited(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Returns what training sees of images (B,): themselves, or new crops of the pictures they are cut from."""
        if self.whole is None:
            return self.take(indices)
        _, height, width = self.image_shape
        return to_float(self.whole.new_crops(indices, (height, width), generator))

    def part(self, chosen: Tensor) -> "Dataset":
        """Returns the images that `chosen` names, indices (B,) or bool (N,), with their labels."""
        labels = None if self.labels is None else self.labels[chosen]
        whole = None if self.whole is None else self.whole.part(chosen)
        return replace(self, images=self.images[chosen], labels=labels, whole=whole)

    def some(self, count: int) -> Tensor:
        """Returns x of at most `count` images, spread evenly over the data set."""
        return self.take(torch.linspace(0, len(self) - 1, min(count, len(self))).long())

    def summary(self) -> dict[str, object]:
        """Returns what a user wants to know of it, in words."""
        channels, height, width = self.image_shape
        low, high = torch.aminmax(self.images)
        kinds = {1: "1 (grey)", 3: "3 (RGB)", 4: "4 (RGB and alpha)"}
        facts: dict[str, object] = {"data": self.name, "count": len(self)}
        if self.is_points:
            facts |= {"kind": "2-D points", "range": f"{low:.4g} to {high:.4g}"}
        else:
            facts |= {
                "size": f"{height}x{width}",
                "channels": kinds[channels],
                "range": f"{low / 255:.4g} to {high / 255:.4g} (stored as {low} to {high})",
            }
        if self.whole is not None:
            facts["cut from"] = f"{len(torch.unique(self.whole.owners))} pictures, anew at each visit"
        if self.labels is not None:
            facts["classes"] = len(torch.unique(self.labels))
        if self.modes is not None:
            facts["true modes"] = self.modes.count
        if self.skipped:
            facts["skipped files"] = ", ".join(self.skipped)
        return facts

    def hashes(self) -> list[bytes]:
        """Returns a SHA-256 over shape and values of each image."""
        shape = repr(tuple(self.images.shape[1:])).encode()
        return [hashlib.sha256(shape + image.numpy().tobytes()).digest() for image in self.images]

    def fingerprint(self) -> str:
        """Returns a SHA-256 over shape and values, so that a resumed run can tell that its data changed."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), str(self.images.dtype))).encode())
        digest.update(self.images.contiguous().numpy().data)
        for picture in () if self.whole is None else self.whole.pictures:
            digest.update(picture.contiguous().numpy().data)
        return digest.hexdigest()
