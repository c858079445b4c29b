"""The first images of a job, read again for its pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from genprior.evaluation.image_quality import psnr
from genprior.restoration.result import Restoration
from genprior.restoring.ledger import Output
from genprior.restoring.measurements import ReadItem, joined_parameters
from genprior.restoring.shapes import is_picture

SHOWN = 10
HOLE = (0.27, 0.38, 0.62)  # a colour that grey images do not have, for pixels that nothing is known of
Measure = Callable[[Tensor, dict[str, Tensor]], Tensor]
"""(x (B, C, H, W), parameters (B, ...)) -> y (B, ...)."""


@dataclass(frozen=True)
class Shown:
    """Images (B, C, H, W) for pictures, each of them only where there is such a thing.

    Attributes:
        names: Of the images.
        has_measurement: Whether an operator stands between image and measurement.
        y: The measurements as they are.
        truth: The images as they were.
        damaged: Their measurements, where those can be looked at; what is blank for every image is shown in colour.
        restored: What came out.
        candidates: All solutions (B, K, C, H, W).
        counts: How many of the K there are (B,).
        errors: Root mean squared residual (B, K) of each solution's measurement, in the units of y.
        spread: Standard deviation over the candidates (B, C, H, W).
    """

    names: list[str]
    has_measurement: bool
    y: Tensor | None
    truth: Tensor | None
    damaged: Tensor | None
    restored: Tensor
    candidates: Tensor
    counts: Tensor
    errors: Tensor
    spread: Tensor

    def rows(self) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """Returns what is to be shown of each image, by label, and lines to be written under it."""
        if self.damaged is None and self.truth is not None and not self.has_measurement:
            rows = {"input": self.truth, "restored": self.restored}
        else:
            there = {"truth": self.truth, "damaged": self.damaged, "restored": self.restored}
            rows = {label: x for label, x in there.items() if x is not None}
        notes = {}
        if self.truth is not None:
            rows["difference"] = self.restored - self.truth
            notes["restored"] = [f"{value:.1f} dB" for value in psnr(self.restored, self.truth).tolist()]
            if self.y is not None and self.y.shape == self.truth.shape:
                notes["damaged"] = [f"{value:.1f} dB" for value in psnr(self.y, self.truth).tolist()]
        return rows, notes


@torch.no_grad()
def first_shown(output: Output, names: Sequence[str], read: ReadItem, measure: Measure | None) -> Shown | None:
    """Returns the first images that were restored; None where there are none, or none that one can look at.

    Arguments:
        output: All parts finished.
        names: Of the items.
        read: Gives an item again.
        measure: The operator without noise; None where images were inverted.
    """
    places, found = _first_restored(output)
    if found is None or not is_picture(tuple(found.images.shape[1:])):
        return None
    items = [read(place) for place in places]
    y = torch.stack([item.y for item in items])
    truths = [item.truth for item in items if item.truth is not None]
    each = joined_parameters(items)
    seen = torch.ones_like(y) if measure is None else _seen(found.images, each, measure)
    looks = measure is not None and is_picture(tuple(y.shape[1:]))
    return Shown(
        [names[place] for place in places],
        measure is not None,
        y if looks else None,
        torch.stack(truths) if truths else None,
        _with_holes(y, seen) if looks else None,
        found.images,
        found.candidates,
        found.candidate_counts,
        _errors([x if measure is None else measure(x, each) for x in found.candidates.unbind(1)], y, seen),
        found.spread(),
    )


def _first_restored(output: Output) -> tuple[list[int], Restoration | None]:
    """Places and results of the first `SHOWN` images that did not fail."""
    places: list[int] = []
    found: list[Restoration] = []
    for part in range(output.parts):
        if len(places) >= SHOWN:
            break
        if output.tensors(part).exists():
            found.append(Restoration.load(output.tensors(part)))
            rows = zip(output.items(part), output.part_rows(part), strict=True)
            places += [place for place, row in rows if "problem" not in row]
    return places[:SHOWN], _first(Restoration.joined(found), SHOWN) if found else None


def _first(found: Restoration, count: int) -> Restoration:
    return Restoration(**{field.name: getattr(found, field.name)[:count] for field in fields(found)})


def _seen(x: Tensor, parameters: dict[str, Tensor], measure: Measure) -> Tensor:
    """Returns 1 for each number of a measurement that depends on the image, (B, ...)."""
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) + 0.1
    return (measure(noise, parameters) != 0).float()


def _with_holes(y: Tensor, seen: Tensor) -> Tensor:
    if bool(seen.all()):
        return y
    return torch.where(seen > 0, y, y.new_tensor(HOLE)[:, None, None])


def _errors(predictions: list[Tensor], y: Tensor, seen: Tensor) -> Tensor:
    count = seen.flatten(1).sum(1).clamp_min(1)
    return torch.stack([(((p - y) * seen).flatten(1).square().sum(1) / count).sqrt() for p in predictions], 1)
