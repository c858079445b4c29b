"""Images as parts of a page: text that needs no further file, with what they show in words."""

import html
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.images import image_grid, to_uint8
from genprior.inline_pictures import data_uri, picture_uri

if TYPE_CHECKING:
    from PIL import Image

FILM_MILLISECONDS = 160  # of each picture of a film


def png_uri(x: Tensor) -> str:
    """Returns x (C, H, W) in [0, 1] as the URI of a PNG."""
    return picture_uri(to_uint8(x))


def grid_uri(x: Tensor, columns: int | None = None) -> str:
    """Returns images (N, C, H, W) in [0, 1], side by side, as the URI of a PNG; what is not finite is grey."""
    grid = image_grid(x.nan_to_num(0.5, 0.5, 0.5), columns, padding=1)
    return picture_uri(grid)


def film_uri(x: Tensor) -> str:
    """Returns images (N, C, H, W) in [0, 1], one after another, as the URI of a moving picture."""
    file, pictures = BytesIO(), [_picture(each).convert("RGB") for each in to_uint8(x)]
    pictures[0].save(
        file, "WEBP", save_all=True, append_images=pictures[1:], duration=FILM_MILLISECONDS, loop=0, lossless=True
    )
    return data_uri(file.getvalue(), "webp")


def heat(x: Tensor) -> Tensor:
    """Returns standard deviations (C, H, W) as colours (3, H, W) in [0, 1], the largest one brightest."""
    from matplotlib import colormaps

    values = x.mean(0)
    scaled = (values / values.max().clamp_min(1e-6)).numpy()
    return torch.from_numpy(colormaps["magma"](scaled)[..., :3]).permute(2, 0, 1).float()


def figure(uri: str, caption: str, description: str = "", kind: str = "") -> str:
    """Returns a picture with a line under it; `description` is what it shows where the caption does not say so."""
    alt, told = html.escape(description or caption), html.escape(caption)
    return f'<figure class="shown {kind}"><img src="{uri}" alt="{alt}"><figcaption>{told}</figcaption></figure>'


def figures(parts: Sequence[str], title: str = "") -> str:
    """Returns figures side by side, under a heading where there is one."""
    head = f"<h3>{html.escape(title)}</h3>" if title else ""
    return f'{head}<div class="shown-row">{"".join(parts)}</div>'


def note(text: str, kind: str = "note") -> str:
    """Returns a sentence; an alarm is also told to those who do not see it."""
    role = ' role="alert"' if kind == "alarm" else ""
    return f'<p class="{kind}"{role}>{html.escape(text)}</p>'


def _picture(pixels: Tensor) -> "Image.Image":
    from PIL import Image

    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
