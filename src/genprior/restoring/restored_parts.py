"""What is done with a part of the images that are restored, and what is made of all parts, pictures included."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.evaluation.image_quality import SMALLEST_SIDE, psnr, ssim
from genprior.images import to_uint8, write_image
from genprior.restoration.result import Restoration, joined_runs, load_latents, load_restorations, save_restorations
from genprior.restoring.finishing import Finished, finished
from genprior.restoring.fitting_items import Item
from genprior.restoring.index_page import write_page
from genprior.restoring.job_settings import InvertSettings, RestoreSettings
from genprior.restoring.ledger import (
    AFTER,
    BEFORE,
    CANDIDATES,
    DEVIATIONS,
    DRAWS,
    LATENTS,
    PAIRS,
    TABLE,
    Output,
    write_summary,
)
from genprior.restoring.measurements import Reading, ReadItem, Refused, consecutive, joined_parameters, read_all
from genprior.restoring.picture_formats import FORMATS, PictureFormat
from genprior.restoring.records import ImageRow, JobSummary, RestoreSummary, readable, restore_summary, write_table
from genprior.restoring.sources import is_picture
from genprior.stored_files import sum_of
from genprior.writing import save_tensors

SHOWN = 10
WHITEST = 0.5  # a standard deviation that values in [0, 1] can just have
HOLE = (0.27, 0.38, 0.62)  # a colour that grey images do not have, for pixels that nothing is known of
Solve = Callable[[Sequence[Item]], Restoration]
Measure = Callable[[Tensor, dict[str, Tensor]], Tensor]
"""(x (B, C, H, W), parameters (B, ...)) -> y (B, ...)."""


@dataclass(frozen=True)
class Restoring(Reading):
    """Inverts or restores a part, and makes table, latents and pictures of all.

    Attributes:
        command: Whose work it is.
        settings: With which.
        solve: Restores items whose numbers follow one another.
        measure: The operator without noise; None where images are inverted.
    """

    command: str
    settings: InvertSettings | RestoreSettings
    solve: Solve
    measure: Measure | None

    @property
    def summary(self) -> type[RestoreSummary]:
        """The model of what `collect` writes last."""
        return RestoreSummary

    @property
    def keeps_tensors(self) -> bool:
        """They hold all that was found, draws and candidates included."""
        return True

    def do(self, output: Output, part: int) -> list[ImageRow]:
        """Writes what is found for a part; returns its rows."""
        items = read_all(self.source, self.read, output.items(part))
        good = [item for item in items if not isinstance(item, Refused)]
        for item in items:
            if isinstance(item, Refused):  # nothing stays of an image that could be read before
                for path in self._pictures(output, item.place):
                    path.unlink(missing_ok=True)
        if not good:
            output.tensors(part).unlink(missing_ok=True)  # of images that could be read before
            return [self._row(item, {}) for item in items]
        solved = [(group, self.solve(group)) for group in consecutive(good)]
        save_restorations(joined_runs([found for _, found in solved]), output.tensors(part))
        values = iter([each for group, found in solved for each in self._told(output, group, found)])
        return [self._row(item, {} if isinstance(item, Refused) else next(values)) for item in items]

    def files(self, output: Output, part: int) -> list[Path]:
        """Returns the tensors of a part, and all that is to be looked at."""
        pictures = (self._pictures(output, place) for place in output.items(part))
        return [output.tensors(part), *(path for each in pictures for path in dict.fromkeys(each))]

    def collect(self, output: Output) -> None:
        """Writes table, latents and pictures, and the summary last."""
        write_table(output.rows(), output.path / TABLE)
        write_latents(output)
        shown = first_shown(output, self.source.names, self.read, self.measure)
        if shown is not None:
            draw(shown, output)
        summary = restore_summary(self.command, self.settings, output.rows(), output.seconds())
        write_page(output, output.rows(), summary, self.format.suffix)
        write_summary(summary, output)

    def tidy(self, output: Output, summary: JobSummary) -> None:
        """Removes nothing."""

    def _row(self, item: Item | Refused, values: dict[str, Any]) -> ImageRow:
        name = self.source.names[item.place]
        if isinstance(item, Refused):
            return ImageRow(number=item.number, name=name, problem=item.problem)
        return ImageRow(number=item.number, name=name, note=item.note, **values)

    def _told(self, output: Output, items: Sequence[Item], found: Restoration) -> list[dict[str, Any]]:
        """Writes what is to be looked at of items; returns what their rows say."""
        results = self._written(output, items, found)
        return [_facts(found, i) | _quality(item, results.get(item.place)) for i, item in enumerate(items)]

    def _written(self, output: Output, items: Sequence[Item], found: Restoration) -> dict[int, Finished]:
        """Writes what is to be looked at of items; returns what became of them, by place."""
        if not is_picture(tuple(found.images.shape[1:])):
            return {}
        results = {item.place: finished(item, image) for item, image in zip(items, found.images, strict=True)}
        for item, spread in zip(items, found.deviation(), strict=True):
            pictures = self._pictures(output, item.place)
            picture, before, after, deviation = pictures
            for path in pictures[: 4 if self.settings.draws else 3]:
                path.parent.mkdir(parents=True, exist_ok=True)
            self.format.write(results[item.place].picture, picture)
            damaged = shown_before(item)
            if damaged is not None:
                write_image(to_uint8(damaged), before)
            if after != picture:  # what browsers cannot show
                write_image(to_uint8(results[item.place].picture.image()), after)
            if self.settings.draws:
                write_image(to_uint8(deviation_picture(item, spread)), deviation)
        return results

    def _pictures(self, output: Output, place: int) -> tuple[Path, Path, Path, Path]:
        """The restored picture of an item, and what the page shows of it: before, after, and the deviation of draws."""
        name = self.source.names[place]
        picture = output.picture(name, suffix=self.format.suffix)
        after = picture if self.format.suffix == ".png" else output.picture(name, AFTER)
        return picture, output.picture(name, BEFORE), after, output.picture(name, DEVIATIONS)

    @property
    def format(self) -> PictureFormat:
        """Of the restored pictures."""
        return FORMATS[self.settings.format]


def _facts(found: Restoration, i: int) -> dict[str, Any]:
    """What a row says of image i."""
    numbers = {"error": found.error, "misfit": found.misfit, "energy": found.energy, "weight": found.weight}
    return {
        **{name: _number(values[i]) for name, values in numbers.items()},
        "starts": int(found.starts[i]),
        "iterations": int(found.iterations[i]),
        "candidates": int(found.candidate_counts[i]),
        "stopped": found.stopped[i],
        "verdict": found.verdicts[i],
        **({} if not found.draws.shape[1] else _draw_facts(found, i)),
    }


def _draw_facts(found: Restoration, i: int) -> dict[str, float | None]:
    return {
        "deviation": _number(found.draws[i].var(0).mean().sqrt()),
        "probability": _number(found.probabilities[i, 0]),
        "r_hat": _number(found.r_hat[i]),
        "effective": _number(found.effective[i]),
    }


def _number(value: Tensor) -> float | None:
    return float(value) if math.isfinite(float(value)) else None


def _quality(item: Item, result: Finished | None) -> dict[str, float | None]:
    """How near the user's picture comes to the truth, in its own size and colours."""
    if item.truth is None or result is None:
        return {}
    x = result.x[None]
    is_own = item.given is not None and not item.is_converted
    truth = (item.given.image() if is_own and item.given is not None else item.truth)[None]
    is_large = min(x.shape[2:]) >= SMALLEST_SIDE
    found = {"psnr": psnr(x, truth)} | ({"ssim": ssim(x, truth)} if is_large else {})
    return {name: _number(values[0]) for name, values in found.items()}


