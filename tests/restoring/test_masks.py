"""Masks: which pixels are missing, whatever kind of picture tells it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.images import to_uint8, write_image
from genprior.restoring.masks import looks_inverted, open_masks, read_mask

SIZES = [(28, 28), (32, 32), (32, 48), (64, 64)]


@pytest.fixture
def hole(tmp_path: Path) -> Callable[..., Path]:
    """Writes a mask with one missing row."""

    def make(name: str, side: int = 8, row: int = 2, dark: int = 1, channels: int = 1) -> Path:
        mask = torch.ones(channels, side, side)
        mask[:, row : row + dark] = 0
        write_image(to_uint8(mask), tmp_path / name)
        return tmp_path / name

    return make


def known(path: Path, place: int = 0, size: tuple[int, int] = (8, 8), *, resize: bool = False) -> Tensor:
    return open_masks(path, ["a", "b"]).read(place).of_size(size, resize=resize)


def test_one_mask_is_for_all_images(hole: Callable[..., Path]) -> None:
    path = hole("m.png")
    assert torch.equal(known(path, 0), known(path, 1))
    assert (known(path) == 0).nonzero()[:, 1].unique().tolist() == [2]


def test_masks_are_found_by_name(hole: Callable[..., Path]) -> None:
    hole("masks/b.png", row=5)
    folder = hole("masks/a.png", row=1, channels=3).parent
    assert [int((known(folder, i) == 0).nonzero()[0, 1]) for i in range(2)] == [1, 5]


def test_a_pixel_that_is_half_known_after_resizing_is_missing(hole: Callable[..., Path]) -> None:
    mask = known(hole("m.png", side=16, row=4, dark=1), resize=True)
    assert not mask[0, 2].any()
    assert mask[0, 5:].all()


def test_bad_masks_are_told(tmp_path: Path, hole: Callable[..., Path]) -> None:
    (tmp_path / "text.png").write_text("text")
    cases: list[tuple[Path, str]] = [
        (hole("none.png", dark=0), "has no missing .black. pixels"),
        (hole("all.png", row=0, dark=8), "has no known .white. pixels"),
        (hole("large.png", side=9), "large.png is 1x9x9, expected 1x8x8; --resize"),
        (tmp_path / "text.png", "cannot read the image .*text.png"),
        (tmp_path / "nowhere.png", "no such file or folder"),
        (hole("masks/b.png").parent, "has no mask for a .1 of 2 images have none."),
    ]
    for path, message in cases:
        with pytest.raises(GenpriorError, match=message) as raised:
            known(path)
        assert raised.value.argument == "mask"


def painted(size: tuple[int, int], opaque: int, clear: int) -> Image.Image:
    """A picture whose middle is transparent, with other greys inside and outside."""
    values = np.full((*size, 2), (opaque, 255), np.uint8)
    values[4:10, 6:9] = (clear, 0)
    return Image.fromarray(values)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("opaque", "clear"), [(0, 0), (255, 0), (255, 255), (0, 255)])
def test_transparent_is_missing(tmp_path: Path, size: tuple[int, int], opaque: int, clear: int) -> None:
    painted(size, opaque, clear).save(tmp_path / "m.png")
    painted(size, opaque, clear).convert("RGBA").save(tmp_path / "colour.png")
    expected = torch.ones(1, *size)
    expected[:, 4:10, 6:9] = 0
    for name in ("m.png", "colour.png"):
        mask = read_mask(tmp_path / name)
        assert torch.equal(mask.of_size(size, resize=False), expected)
        assert mask.note is None


def test_equal_transparency_says_nothing(tmp_path: Path) -> None:
    values = np.full((8, 8, 2), (255, 128), np.uint8)
    values[2:4] = (0, 128)
    Image.fromarray(values).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").of_size((8, 8), resize=False) == 0).sum() == 16


def test_transparency_that_contradicts_the_shade_is_refused(tmp_path: Path) -> None:
    values = np.full((8, 8, 2), (255, 255), np.uint8)
    values[2:4] = (0, 255)
    values[5:6] = (255, 0)
    Image.fromarray(values).save(tmp_path / "m.png")
    with pytest.raises(GenpriorError, match="says two things: some pixels are transparent") as raised:
        read_mask(tmp_path / "m.png")
    assert raised.value.argument == "mask"


def test_soft_masks_are_said_to_be_cut(tmp_path: Path) -> None:
    values = np.full((8, 8), 255, np.uint8)
    values[2], values[3], values[4] = 100, 0, 250
    Image.fromarray(values).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert mask.note == "8 of 64 pixels of the mask are grey: cut at half"
    assert (mask.of_size((8, 8), resize=False) == 0).sum() == 16


def test_an_inverted_mask_is_noticed() -> None:
    image, hole = torch.rand(3, 8, 8) + 0.1, torch.ones(1, 8, 8)
    image[:, 2:5], hole[:, 2:5] = 0, 0
    assert looks_inverted(image, 1 - hole)
    assert not looks_inverted(image, hole)
    assert not looks_inverted(torch.zeros(3, 8, 8), hole)  # a black picture tells nothing
