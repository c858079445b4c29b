"""Restored pictures in the form of those that were given: size, colours, bits, and known pixels."""

import os
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import torch
from finished_jobs import restored_to, restoring_settings
from PIL import Image

from genprior.restoring.given_pictures import GivenPicture, given_values, read_given
from genprior.restoring.ledger import Output
from genprior.restoring.picture_formats import FORMATS, write_png
from genprior.restoring.records import ImageRow, RestoreSummary
from genprior.restoring.sources import fitted
from genprior.stored_files import read_model
from tiny_run import QUICK, make_tiny_run

Restore = Callable[..., Output]
KINDS = [(kind, channels) for kind in ("uint8", "uint16") for channels in (1, 2, 3, 4)]
SIZES = [(8, 8), (6, 8), (5, 3)]


@pytest.fixture(scope="module")
def colour_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "colour", channels=3)


@pytest.fixture
def restore(colour_run: Path, tmp_path: Path) -> Restore:
    """Restores a folder of pictures, by default those with the hole of mask.png."""

    def run(images: object = "photos", out: str = "out", **settings: object) -> Output:
        given = {**QUICK, "operator": "inpaint", "mask": tmp_path / "mask.png", **settings}
        given = {name: value for name, value in given.items() if value is not None}
        return restored_to(tmp_path / out, restoring_settings(colour_run, tmp_path / str(images), **given))

    return run


def draw(path: Path, size: tuple[int, int], kind: str = "uint8", channels: int = 3) -> GivenPicture:
    values = np.random.default_rng(3).integers(0, np.iinfo(kind).max + 1, (*size, channels), dtype=kind)
    given = given_values(values)
    path.parent.mkdir(exist_ok=True)
    write_png(given, path)
    return given


def draw_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    known = np.full(size, True)
    known[1:3, 1:3] = False
    Image.fromarray((known * 255).astype(np.uint8)).save(path)
    return known


def rows(output: Output) -> list[ImageRow]:
    return list(output.rows())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "channels"), KINDS)
def test_known_pixels_are_exactly_those_that_were_given(
    restore: Restore, tmp_path: Path, kind: str, channels: int, size: tuple[int, int]
) -> None:
    given, known = draw(tmp_path / "photos" / "a.png", size, kind, channels), draw_mask(tmp_path / "mask.png", size)
    found = read_given(restore().picture("a"))
    assert found.size == size
    assert found.values.dtype == given.values.dtype
    assert found.values.shape == given.values.shape
    np.testing.assert_array_equal(found.values[known], given.values[known])
    assert (found.alpha is None) == (given.alpha is None)
    if found.alpha is not None and given.alpha is not None:
        np.testing.assert_array_equal(found.alpha[known], given.alpha[known])
        assert (found.alpha[~known] == np.iinfo(kind).max).all()


@pytest.mark.parametrize("settings", [{"no_keep": True}, {"noise": "gaussian:sigma=0.1"}, {"noise_level": 0.1}])
def test_known_pixels_are_drawn_anew_where_they_are_noisy_or_nobody_wants_them(
    restore: Restore, tmp_path: Path, settings: dict[str, object]
) -> None:
    given, known = draw(tmp_path / "photos" / "a.png", (8, 8)), draw_mask(tmp_path / "mask.png", (8, 8))
    found = read_given(restore(**settings).picture("a"))
    assert (found.values[known] != given.values[known]).mean() > 0.5


def test_the_truth_is_kept_where_damage_without_noise_is_simulated(restore: Restore, tmp_path: Path) -> None:
    given = draw(tmp_path / "photos" / "a.png", (8, 8))
    output = restore(operator="inpaint:box=2", mask=None, simulate=True)
    found, same = read_given(output.picture("a")), np.full((8, 8), True)
    same[3:5, 3:5] = False
    np.testing.assert_array_equal(found.values[same], given.values[same])


@pytest.mark.parametrize("name", FORMATS)
def test_smaller_pictures_come_back_in_their_size(restore: Restore, tmp_path: Path, name: str) -> None:
    draw(tmp_path / "photos" / "a.png", (6, 4))
    output = restore(operator="denoise", mask=None, format=name)
    path = output.picture("a", suffix=FORMATS[name].suffix)
    found = np.load(path) if name == "npy" else read_given(path).values.transpose(2, 0, 1)
    assert found.shape == (3, 6, 4)
    assert rows(output)[0].note == "smaller than the prior: enlarged to 3x8x8, and brought back to its size"
    assert read_model(output.summary, RestoreSummary, "out").notes == {rows(output)[0].note: 1}


