"""Images in .npy and .npz files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from genprior.data import load_data
from genprior.data.load import PATHS
from genprior.errors import GenpriorError

Array = NDArray[Any]
Draw = Callable[..., Array]


def save_npz(path: Path, arrays: dict[str, Any]) -> None:
    np.savez_compressed(path, **arrays)


@pytest.mark.parametrize("suffix", PATHS)
def test_every_kind_of_file_is_read(suffix: str, tmp_path: Path, draw: Draw) -> None:
    values = draw(5, 3, 12, 12)
    path = tmp_path / f"a{suffix}"
    np.save(path, values) if suffix == ".npy" else save_npz(path, {"images": values})
    assert np.array_equal(load_data(path).images.numpy(), values)


@pytest.mark.parametrize("order", ["grey", "first", "last"])
def test_uint8_is_taken_as_it_is(order: str, tmp_path: Path, draw: Draw) -> None:
    values = draw(5, 3, 12, 12)
    expected = values[:, :1] if order == "grey" else values
    stored = {"grey": values[:, 0], "first": values, "last": values.transpose(0, 2, 3, 1)}[order]
    np.save(tmp_path / "a.npy", stored)
    dataset = load_data(tmp_path / "a.npy")
    assert np.array_equal(dataset.images.numpy(), expected)
    assert dataset.labels is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8"])
def test_floats_are_scaled_by_255(dtype: str, tmp_path: Path) -> None:
    every = np.arange(256).reshape(1, 16, 16)
    np.save(tmp_path / "a.npy", (every / 255).astype(dtype))
    assert np.array_equal(load_data(tmp_path / "a.npy").images[0].numpy(), every)


@pytest.mark.parametrize("dtype", ["uint16", ">u2"])
def test_uint16_is_divided_by_257(dtype: str, tmp_path: Path) -> None:
    every = np.arange(256).reshape(1, 16, 16)
    np.save(tmp_path / "a.npy", (every * 257).astype(dtype))
    assert np.array_equal(load_data(tmp_path / "a.npy").images[0].numpy(), every)


def test_bool_is_black_and_white(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(8, dtype=bool)[None])
    assert torch.equal(load_data(tmp_path / "a.npy").images[0, 0], torch.eye(8).byte() * 255)


@pytest.mark.parametrize("key", ["images", "x", "data", "anything"])
@pytest.mark.parametrize("labels", ["labels", "y"])
def test_npz_is_read_by_name(key: str, labels: str, tmp_path: Path, draw: Draw) -> None:
    values, classes = draw(5, 8, 8), np.array([3, 1, 4, 1, 5], np.uint8)
    save_npz(tmp_path / "a.npz", {key: values, labels: classes})
    dataset = load_data(f"{tmp_path / 'a.npz'}[1:4]")
    assert np.array_equal(dataset.images[:, 0].numpy(), values[1:4])
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 4, 1]
    assert dataset.labels.dtype == torch.int64


def test_a_suffix_may_shout(tmp_path: Path) -> None:
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, np.zeros((2, 8, 8), np.uint8))
    assert len(load_data(tmp_path / "A.NPY")) == 2


def test_chunks_do_not_show(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", draw(10, 8, 8) / 255)
    whole = load_data(tmp_path / "a.npy")
    monkeypatch.setattr("genprior.data.arrays.CHUNK", 3)
    assert load_data(tmp_path / "a.npy").fingerprint() == whole.fingerprint()


def test_oblong_images_need_a_size(tmp_path: Path, draw: Draw) -> None:
    np.save(tmp_path / "a.npy", draw(2, 20, 30))
    with pytest.raises(GenpriorError, match=r"^size: .*20 high and 30 wide: .*at most 20"):
        load_data(tmp_path / "a.npy")
    assert load_data(tmp_path / "a.npy", size=20).image_shape == (1, 20, 20)
    assert load_data(tmp_path / "a.npy", size=30, fit="pad").image_shape == (1, 30, 30)
    with pytest.raises(GenpriorError, match=r"^size: got 21.*20 high and 30 wide.*at most 20"):
        load_data(tmp_path / "a.npy", size=21)
    with pytest.raises(GenpriorError, match=r"^size: got 31.*at most 30"):
        load_data(tmp_path / "a.npy", size=31, fit="pad")


def floats(*wrong: float) -> Array:
    values = np.full((2, 8, 8), 0.5)
    values.flat[: len(wrong)] = wrong
    return values


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (floats(np.nan, np.inf, 2), r"3 of 128 that are not \(finite values from 0.5 to 2\)"),
        (floats(-1, 1), r"1 of 128 that are not \(finite values from -1 to 1\)"),
        (np.full((1, 8, 8), np.nan), r"64 of 64 that are not \(no finite value\)"),
        (np.zeros((0, 8, 8), np.uint8), r"at least one image, got an array of shape \(0, 8, 8\)"),
        (np.zeros((4, 0, 0), np.uint8), "at least one image"),
        (np.zeros((4, 8, 8), np.int64), "images of type uint8, .*got int64"),
        (np.zeros((4, 8, 8), np.complex64), "got complex64"),
        (np.zeros((4, 8, 8), "U1"), "got <U1"),
        (np.zeros((8, 8), np.uint8), r"expected shape \(N, H, W\).*got \(8, 8\)"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"expected shape.*got \(2, 8, 8, 4\)"),
        (np.zeros((), np.uint8), r"expected shape.*got \(\)"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_bad_images_are_refused(images: Array, message: str, suffix: str, tmp_path: Path) -> None:
    save = {"npy": lambda path: np.save(path, images), "npz": lambda path: np.savez(path, x=images)}
    save[suffix](tmp_path / f"a.{suffix}")
    with pytest.raises(GenpriorError, match=rf"^data: .*a\.{suffix}: .*{message}"):
        load_data(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3), "b": np.zeros(3)}, "array named images or x or data.*got a, b"),
        ({}, "got none"),
        ({"labels": np.zeros(3)}, "got labels"),
        (
            {"x": np.zeros((2, 8, 8)), "y": np.zeros(3, int)},
            r"y to be whole .*\(2,\), got int64.*\(3,\)",
        ),
        ({"x": np.zeros((2, 8, 8)), "y": np.zeros(2)}, "whole numbers.*got float64"),
    ],
)
def test_bad_archives_are_refused(arrays: dict[str, Array], message: str, tmp_path: Path) -> None:
    save_npz(tmp_path / "a.npz", arrays)
    with pytest.raises(GenpriorError, match=rf"^data: .*a\.npz: .*{message}"):
        load_data(tmp_path / "a.npz")


def damaged(path: Path, damage: str) -> Path:
    if path.suffix == ".npy":
        np.save(path, np.full((20, 16, 16), 0.3))
    else:
        np.savez_compressed(path, x=np.random.default_rng(0).random((20, 16, 16)))
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    cut = {"empty": b"", "text": b"hello", "cut": whole[:900], "head": whole[:40], "bit": flipped}
    path.write_bytes(cut[damage])
    return path


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "head"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_files_are_told_in_one_line(name: str, damage: str, tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=f"^data: .*{name}: .*(cannot read|damaged)") as caught:
        load_data(damaged(tmp_path / name, damage))
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^data: .*a\.npz: the file is damaged"):
        load_data(damaged(tmp_path / "a.npz", "bit"))


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickled_objects_are_never_loaded(name: str, tmp_path: Path) -> None:
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, np.array([{}], dtype=object))
    with pytest.raises(GenpriorError, match=f"^data: .*{name}: cannot read it as arrays of numbers"):
        load_data(tmp_path / name)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(GenpriorError, match=r"^data: expected a folder of images or a \.npy or \.npz"):
        load_data(tmp_path / "photo.png")
