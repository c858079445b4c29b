"""Each thing that a hostile page or visitor may try is tried, and the rest goes on."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest

from served_studio import SECRET, Served

FOREIGN = [
    ("Host", "evil.example"),
    ("Host", "evil.example:7860"),
    ("Host", "192.168.1.7"),
    ("Origin", "http://evil.example"),
    ("Origin", "null"),
    ("Origin", "http://localhost.evil.example"),
    ("Sec-Fetch-Site", "cross-site"),
]


def ask(
    studio: Served, path: str, method: str = "GET", body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    """Sends a request and returns status, body and headers of the answer."""
    server = urlsplit(studio.address)
    connection = http.client.HTTPConnection(str(server.hostname), server.port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})  # type: ignore[arg-type]
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


@pytest.mark.parametrize(("name", "value"), FOREIGN)
def test_requests_from_elsewhere_are_refused(studio: Served, name: str, value: str) -> None:
    assert ask(studio, "/config", headers={name: value})[0] == 403


def test_the_own_page_is_answered_and_loads_nothing_from_elsewhere(studio: Served) -> None:
    own = {"Origin": studio.address, "Sec-Fetch-Site": "same-origin"}
    assert ask(studio, "/config", headers=own)[0] == 200
    status, page, headers = ask(studio, "/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    for word in (b"googleapis", b'<script src="http', b"cdnjs"):
        assert word not in page


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/vibe-code",
        "/gradio_api/run-history/records",
        "/gradio_api/openapi.json",
        "/gradio_api/process_recording",
        "/docs",
        "/openapi.json",
    ],
)
def test_what_the_page_does_not_need_is_not_there(studio: Served, path: str) -> None:
    assert ask(studio, path)[0] == 404


def paths_out(studio: Served) -> Iterator[str]:
    """Addresses by which somebody might try to read the secret."""
    secret = studio.secret.as_posix()
    yield from (f"/gradio_api/file={secret}", f"/gradio_api/file={quote(secret, safe='')}")
    yield f"/gradio_api/file={studio.home.as_posix()}/answers/../../secret.html"
    yield from ("/pages/0/../secret.html", "/pages/0/%2e%2e/secret.html", "/pages/0/..%2fsecret.html")
    yield from (f"/pages/0/{secret}", "/pages/0/link.html", "/pages/0/digits/config.json", "/pages/7/report.html")
    yield from ("/static/../../secret.html", f"/assets/{quote(secret, safe='')}", "/pages/0/%00.html")


def test_nobody_reads_the_disk(studio: Served) -> None:
    for path in paths_out(studio):
        status, body, _ = ask(studio, path)
        assert status in (400, 403, 404), path
        assert SECRET.encode() not in body


def test_reports_are_shown_without_scripts(studio: Served) -> None:
    status, body, headers = ask(studio, "/pages/0/digits/report.html")
    assert (status, body) == (200, b"<p>a report</p>")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]


def test_a_body_that_says_it_is_too_long_is_not_read(studio: Served) -> None:
    headers = {"Content-Length": str(2**30), "Content-Type": "multipart/form-data; boundary=x"}
    assert ask(studio, "/gradio_api/upload", "POST", b"--x", headers)[0] == 413


def test_a_body_that_never_ends_is_cut_off_while_others_are_answered(studio: Served) -> None:
    block, sent = b"x" * 2**20, []

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(1000):
            sent.append(len(block))
            yield block

    def attack() -> None:
        with suppress(OSError):  # whichever end of the connection is closed first
            ask(studio, "/gradio_api/upload", "POST", endless(), {"Content-Type": "multipart/form-data; boundary=x"})

    hostile = threading.Thread(target=attack)
    hostile.start()
    statuses = []
    for _ in range(19):
        statuses.append(ask(studio, "/config")[0])
    hostile.join(120)
    assert statuses == [200] * 19
    assert sum(sent) < 400 * 2**20


def test_the_framework_reads_no_path_that_a_visitor_names(studio: Served) -> None:
    config = json.loads(ask(studio, "/config")[1])
    button = next(each for each in config["components"] if each["props"].get("elem_id") == "picture-upload")
    (call,) = [
        each
        for each in config["dependencies"]
        if any(target[1] == "upload" and target[0] == button["id"] for target in each["targets"])
    ]
    kinds = {each["id"]: each["type"] for each in config["components"]}
    upload = {"path": str(studio.secret), "meta": {"_type": "gradio.FileData"}}
    values = {
        "dropdown": str(studio.home / "digits"),
        "radio": "a picture of mine",
        "number": 0,
        "uploadbutton": upload,
    }
    body = {"data": [values[kinds[each]] for each in call["inputs"]], "fn_index": call["id"], "session_hash": "hostile"}
    headers = {"Content-Type": "application/json"}
    status, _, _ = ask(studio, "/gradio_api/queue/join", "POST", json.dumps(body), headers)
    told = ask(studio, "/gradio_api/queue/data?session_hash=hostile")[1] if status == 200 else b""
    assert b'"success":true' not in told.replace(b" ", b"")
    assert SECRET.encode() not in told
