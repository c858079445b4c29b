"""What is done with a part of the images that are restored, and what is made of all parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.evaluation.image_quality import SMALLEST_SIDE, psnr, ssim
from genprior.images import to_uint8, write_image
from genprior.restoration.result import Restoration
from genprior.restoring.first_images import Measure, Shown, first_shown
from genprior.restoring.ledger import Output, Row
from genprior.restoring.measurements import Item, ReadItem, Refused, consecutive, is_readable, read_all
from genprior.restoring.result_tables import rows_of, summarise, write_table
from genprior.restoring.shapes import is_picture
from genprior.restoring.sources import Source
from genprior.runs.files import raised_as_os_errors, save_tensors, write_json

Solve = Callable[[Sequence[Item]], Restoration]
Draw = Callable[[Shown, Path], None]


@dataclass(frozen=True)
class Restoring:
    """Inverts or restores a part, and makes table, latents and pictures of all.

    Attributes:
        source: Where the images come from.
        read: Gives an item.
        solve: Restores items whose numbers follow one another.
        measure: The operator without noise; None where images are inverted.
        told: What the summary says of the settings.
        draw: Makes the pictures.
    """

    source: Source
    read: ReadItem
    solve: Solve
    measure: Measure | None
    told: dict[str, Any]
    draw: Draw | None = None

    def is_readable(self, place: int) -> bool:
        """Returns whether an image can be worked on."""
        return is_readable(self.source, self.read, place)

    def do(self, output: Output, part: int) -> list[Row]:
        """Writes what is found for a part; returns its rows."""
        items = read_all(self.source, self.read, output.items(part))
        good = [item for item in items if not isinstance(item, Refused)]
        if not good:
            output.tensors(part).unlink(missing_ok=True)  # of images that could be read before
            return rows_of(items, self.source.names, None, {})
        found = Restoration.joined([self.solve(group) for group in consecutive(good)])
        with raised_as_os_errors(output.tensors(part)):
            found.save(output.tensors(part))
        if is_picture(tuple(found.images.shape[1:])):
            for item, image in zip(good, to_uint8(found.images), strict=True):
                write_image(image, output.picture(self.source.names[item.place]))
        return rows_of(items, self.source.names, found, _quality(good, found.images))

    def collect(self, output: Output) -> None:
        """Writes table, latents and pictures, and the summary last."""
        write_table(output.rows(), output.path / "table.csv")
        write_latents(output)
        shown = None if self.draw is None else first_shown(output, self.source.names, self.read, self.measure)
        if shown is not None and self.draw is not None:
            self.draw(shown, output.path)
        write_json(output.summary, self.told | summarise(output.rows(), output.seconds()))


def _quality(items: Sequence[Item], images: Tensor) -> dict[str, Tensor]:
    truths = [item.truth for item in items if item.truth is not None]
    if not truths or not is_picture(tuple(images.shape[1:])):
        return {}
    truth = torch.stack(truths)
    is_large = min(images.shape[2:]) >= SMALLEST_SIDE
    return {"psnr": psnr(images, truth)} | ({"ssim": ssim(images, truth)} if is_large else {})


def write_latents(output: Output) -> None:
    """Writes the latents (N, k) of all restored images, and the numbers (N,) of these images."""
    from safetensors import safe_open

    parts = []
    for part in range(output.parts):
        if output.tensors(part).exists():
            with safe_open(output.tensors(part), framework="pt") as file:  # the images in it stay on the disk
                parts.append(file.get_tensor("latents"))
    if not parts:
        return
    numbers = [row["number"] for row in output.rows() if "problem" not in row]
    found = {"latents": torch.cat(parts), "numbers": torch.tensor(numbers)}
    save_tensors(found, output.path / "latents.safetensors")
