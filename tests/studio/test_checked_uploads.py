import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
import torch

from genprior.errors import GenpriorError
from genprior.images import write_image
from genprior.studio import checked_uploads
from genprior.studio.checked_uploads import checked_archive, checked_picture, keep_images, keep_upload


def picture(path: Path) -> Path:
    write_image(torch.randint(256, (3, 9, 7), dtype=torch.uint8), path)
    return path


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


def huge_png(path: Path, side: int) -> Path:
    """A PNG whose header promises side x side pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in (head, data)
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def test_a_picture_is_read_by_its_content(tmp_path: Path) -> None:
    assert checked_picture(picture(tmp_path / "a.png")).shape == (3, 9, 7)


@pytest.mark.parametrize(("side", "match"), [(5000, "5000 x 5000 pixels"), (30000, "900000000 pixels")])
def test_a_picture_of_many_pixels_is_not_decoded(side: int, match: str, tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=match):
        checked_picture(huge_png(tmp_path / "bomb.png", side))


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"\x80\x04cos\nsystem\n", b"%PDF-1.4"])
def test_what_is_no_picture_is_refused_whatever_its_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(GenpriorError, match="no picture that can be read"):
        checked_picture(tmp_path / "a.png")


def test_a_large_picture_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_uploads, "MOST_PICTURE_BYTES", 10)
    with pytest.raises(GenpriorError, match="at most 10 are taken"):
        checked_picture(picture(tmp_path / "a.png"))


def test_pictures_in_an_archive_are_counted(tmp_path: Path) -> None:
    content = picture(tmp_path / "a.png").read_bytes()
    found = archive(tmp_path / "a.zip", **{"x/a.png": content, "x/b.png": content, "readme.txt": b""})
    assert checked_archive(found) == 2


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"bomb.png": b"\0" * 40 * 2**20}, "unpack"),
        ({"a.png": b"\0" * 2**24, "b.png": b"\0" * 2**24}, "unpack"),
        ({"../a.png": b"x"}, "lead out"),
        ({"/etc/a.png": b"x"}, "lead out"),
        ({"a.txt": b"x"}, "no pictures"),
    ],
)
def test_archives_that_do_harm_are_refused(files: dict[str, bytes], match: str, tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=match):
        checked_archive(archive(tmp_path / "a.zip", **files))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(GenpriorError, match="no zip file"):
        checked_archive(tmp_path / "a.zip")


def test_uploads_keep_no_path_and_replace_nothing(tmp_path: Path) -> None:
    source = tmp_path / "my $(rm -rf) pictures.zip"
    source.write_bytes(b"content")
    first, second = (keep_upload(source, tmp_path / "kept") for _ in range(2))
    assert first.name == second.name == "my-rm-rf-pictures.zip"
    assert first != second
    assert first.read_bytes() == second.read_bytes() == b"content"


def test_old_uploads_leave_when_their_sum_is_passed_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_uploads, "MOST_KEPT", 250)
    source, kept = tmp_path / "a.zip", tmp_path / "kept"
    source.write_bytes(b"x" * 100)
    own = [kept / "mine.zip", kept / "0123456789abcdef" / "notes.txt", kept / "mine" / "b.zip"]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    places = []
    for number in range(4):
        places.append(keep_upload(source, kept))
        os.utime(places[-1], (number, number))
    assert [path.exists() for path in places] == [False, False, True, True]
    assert not places[0].parent.exists()
    assert all(path.exists() for path in own)
    source.write_bytes(b"x" * 1000)
    assert keep_upload(source, kept).exists()  # what was just sent stays, however large


def test_pictures_that_are_sent_together_become_an_archive(tmp_path: Path) -> None:
    sent = [picture(tmp_path / name) for name in ("b.png", "a.PNG")]
    (tmp_path / "other").mkdir()
    sent.append(picture(tmp_path / "other" / "b.png"))
    kept, count = keep_images(sent, tmp_path / "kept")
    assert (kept.name, count, checked_archive(kept)) == ("pictures.zip", 3, 3)
    with zipfile.ZipFile(kept) as opened:
        names = opened.namelist()
        assert [opened.read(name) for name in names] == [path.read_bytes() for path in sent]
    assert names == sorted(names)
    packed = archive(tmp_path / "a.zip", **{"a.png": sent[0].read_bytes()})
    kept, count = keep_images([packed], tmp_path / "kept")
    assert (kept.name, count) == ("a.zip", 1)
    with pytest.raises(GenpriorError, match="one zip, or pictures alone"):
        keep_images([packed, sent[0]], tmp_path / "kept")


def test_pictures_that_are_sent_together_have_the_limits_of_each_and_of_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bomb = picture(tmp_path / "good.png"), huge_png(tmp_path / "bomb.png", 5000)
    with pytest.raises(GenpriorError, match=r"bomb\.png: the picture has 5000 x 5000 pixels"):
        keep_images([good, bomb], tmp_path / "kept")
    with pytest.raises(GenpriorError, match="choose pictures"):
        keep_images([], tmp_path / "kept")
    for name, most, match in (("MOST_ZIP_BYTES", 10, "at most 10 are taken"), ("MOST_FILES", 1, "at most 1 are taken")):
        with monkeypatch.context() as patched:
            patched.setattr(checked_uploads, name, most)
            with pytest.raises(GenpriorError, match=match):
                keep_images([good, good], tmp_path / "kept")
    assert not (tmp_path / "kept").exists()  # nothing of what is refused stays


def long_table(path: Path, records: int, entries: int) -> Path:
    """An archive with so many records in its table of contents, of which its end tells `entries`."""
    record = struct.pack("<4s6H3I5H2I", b"PK\1\2", *([0] * 6), *([0] * 3), 1, *([0] * 4), 0, 0) + b"a"
    table = record * records
    path.write_bytes(table + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, entries, entries, len(table), 0, 0))
    return path


@pytest.mark.parametrize(("records", "entries"), [(60_000, 60_000), (60_000, 5), (300_000, 5)])
def test_a_table_that_is_too_long_is_never_parsed(
    records: int, entries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(GenpriorError, match="at most 50,000 are taken"):
        checked_archive(long_table(tmp_path / "a.zip", records, entries))


def test_the_end_of_an_archive_is_found_where_zipfile_finds_it(tmp_path: Path) -> None:
    content = picture(tmp_path / "a.png").read_bytes()
    for comment in (b"", b"a comment", b"PK\5\6" + b"x" * 30):
        path = archive(tmp_path / "a.zip", **{"a.png": content})
        with zipfile.ZipFile(path, "a") as opened:
            opened.comment = comment
        try:
            with zipfile.ZipFile(path) as opened:
                count = len(opened.infolist())
        except zipfile.BadZipFile:
            count = 0
        if count:
            assert checked_archive(path) == count
        else:
            with pytest.raises(GenpriorError):
                checked_archive(path)


def test_zip64_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", **{"a.png": b"x"})
    whole = path.read_bytes()
    path.write_bytes(whole[:-22] + b"PK\6\7" + b"\0" * 16 + whole[-22:])
    with pytest.raises(GenpriorError, match="zip64"):
        checked_archive(path)
