"""Twenty sessions at once, one of them hostile: the others get their right answers, and the server lives."""

import io
import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
from PIL import Image

from genprior.runs.run_folder import open_run
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.restore_calls import held_out_images
from served_studio import SECRET, Served
from studio_visitor import BOUNDARY, HELD_OUT, HOLE, UPLOAD, Visitor, given

PEACEFUL = 19
MOST_GROWTH = 600 * 2**20  # bytes: a picture of 30,000 x 30,000 has 900 million pixels
BLOCK = b"\0" * 2**20


def answer_of(visitor: Visitor, run: Path, number: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Goes through a visit: takes a held-out image, paints a hole, restores; the image, the answer, the command."""
    visitor.enter()
    is_well, (canvas, *_) = visitor.call("", "load", [str(run), HELD_OUT, number, None])
    assert is_well
    side = canvas["width"]
    holes = ["1" if 9 <= i // side < 16 and 9 <= i % side < 16 else "0" for i in range(side * canvas["height"])]
    drawn = {**canvas, "hole": "".join(holes)}
    asked = [str(run), None, drawn, HOLE, 0, 0, "usual", "64 draws", "no other run"]
    is_well, (told, result, _, command, *_) = visitor.call("restore-go", "click", asked)
    assert is_well
    assert "64 draws" in told
    status, picture = visitor.ask(urlsplit(result["value"]["url"]).path)
    assert status == 200
    taken = np.asarray(Image.open(re.search(r"\S+/image\.png", command)[0]))  # type: ignore[index]
    return taken, np.asarray(Image.open(io.BytesIO(picture))), command


def huge_png(side: int) -> bytes:
    """A whole PNG of side x side black pixels in grey, a multiple of 100: millions of them pack into little."""
    rows, count = b"\0" * (side + 1) * 100, side // 100
    packer, sum_of_all = zlib.compressobj(9, zlib.DEFLATED, -15), 1
    part = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)  # may stand there as often as wanted
    for _ in range(count):
        sum_of_all = zlib.adler32(rows, sum_of_all)
    packed = b"\x78\xda" + part * count + packer.flush(zlib.Z_FINISH) + struct.pack(">I", sum_of_all)
    chunks = [
        b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0),
        b"IDAT" + packed,
        b"IEND",
    ]
    framed = (struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def bomb() -> bytes:
    """A zip that unpacks to more than 1 GB."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.png", "w") as each,
    ):
        for _ in range(1100):
            each.write(BLOCK)
    return file.getvalue()


def gigabyte() -> Iterator[bytes]:
    """The body of an upload of 1 GB, which does not say how long it is."""
    yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.zip"\r\n\r\n'.encode()
    for _ in range(1024):
        yield BLOCK


def attack(visitor: Visitor, studio: Served) -> list[str]:
    """Tries what does harm, one after another; returns what the page said."""
    run, said = str(studio.home / "digits"), []
    visitor.enter()
    with suppress(OSError):  # whichever end is closed first
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        assert visitor.ask("/gradio_api/upload", "POST", gigabyte(), headers)[0] == 413
    status, picture = visitor.upload("a.png", huge_png(30_000))
    assert status == 200
    said.append(str(visitor.call("picture-upload", "upload", [run, UPLOAD, 0, picture])[1][-1]))
    status, archive = visitor.upload("../../../a.zip", bomb())
    assert status == 200
    assert ".." not in archive["path"]
    said.append(str(visitor.call("zip-upload", "upload", [[archive]])[1][-1]))
    for path in (str(studio.secret), f"{studio.home}/../secret.html", "../secret.html"):
        is_well, told = visitor.call("picture-upload", "upload", [run, UPLOAD, 0, given(path)])
        assert not is_well, told
    assert not visitor.call("", "load", [f"{run}/../..", HELD_OUT, 0, None])[0]
    for path in (f"{studio.home}/..", f"{run}/../../secret.html"):
        said.append(str(visitor.call("look-at", "click", [path])[1][-1]))
    return said


@contextmanager
def grown(pid: int) -> Iterator[list[int]]:
    """By how many bytes the memory of a process is larger than at first, again and again while the block is done."""
    process, is_over = psutil.Process(pid), threading.Event()
    before, found = process.memory_info().rss, [1]

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            while not is_over.wait(0.05):
                found.append(process.memory_info().rss - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
    finally:
        is_over.set()
        watching.join()


def test_nineteen_sessions_are_answered_while_one_attacks(studio: Served) -> None:
    run = studio.home / "digits"
    images = held_out_images(AllowedFolders(studio.home, (studio.home,)), open_run(run))
    with grown(studio.pid) as growth, ThreadPoolExecutor(PEACEFUL + 1) as pool:
        hostile = pool.submit(attack, Visitor(studio.address), studio)
        visits = [pool.submit(answer_of, Visitor(studio.address), run, number) for number in range(PEACEFUL)]
        answers = [each.result() for each in visits]
        said = hostile.result()
    for number, (taken, restored, command) in enumerate(answers):
        np.testing.assert_array_equal(taken, images[number][0].numpy())  # nobody got another one's
        assert restored.shape == taken.shape
        known = np.ones(taken.shape, bool)
        known[9:16, 9:16] = False
        np.testing.assert_array_equal(restored[known], taken[known])
        assert f"genprior restore {run}" in command
    assert len({command for *_, command in answers}) == PEACEFUL
    expected = ("900000000 pixels", "would unpack to", "lies outside", "lies outside")
    assert all(words in told for words, told in zip(expected, said, strict=True)), said
    assert SECRET not in "".join(said)
    assert 0 < max(growth) < MOST_GROWTH, f"{max(growth) / 2**20:.0f} MB more"
    assert Visitor(studio.address).ask("/config")[0] == 200
