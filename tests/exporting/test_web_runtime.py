"""What runs networks in a browser: taken only as npm publishes it, kept once it is there, and told in one line."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from browser_page import served
from genprior.errors import GenpriorError
from genprior.exporting import web_runtime as rooms
from genprior.exporting.web_runtime import ASKED, BINARY, FILE, INTEGRITY, MODULE, PLACE, WebRuntime, kept, web_runtime

NOWHERE = "http://127.0.0.1:1"  # where nothing answers


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small package, which counts as the one that npm publishes."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in ((MODULE, b"module"), (BINARY, b"binary")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    checksum = base64.b64encode(hashlib.sha512(content.getvalue()).digest()).decode()
    monkeypatch.setattr(rooms, "INTEGRITY", f"sha512-{checksum}")
    return content.getvalue()


def test_the_package_is_fetched_once_and_kept(package: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "npm" / PLACE).parent.mkdir(parents=True)
    (tmp_path / "npm" / PLACE).write_bytes(package)
    with served(tmp_path / "npm") as address:
        monkeypatch.setenv(ASKED, f"{address}/")
        assert web_runtime(None, tmp_path / "data") == WebRuntime(b"module", b"binary")
    assert kept(tmp_path / "data").read_bytes() == package
    assert web_runtime(None, tmp_path / "data") == WebRuntime(b"module", b"binary")  # nobody serves any more
    kept(tmp_path / "data").write_bytes(package[:-1])
    with pytest.raises(GenpriorError, match=r"^runtime: no onnxruntime-web-.* from http"):
        web_runtime(None, tmp_path / "data")


def test_a_file_is_taken_as_npm_publishes_it(package: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(package)
    assert web_runtime(tmp_path / FILE, None) == WebRuntime(b"module", b"binary")
    (tmp_path / FILE).write_bytes(package + b" ")
    with pytest.raises(GenpriorError, match=r"^runtime: .* is not onnxruntime-web 1.30.0 as npm publishes it"):
        web_runtime(tmp_path / FILE, None)
    with pytest.raises(GenpriorError, match=r"^runtime: .*/none.tgz cannot be read: No such file"):
        web_runtime(tmp_path / "none.tgz", None)


def test_no_registry_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ASKED, NOWHERE)
    with pytest.raises(GenpriorError, match=r"^runtime: no onnxruntime-web-1.30.0.tgz from .*npm pack") as told:
        web_runtime(None, tmp_path)
    assert "\n" not in str(told.value)
    monkeypatch.setenv(ASKED, "file:///etc")
    with pytest.raises(GenpriorError, match=r"^runtime: expected a registry that begins with https://"):
        web_runtime(None, tmp_path)
    assert not kept(tmp_path).exists()


def test_the_checksum_is_one_of_npm() -> None:
    assert len(base64.b64decode(INTEGRITY.removeprefix("sha512-"))) == 64