def deviation_picture(item: Item, deviation: Tensor) -> Tensor:
    """Returns standard deviations (C, H, W) as a picture of the item's size, white for `WHITEST` and more."""
    x = deviation.float() if item.frame is None else item.frame.back(deviation.float())
    if item.keeps and item.known is not None and item.known.shape == x.shape[1:]:
        x = x * (item.known == 0)  # known pixels are given
    return (x / WHITEST).clamp(0, 1)


def shown_before(item: Item) -> Tensor | None:
    """Returns what was to be restored (C, H, W) in [0, 1], missing pixels in colour; None where it is no image."""
    is_as_given = item.truth is None or item.truth is item.y  # else it was damaged here
    is_own = is_as_given and item.given is not None and not item.is_converted
    x = item.given.image() if is_own and item.given is not None else item.y
    if not is_picture(tuple(x.shape)):
        return None
    has_holes = item.known is not None and item.known.shape == x.shape[1:]
    return (
        _with_holes(x.clamp(0, 1), item.known.expand_as(x)) if has_holes and item.known is not None else x.clamp(0, 1)
    )


def write_latents(output: Output) -> None:
    """Writes the latents (N, k) of all restored images, and the numbers (N,) of these images.

    There is no such file where images of different sizes have different numbers of latents, or were found without any.
    """
    parts: list[Tensor] = []
    numbers: list[int] = []
    for part in range(output.parts):
        if output.tensors(part).exists():
            parts += load_latents(output.tensors(part))
            numbers += [row.number for row in output.part_rows(part) if row.problem is None]
    sizes = {each.shape[1] for each in parts}
    if len(sizes) != 1 or sizes == {0}:
        (output.path / LATENTS).unlink(missing_ok=True)
        return
    found = {"latents": torch.cat(parts), "numbers": torch.tensor(numbers)}
    save_tensors(found, output.path / LATENTS, sum_of(found))


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
        spread: Standard deviation over draws (B, C, H, W), over the candidates where there are no draws.
        probabilities: Of the candidates (B, K), NaN where there are no draws.
        draws: Of the posterior (B, S, C, H, W); S is 0 where none were asked for.
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
    probabilities: Tensor
    draws: Tensor

    def rows(self) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """Returns what is to be shown of each image, by label, and lines to be written under it."""
        if self.damaged is None and self.truth is not None and not self.has_measurement:
            rows = {"input": self.truth, "restored": self.restored}
        else:
            there = {"truth": self.truth, "damaged": self.damaged, "restored": self.restored}
            rows = {label: x for label, x in there.items() if x is not None}
        notes = {}
        if not self.probabilities.isnan().any():
            rows["deviation"] = self.spread
        if self.truth is not None:
            rows["difference"] = self.restored - self.truth
            notes["restored"] = [f"{value:.1f} dB" for value in psnr(self.restored, self.truth).tolist()]
            if self.y is not None and self.y.shape == self.truth.shape:
                notes["damaged"] = [f"{value:.1f} dB" for value in psnr(self.y, self.truth).tolist()]
        return rows, notes


