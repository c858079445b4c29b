"""Pictures as text that a page can hold, so that it needs no further file."""

import base64
from io import BytesIO

from torch import Tensor


def picture_uri(pixels: Tensor) -> str:
    """Returns an image (C, H, W) uint8, of 1, 3 or 4 channels, as the URI of a PNG."""
    from PIL import Image

    array, file = pixels.permute(1, 2, 0).numpy(), BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, "PNG", optimize=True)
    return data_uri(file.getvalue())


def data_uri(content: bytes, kind: str = "png") -> str:
    """Returns the bytes of a picture file of that kind as a URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
