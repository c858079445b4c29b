"""Each thing that a hostile page or visitor may try is tried, and the rest goes on."""

import asyncio
import base64
import http.client
import io
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image

from genprior.studio.server_guard import Message, Receive, Scope, Send, ServerGuard
from genprior.studio.upload_limits import UploadsOnTheirWay
from genprior.studio.visitor_limits import MOST_CALLS, MOST_STREAMS
from served_studio import SECRET, Served, started
from studio_visitor import HELD_OUT, UPLOAD, Visitor, given

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


@pytest.mark.parametrize("path", ["queue/join", "cancel", "reset", "component_server"])
def test_what_is_read_whole_is_short(studio: Served, path: str) -> None:
    body = b'{"session_hash": "' + b"a" * 2**23 + b'", "fn_index": 0, "event_id": "x"}'
    headers = {"Content-Type": "application/json"}
    assert ask(studio, f"/gradio_api/{path}", "POST", iter([body]), headers)[0] == 413
    assert ask(studio, f"/gradio_api/{path}", "POST", body, headers)[0] == 413


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
    """A picture that was sent is read; the same picture, named where it lies outside, is not."""
    picture = studio.secret.with_suffix(".png")
    Image.new("L", (28, 28), 77).save(picture)
    visitor, run = Visitor(studio.address), str(studio.home / "digits")
    visitor.enter()
    status, sent = visitor.upload("a.png", picture.read_bytes())
    assert status == 200
    is_well, (canvas, *_) = visitor.call("picture-upload", "upload", [run, UPLOAD, 0, sent])
    assert is_well
    shown = Image.open(io.BytesIO(base64.b64decode(canvas["source"].partition(",")[2])))
    assert shown.getextrema() == (77, 77)
    inside = f"{studio.home.parent.as_posix()}/home/../secret.png"
    for path in (str(picture), inside, f"file://{picture}", f"{Path(sent['path']).parent}/../../..{picture}"):
        is_well, told = visitor.call("picture-upload", "upload", [run, UPLOAD, 0, given(path)])
        assert not is_well, path
        assert "base64" not in str(told)


def test_files_that_never_change_are_asked_for_once(studio: Served) -> None:
    page = ask(studio, "/")[1].decode()
    script = re.search(r'src="\.?(/assets/[^"]+\.js)"', page)
    assert script is not None
    assert "immutable" in ask(studio, script[1])[2]["cache-control"]
    assert "immutable" not in ask(studio, "/config")[2].get("cache-control", "")
    assert "immutable" not in ask(studio, "/assets/nothing.js")[2].get("cache-control", "")


def test_visitors_together_send_no_more_than_is_taken() -> None:
    """Each upload is small enough; what is on its way at once is not."""
    uploads = UploadsOnTheirWay(most=150)
    assert uploads.take(100)
    assert not uploads.take(100)
    uploads.end(100)
    uploads.end(100)
    assert uploads.take(150)


def test_an_upload_too_many_is_cut_off_and_forgotten() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] == "http.request":
            pass

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    sent: list[Message] = []
    guard = ServerGuard(app, uploads=UploadsOnTheirWay(most=150))
    scope = {"type": "http", "path": "/gradio_api/upload", "headers": [(b"host", b"localhost")]}
    asyncio.run(guard(scope, receive, send))
    assert sent[0]["status"] == 413
    assert guard.uploads.take(150)


def test_an_address_that_was_told_is_answered(tmp_path: Path) -> None:
    with started(tmp_path / "home") as (address, _):
        assert Visitor(address).ask("/config")[0] == 200  # at once, however busy the server is


def test_one_session_has_no_more_than_its_share_of_calls_and_connections(studio: Served) -> None:
    greedy, other = Visitor(studio.address), Visitor(studio.address)
    greedy.enter()
    other.enter()
    run = str(studio.home / "digits")
    statuses = [greedy.join("", "load", [run, UPLOAD, 0, None]) for _ in range(3 * MOST_CALLS)]
    assert statuses == [200] * MOST_CALLS + [429] * 2 * MOST_CALLS
    assert other.call("", "load", [run, HELD_OUT, 0, None])[0]
    with ExitStack() as held:
        path = f"/gradio_api/heartbeat/{greedy.session}"
        answers = [opened(studio, path, held) for _ in range(MOST_STREAMS + 3)]
    assert answers == [200] * MOST_STREAMS + [429] * 3
    assert ask(studio, "/config")[0] == 200


def opened(studio: Served, path: str, held: ExitStack) -> int:
    """Begins a request whose answer never ends, and returns its status while it is held open."""
    server = urlsplit(studio.address)
    connection = http.client.HTTPConnection(str(server.hostname), server.port, timeout=60)
    held.callback(connection.close)
    connection.request("GET", path)
    return connection.getresponse().status


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b'{"session_hash": ""}', b'{"session_hash": 7}'])
def test_calls_without_a_session_are_refused(studio: Served, body: bytes) -> None:
    assert ask(studio, "/gradio_api/queue/join", "POST", body, {"Content-Type": "application/json"})[0] == 403