def draw(shown: Shown, output: Output) -> None:
    """Draws the first images, and their solutions and posterior draws where several were wanted."""
    from genprior.plotting.restoration_figures import Solutions, write_candidates, write_draws, write_pairs

    rows, notes = shown.rows()
    write_pairs(rows, notes, shown.names, output.path / PAIRS)
    first = next((each for each in rows.items() if each[0] in ("damaged", "input")), None)
    if shown.draws.shape[1] > 1:
        write_draws(first, shown.draws, output.path / DRAWS)
    if shown.candidates.shape[1] > 1:
        target = output.path / CANDIDATES
        solutions = Solutions(shown.candidates, shown.counts, shown.errors, shown.probabilities)
        write_candidates(first, solutions, shown.spread, target)


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
        [readable(names[place]) for place in places],
        measure is not None,
        y if looks else None,
        torch.stack(truths) if truths else None,
        _with_holes(y, seen) if looks else None,
        torch.stack(list(map(_on_canvas, items, found.images))),
        found.candidates,
        found.candidate_counts,
        _errors([x if measure is None else measure(x, each) for x in found.candidates.unbind(1)], y, seen),
        found.deviation(),
        found.probabilities,
        found.draws,
    )


def _on_canvas(item: Item, image: Tensor) -> Tensor:
    """What the user gets of an item, where it has the size of the prior; else the prior's image of it."""
    x = finished(item, image).x
    return x.expand_as(image) if x.shape[1:] == image.shape[1:] else image


def _first_restored(output: Output) -> tuple[list[int], Restoration | None]:
    """Places and results of the first `SHOWN` images of the first one's size, of those that did not fail."""
    places: list[int] = []
    found: list[Restoration] = []
    for part in range(output.parts):
        if len(places) >= SHOWN:
            break
        if output.tensors(part).exists():
            rows = zip(output.items(part), output.part_rows(part), strict=True)
            good = iter([place for place, row in rows if row.problem is None])
            for group in load_restorations(output.tensors(part)):
                own = list(islice(good, len(group)))
                if not found or group.images.shape[1:] == found[0].images.shape[1:]:
                    found.append(group)
                    places += own
    return places[:SHOWN], Restoration.joined(found).taken(range(min(SHOWN, len(places)))) if found else None


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
