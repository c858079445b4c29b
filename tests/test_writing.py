"""The one writer: whole or not at all, with the mode of any file, and errors about the file that was meant."""

import errno
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genprior import writing

WRITE = {
    "text": lambda path: writing.write_text(path, "new"),
    "bytes": lambda path: writing.write_bytes(path, b"new"),
    "picture": lambda path: writing.write_picture(np.zeros((2, 3, 1), np.uint8), path),
    "numbers": lambda path: writing.write_numbers(path, (2, 3), [np.ones(3), np.ones((1, 3))]),
    "tensors": lambda path: writing.save_tensors({"w": torch.ones(3)}, path),
}


@pytest.mark.parametrize("kind", WRITE)
def test_the_mode_is_that_of_any_new_file(tmp_path: Path, kind: str) -> None:
    before = os.umask(0o027)
    try:
        WRITE[kind](tmp_path / "file.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.png").stat().st_mode) == 0o640


@pytest.mark.parametrize("kind", WRITE)
def test_on_a_full_disk_the_old_file_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file.png").write_text("old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left") as raised:
        WRITE[kind](tmp_path / "file.png")
    assert raised.value.filename == str(tmp_path / "file.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file.png"]
    assert (tmp_path / "file.png").read_text() == "old"


@pytest.mark.parametrize("kind", WRITE)
def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / ("n" * 251 + ".png"))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", WRITE)
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "file.png")
    with pytest.raises(FileExistsError, match="it is no regular file"):
        WRITE[kind](tmp_path / "file.png")
    assert (tmp_path / "file.png").is_fifo()


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    texts = [letter * 100_000 for letter in "abcd"]
    writers = [
        threading.Thread(target=lambda t=t: [writing.write_text(tmp_path / "f", t) for _ in range(5)]) for t in texts
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert (tmp_path / "f").read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1


def test_numbers_are_read_back_as_they_were(tmp_path: Path) -> None:
    WRITE["numbers"](tmp_path / "y.npy")
    assert np.array_equal(np.load(tmp_path / "y.npy"), np.ones((2, 3), np.float32))
    writing.write_picture(np.arange(6, dtype=np.uint8).reshape(2, 1, 3), tmp_path / "x.bmp")
    assert np.array(Image.open(tmp_path / "x.bmp")).ravel().tolist() == list(range(6))


def test_names_that_are_no_unicode_keep_their_bytes(tmp_path: Path) -> None:
    writing.write_text(tmp_path / "f", "ü " + os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "f").read_bytes() == b"\xc3\xbc caf\xe9"


def test_leftovers_are_removed_once_nobody_writes_them(tmp_path: Path) -> None:
    old, fresh = tmp_path / "a" / f"{writing.MARK}1.json", tmp_path / f"{writing.MARK}2.json"
    old.parent.mkdir()
    for path in (old, fresh, tmp_path / "mine.tmp"):
        path.write_text("")
    os.utime(old, (0, 0))
    os.utime(tmp_path / "mine.tmp", (0, 0))
    writing.remove_leftovers(tmp_path, below=True)
    assert [old.exists(), fresh.exists(), (tmp_path / "mine.tmp").exists()] == [False, True, True]


@pytest.mark.parametrize(("cell", "written"), [("=cmd()", "'=cmd()"), ("@x", "'@x"), ("-1", "-1"), ("a=b", "a=b")])
def test_formulas_are_text_in_tables(cell: str, written: str) -> None:
    assert list(writing.csv_text([[cell, -0.5, None]])) == [f"{written},-0.5,\n"]
    assert list(writing.csv_text([["-1+cmd|' /C calc'!A0"]])) == ["'-1+cmd|' /C calc'!A0\n"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    writing.refuse_unwritable(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="proc"):
        writing.refuse_unwritable(Path("/proc/genprior"))