def test_larger_pictures_come_back_smaller_on_request_and_it_is_said(restore: Restore, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.png", (20, 12))
    draw_mask(tmp_path / "mask.png", (20, 12))
    output = restore(resize=True)
    assert read_given(output.picture("a")).size == (8, 8)
    assert rows(output)[0].note == "converted to the size and colours of the prior: comes back as 3x8x8"


@pytest.mark.parametrize("simulate", [True, False])
def test_known_pixels_of_larger_pictures_are_those_of_the_smaller_ones(
    restore: Restore, tmp_path: Path, simulate: bool
) -> None:
    given = draw(tmp_path / "photos" / "a.png", (24, 24))
    known = np.full((24, 24), True)
    known[9:15, 9:15] = False  # three times the hole of two pixels
    Image.fromarray((known * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    damage = {"operator": "inpaint:box=2", "mask": None, "simulate": True} if simulate else {}
    found = read_given(restore(resize=True, **damage).picture("a")).image()
    expected = fitted(given.image(), "a", (3, 8, 8), resize=True)
    same = torch.ones(8, 8, dtype=torch.bool)
    same[2:6, 2:6] = False  # beside the hole, smaller pixels of the mask are partly missing
    torch.testing.assert_close(found[:, same], expected[:, same], rtol=0, atol=0.5 / 255 + 1e-6)
    assert (found - expected)[:, 3:5, 3:5].abs().max() > 0.02


def test_quality_is_that_of_the_picture_that_the_user_gets(restore: Restore, tmp_path: Path) -> None:
    given = draw(tmp_path / "photos" / "a.png", (6, 8)).image()
    output = restore(operator="denoise", mask=None, simulate=True)
    off = read_given(output.picture("a")).image() - given
    assert rows(output)[0].psnr == pytest.approx(float(-10 * off.square().mean().log10()), abs=0.05)


# The page.

HOSTILE = ["<script>alert(1)<", "a&b 'c' \"d\"", "50%25#x?y", "ü", os.fsdecode(b"caf\xe9"), "{{ 7 }}", "$\\frac{$"]


def test_the_page_shows_before_and_after_whatever_the_names(restore: Restore, tmp_path: Path) -> None:
    for name in HOSTILE:
        draw(tmp_path / "photos" / f"{name}.png", (8, 8))
    draw_mask(tmp_path / "mask.png", (8, 8))
    output = restore(format="tiff16")
    page = (output.path / "index.html").read_text(encoding="utf-8")
    sources = [unquote_to_bytes(unescape(source)) for source in re.findall(r'src="([^"]*)"', page)]
    assert len(sources) == len(set(sources)) == 2 * len(HOSTILE)
    shown = [read_given(output.path / os.fsdecode(source)).image() for source in sources]
    assert all(image.shape == (3, 8, 8) for image in shown)
    assert page.count("<script") == 1
    assert "http" not in page
    names = [unescape(name) for name in re.findall(r'<td class="name"[^>]*><a[^>]*>(.*?)</a>', page)]
    assert sorted(names) == sorted(
        name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in HOSTILE
    )


def test_the_page_tells_what_failed(restore: Restore, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.png", (8, 8))
    draw_mask(tmp_path / "mask.png", (8, 8))
    (tmp_path / "photos" / "b.png").write_text("text")
    output = restore(simulate=None)
    page = (output.path / "index.html").read_text(encoding="utf-8")
    assert '<tr class="failed">' in page
    assert "cannot read the image" in page
    assert "<dt>failed</dt><dd>1</dd>" in page


def test_missing_pixels_are_shown_in_colour(restore: Restore, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.png", (8, 8))
    known = draw_mask(tmp_path / "mask.png", (8, 8))
    before = read_given(restore().picture("a", "before")).image()
    hole = before[:, torch.from_numpy(~known)]
    torch.testing.assert_close(hole, torch.tensor([[0.27], [0.38], [0.62]]).expand_as(hole), rtol=0, atol=0.003)


def test_draws_leave_a_picture_of_their_deviation_that_is_black_where_pixels_are_known(
    restore: Restore, tmp_path: Path
) -> None:
    draw(tmp_path / "photos" / "a.png", (8, 8))
    known = draw_mask(tmp_path / "mask.png", (8, 8))
    output = restore(draws=8)
    deviation = read_given(output.picture("a", "deviations")).image()
    assert float(deviation[:, known].max()) == 0
    assert float(deviation[:, ~known].min()) > 0
    row = rows(output)[0]
    assert row.deviation == pytest.approx(0.25, abs=0.25)
    assert row.r_hat is not None
    assert row.r_hat >= 1
    assert row.effective is not None
    assert 0 < row.effective <= 8
    assert "deviations/a.png" in output.path.joinpath("index.html").read_text(encoding="utf-8")
    assert (output.path / "draws.png").is_file()


def test_the_deviation_has_the_size_of_the_picture_and_goes_with_it(restore: Restore, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.png", (6, 4))
    output = restore(operator="denoise", mask=None, draws=8)
    assert read_given(output.picture("a", "deviations")).size == (6, 4)
    output.picture("a", "deviations").unlink()
    restore(operator="denoise", mask=None, draws=8)  # made again
    assert output.picture("a", "deviations").is_file()


def test_without_draws_there_is_no_deviation(restore: Restore, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "a.png", (6, 4))
    output = restore(operator="denoise", mask=None)
    assert not (output.path / "deviations").exists()
    assert not (output.path / "draws.png").exists()
    assert "deviation" not in output.path.joinpath("index.html").read_text(encoding="utf-8")
