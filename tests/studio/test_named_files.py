import json
from pathlib import Path

import pytest

from genprior.studio.named_files import names_foreign_file


def call(path: object) -> bytes:
    return json.dumps({"data": ["run", 0, {"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()


def test_what_was_sent_may_be_named_and_no_file_need_be(tmp_path: Path) -> None:
    assert not names_foreign_file(call(str(tmp_path / "0abc" / "a.png")), tmp_path)
    assert not names_foreign_file(b'{"data": ["digits", {"hole": "0110"}]}', None)
    assert not names_foreign_file(call(None), None)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "a.png", "", "{}/../b.png", "http://127.0.0.1:1/", "file:///etc/passwd", "\0", 7, ["/etc"]]
)
def test_nothing_else_may(path: object, tmp_path: Path) -> None:
    told = path.format(tmp_path) if isinstance(path, str) else path
    assert names_foreign_file(call(told), tmp_path)
    assert names_foreign_file(json.dumps([[[{"x": [json.loads(call(told))]}]]]).encode(), tmp_path)


def test_links_are_followed_before_they_are_judged(tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "link.png").symlink_to(tmp_path / "secret.png")
    assert names_foreign_file(call(str(tmp_path / "sent" / "link.png")), tmp_path / "sent")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, json.dumps({"path": "/etc"}).encode()])
def test_what_cannot_be_read_is_refused(body: bytes, tmp_path: Path) -> None:
    assert names_foreign_file(body, tmp_path)
