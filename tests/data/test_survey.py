"""What `genprior data` says of files, before and after they are decoded."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.data import load_data
from genprior.data.survey import content_rows, survey_files


def save(path: Path, height: int = 16, width: int = 16, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of three shapes and three kinds, two pages of a TIFF, and files that are none."""
    root = tmp_path / "own"
    for name in ("a.png", "sub/b.jpg"):
        save(root / name)
    save(root / "c.png", 20, 30, "L")
    save(root / "d.png", 20, 30, "RGBA")
    pages = [Image.new("L", (8, 9)) for _ in range(2)]
    pages[0].save(root / "e.tif", save_all=True, append_images=pages[1:])
    for name in ("f.heic", "g.heic", "sub/h.gif", "notes.txt", "README", ".hidden.png"):
        (root / name).write_bytes(b"no picture")
    (root / "broken.png").write_bytes(b"no picture")
    return root


def test_files_are_counted_by_what_they_are(folder: Path) -> None:
    found = survey_files(str(folder))
    assert found is not None
    assert found.shapes == {(16, 16): 2, (20, 30): 2, (9, 8): 1}
    assert found.kinds == {"colour": 2, "grey": 2, "colour with transparency": 1}
    assert found.pages == [2]
    assert found.left_out == {".heic": 2, ".gif": 1, ".txt": 1, "without a suffix": 1}
    rows = found.rows()
    assert rows["shapes"] == "16x16: 2, 20x30: 2, 9x8: 1"
    assert rows["pages"] == "2 in 1 files of several; each page is an image"
    assert rows["left out"].startswith(".heic: 2, ")


def test_an_archive_is_surveyed_like_its_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    assert survey_files(str(tmp_path / "own.zip")) == survey_files(str(folder))


@pytest.mark.parametrize("spec", ["digits", "mnist:test[:3]", "ring"])
def test_named_data_have_no_files_to_look_at(spec: str) -> None:
    assert survey_files(spec) is None


def test_many_shapes_are_summed_up(tmp_path: Path) -> None:
    for side in range(10, 20):
        save(tmp_path / f"{side}.png", side, side)
    found = survey_files(str(tmp_path))
    assert found is not None
    assert found.rows()["shapes"].endswith(", 4 of 4 other shapes")


def test_contents_are_told(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 4096, (6, 16, 16)).astype(np.uint16)
    values[:, 0, 0], values[:, 0, 1] = 4095, 0
    values[4] = values[5]
    values[3] = 77
    np.save(tmp_path / "a.npy", values)
    data = load_data(tmp_path / "a.npy", white=4095)
    rows = content_rows(data, [2, 1, 1, 1, 1])
    assert rows == {
        "bits": "12 bits used; numbers from 0 to 4095, 4095 is white",
        "near duplicates": "2 images in 1 groups of up to 2",
        "constant": "1",
    }


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((np.arange(256) * 257).astype(np.uint16), "8 bits (multiples of 257) used"),
        ((np.arange(256) % 2 * 255).astype(np.uint8), "1 bit (multiples of 255) used"),
        (np.linspace(0, 1, 256, dtype=np.float32), "numbers from 0 to 1"),
    ],
)
def test_the_bits_that_are_used_are_those_that_tell_levels_apart(values: np.ndarray, told: str, tmp_path: Path) -> None:
    Image.fromarray(values.reshape(16, 16)).save(tmp_path / "a.tif")
    data = load_data(tmp_path)
    assert content_rows(data, [1])["bits"].startswith(told)
    np.save(tmp_path / "a.npy", values.reshape(1, 16, 16))
    assert torch.equal(load_data(tmp_path / "a.npy").images, data.images)
