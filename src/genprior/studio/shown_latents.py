"""Maps of latents, rows between two, and nearest training images, as parts of a page."""

import math
from typing import Any

from genprior.priors.latent_plane import changes_between
from genprior.sampling.nearest_images import MEASURE
from genprior.studio.explore_calls import Beside, Explored, Point, truth_of
from genprior.studio.shown_pictures import figure, figures, note, png_uri

NO_MAP: dict[str, Any] = {"pictures": [], "columns": 1, "middle": None, "description": "No map yet", "key": ""}


def cells_value(explored: Explored, columns: int, middle: int | None, description: str) -> dict[str, Any]:
    """Returns what the part of the page shows: pictures as URIs, how they lie, and what they are in words.

    Arguments:
        explored: The pictures.
        columns: Pictures in a row.
        middle: Which one the others lie about; None: none of them.
        description: Of all of them.
    """
    pictures = [png_uri(x.nan_to_num(0.5, 0.5, 0.5)) for x in explored.x]
    return {
        "pictures": pictures,
        "columns": columns,
        "middle": middle,
        "description": f"{description} Arrow keys move, Enter chooses.",
        "key": explored.picture.parent.name,
    }


def map_value(explored: Explored) -> dict[str, Any]:
    """Returns what the map shows."""
    side = explored.settings.side
    told = f"Map of {side} by {side} pictures, rows along the direction of most change."
    return cells_value(explored, side, len(explored.x) // 2, told)


def row_value(explored: Explored) -> dict[str, Any]:
    """Returns what the row between two latents shows."""
    count = len(explored.x)
    return cells_value(explored, count, None, f"Row of {count} pictures from one latent to the other.")


def map_html(explored: Explored) -> str:
    """Returns what is to be said of a map: how much its pictures differ, and what could not be as asked for."""
    changes = changes_between(explored.x, explored.settings.side)
    told = (
        "Left to right and top to bottom along the two directions of most change. Neighbours differ by "
        f"{changes.mean():.3f} on average, from {changes.min():.3f} to {changes.max():.3f} "
        f"({explored.settings.step:g} to first order). {explored.seconds:.2f} s."
    )
    cut = note(f"{explored.note[:1].upper()}{explored.note[1:]}.") if explored.note else ""
    return note(told) + cut + _inversions(explored.points)


def row_html(explored: Explored) -> str:
    """Returns what is to be said of a row between two latents."""
    return note(f"On a great circle from one latent to the other. {explored.seconds:.2f} s.") + _inversions(
        explored.points
    )


def _inversions(points: tuple[Point, ...]) -> str:
    """Images whose latents were searched for, and how far these are from them."""
    parts = [
        figure(png_uri(truth), f"given; its inversion is off by {point.error:.3f}", "The image that was given")
        for point in points
        if (truth := truth_of(point)) is not None
    ]
    return figures(parts, "Given images") if parts else ""


def nearest_html(beside: Beside) -> str:
    """Returns a picture, the training images nearest to it, and what their distances mean."""
    found, place = beside.found, f"of {beside.total:,}"
    parts = [figure(png_uri(beside.x[0].nan_to_num(0.5)), "chosen", "The chosen picture", "near")]
    for image, distance, number in zip(
        found.images[0], found.distances[0].tolist(), found.numbers[0].tolist(), strict=True
    ):
        caption = f"{distance:.3f} from image {number}"
        parts.append(
            figure(png_uri(image), caption, f"Training image {number} {place}, at distance {distance:.3f}", "near")
        )
    closeness = float(found.closeness[0])
    told = "" if math.isnan(closeness) else f"Closeness {closeness:.2f}. "
    measured = f"{told}{MEASURE} Among {beside.total:,} training images, {beside.explored.seconds:.2f} s."
    return figures(parts, "Its nearest training images") + note(measured)
