"""What stands in a report for one run in a row: a drawing, pictures of samples, or a sentence."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

import torch
from torch import Tensor

from genprior.families import GANConfig
from genprior.images import image_grid
from genprior.plotting.plots import Plot, spikes_outside
from genprior.plotting.svg import draw_counts, draw_curves, draw_points
from genprior.report.collect import Reported
from genprior.report.record_plots import SATURATION
from genprior.report.words import classes_caption
from genprior.scoring.experiments import METRICS


@dataclass(frozen=True)
class Strip:
    """A picture of samples.

    Attributes:
        label: Beside it, or empty.
        alt: What it shows, in words.
        source: A data URI of a PNG.
    """

    label: str
    alt: str
    source: str


@dataclass(frozen=True)
class Cell:
    """What is shown of one run.

    Attributes:
        name: Of the run.
        svg: A drawing that is safe to put into the page, or empty.
        alt: What drawing or pictures show, in words.
        strips: Pictures of samples.
        reading: What it means, the same for all runs.
        caption: What is so in this run.
        missing: Why there is nothing, or empty.
    """

    name: str
    svg: str = ""
    alt: str = ""
    strips: list[Strip] = field(default_factory=list)
    reading: str = ""
    caption: str = ""
    missing: str = ""


def plotted(reported: Reported, plot: Plot, name: str) -> Cell:
    """Returns curves; `name` is that of the drawing."""
    outside, known = spikes_outside(plot)
    note = f" {outside:,} of {known:,} values lie outside the axes." if outside else ""
    return Cell(reported.name, draw_curves(plot, name), plot.alt, reading=plot.reading, caption=plot.ends + note)


def samples(reported: Reported, name: str) -> Cell:
    """Returns samples of the run as it is now."""
    x = reported.samples
    whose = "averaged " if isinstance(reported.run.config, GANConfig) else ""
    caption = f"{len(x):,} samples of the {whose}weights after {reported.images_seen:,} images, not chosen."
    bad = int((~torch.isfinite(x.flatten(1)).all(1)).sum())
    if bad:
        caption += f" {bad} of them are not finite: training has diverged."
    alt = f"Samples of {reported.name}"
    if reported.is_points:
        return Cell(reported.name, draw_points({"samples": x}, name), alt, caption=caption)
    return Cell(reported.name, strips=[_strip("", alt, x)], alt=alt, caption=caption)


def over_time(reported: Reported, name: str) -> Cell:
    """Returns what the same latents become as training goes on."""
    if not isinstance(reported.run.config, GANConfig):
        return absent(reported, "Samples over time")
    if not reported.ages:
        return Cell(reported.name, missing="No early weights were kept; `genprior train gan` keeps them in new runs.")
    reading = "The same latents at every age, by images seen; the weights as they were, not their average."
    titles = {images: f"{images:,}" for images in reported.ages}
    ends = f"{len(titles)} ages, from {min(titles):,} to {max(titles):,} images seen."
    alt = f"Samples of {reported.name} at {ends}"
    if reported.is_points:
        drawing = draw_points({f"{titles[k]} images": x for k, x in reported.ages.items()}, name)
        return Cell(reported.name, drawing, alt, reading=reading, caption=ends)
    return Cell(reported.name, strips=_aged(reported.ages, titles), alt=alt, reading=reading, caption=ends)


def classes(reported: Reported, most: float, name: str) -> Cell:
    """Returns the histogram of classes, on an axis that ends at `most`."""
    found = reported.metrics.get("classes")
    if reported.is_points:
        return Cell(reported.name, missing="Points have no classes.")
    if not found:
        return Cell(reported.name, missing=reported.missing.get(METRICS, f"{METRICS} holds no classes."))
    alt = f"Samples of {reported.name} in each class: " + ", ".join(
        f"{label} {count}" for label, count in zip(found["names"], found["counts"], strict=True)
    )
    drawing = draw_counts(found["names"], found["counts"], found["expected"], most, name)
    reading = "Which class the judge gives each sample, beside the count that as many real images would have."
    return Cell(reported.name, drawing, alt, reading=reading, caption=classes_caption(reported.metrics))


def absent(reported: Reported, title: str) -> Cell:
    """Returns why a run has not what others have under a title."""
    config = reported.run.config
    if not reported.rows:
        sentence = "The run's log is empty."
    elif isinstance(config, GANConfig) and title in SATURATION:
        sentence = "Not in this run's log, which is older than these numbers; `genprior train gan` records them."
    else:
        sentence = f"Runs of the family {config.family} have no such figure."
    return Cell(reported.name, missing=sentence)


def _aged(ages: Mapping[int, Tensor], titles: Mapping[int, str]) -> list[Strip]:
    return [
        _strip(titles[images], f"after {titles[images]} images seen", x, columns=len(x)) for images, x in ages.items()
    ]


def _strip(label: str, alt: str, x: Tensor, columns: int | None = None) -> Strip:
    return Strip(label, alt, _data_uri(image_grid(x.nan_to_num(0.5, 0.5, 0.5), columns, padding=1)))


def _data_uri(image: Tensor) -> str:
    """An image (C, H, W) uint8 as text that a page can hold."""
    from PIL import Image

    array, file = image.permute(1, 2, 0).numpy(), BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
