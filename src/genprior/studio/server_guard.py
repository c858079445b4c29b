"""Who may speak to the server, and how much: checks before anything of the page's own is reached.

A page elsewhere can make a browser send requests to this machine, and by DNS rebinding even read the answers. It cannot
change the headers Host and Origin, which are checked here.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from genprior.studio.named_files import names_foreign_file
from genprior.studio.upload_limits import UploadsOnTheirWay
from genprior.studio.visitor_limits import VisitorLimits, session_of

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_CALLED = 2**23  # bytes of all but uploads, which are read whole: a picture and its hole
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
API = "/gradio_api/"
PATHS = (  # all that the page asks for; the framework has more, which nobody needs here
    *("/assets/", "/static/", "/theme.css", "/config", "/favicon.ico", "/manifest.json", "/pages/"),
    *("/login", "/logout", "/user", "/svelte/"),
    *(f"{API}{name}" for name in ("queue/join", "queue/data", "upload", "heartbeat/", "file=/", "info", "app_id")),
    *(f"{API}{name}" for name in ("reset", "cancel", "startup-events", "component_server", "login_check", "user")),
)
STREAMS = (f"{API}queue/data", f"{API}heartbeat/")  # on which answers come, and by which a page is known to be open
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
LASTING = {"cache-control": "private, max-age=31536000, immutable"}  # of files whose names tell their contents


@dataclass(frozen=True)
class ServerGuard:
    """Refuses what does not come from the page itself, and what is too much.

    Attributes:
        app: What is guarded.
        is_shared: Whether other machines are served: then any address in numbers is this machine's, too.
        names: Of this machine, besides those of the loopback.
        most_bytes: Of the body of a request.
        uploads: What all visitors send.
        visitors: What each of them may ask for at once.
    """

    app: App
    is_shared: bool = False
    names: frozenset[str] = frozenset()
    most_bytes: int = 2**25
    uploads: UploadsOnTheirWay = field(default_factory=UploadsOnTheirWay)
    visitors: VisitorLimits = field(default_factory=VisitorLimits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it in one line."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            await _refuse(scope, send, *refused)
            return
        lasting = LASTING if scope["path"].startswith("/assets/") else {}
        is_upload = scope["path"] == f"{API}upload"
        most = self.most_bytes if is_upload else min(self.most_bytes, MOST_CALLED)
        counted = _Counted(receive, send, most, lasting, self.uploads if is_upload else UploadsOnTheirWay())
        try:
            if is_upload:
                self.uploads.begin()
            if scope["path"] == f"{API}queue/join":
                await self._call(scope, counted)
            elif scope["path"].startswith(STREAMS):
                with self.visitors.stream(_session_of_stream(scope)) as may:
                    await (self.app(scope, counted.receive, counted.send) if may else _too_many(scope, counted.send))
            else:
                await self.app(scope, counted.receive, counted.send)
        finally:
            counted.end()

    async def _call(self, scope: Scope, counted: "_Counted") -> None:
        """Passes a call on that names no file of others and is not one too many of its session."""
        body = await counted.whole()
        session = session_of(body)
        if session is None or names_foreign_file(body, self.uploads.folder):
            await _refuse(scope, counted.send, 403, "no file may be named but those that were sent")
            return
        with self.visitors.call(session) as may:
            await (self.app(scope, counted.again(body), counted.send) if may else _too_many(scope, counted.send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = scope["headers"]
        hosts = _values(headers, b"host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return 403, "this page answers to its own address alone"
        origins = _values(headers, b"origin")
        if any(origin.partition("://")[2] != hosts[0] or not origin.startswith("http") for origin in origins):
            return 403, "requests from other pages are refused"
        if "cross-site" in _values(headers, b"sec-fetch-site") and scope["path"] != "/":
            return 403, "requests from other pages are refused"
        path = scope["path"]
        if path != "/" and not path.startswith(PATHS):
            return 404, "there is no such page"
        lengths = _values(headers, b"content-length")
        if any(not each.isdigit() or int(each) > self.most_bytes for each in lengths):
            return 413, f"at most {self.most_bytes:,} bytes are taken at once"
        return None

    def _is_own(self, host: str) -> bool:
        name = _without_port(host)
        return name in LOOPBACK_NAMES or (self.is_shared and (name in self.names or _is_number(name)))


class _Counted:
    """A request whose body is cut off where it becomes too long, whatever its headers said."""

    def __init__(
        self, receive: Receive, send: Send, most: int, more: Mapping[str, str], together: UploadsOnTheirWay
    ) -> None:
        self._receive, self._send, self._most, self._more = receive, send, most, more
        self._together = together
        self._seen, self._has_begun, self._is_cut = 0, False, False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self._seen += count
            if not self._together.take(count) or self._seen > self._most:
                await self._cut()
                return {"type": "http.disconnect"}
        return message

    async def whole(self) -> bytes:
        """Returns the whole body."""
        parts, has_more = [], True
        while has_more:
            message = await self.receive()
            parts.append(message.get("body", b""))
            has_more = message["type"] == "http.request" and message.get("more_body", False)
        return b"".join(parts)

    def again(self, body: bytes) -> Receive:
        """Returns what gives a body that was read to the page, and after it what else comes."""
        is_told = False

        async def receive() -> Message:
            nonlocal is_told
            if is_told:
                return await self.receive()
            is_told = True
            return {"type": "http.request", "body": body, "more_body": False}

        return receive

    def end(self) -> None:
        self._together.end(self._seen)

    async def send(self, message: Message) -> None:
        if self._is_cut:  # what the page still has to say reaches nobody
            return
        if message["type"] == "http.response.start":
            self._has_begun = True
            more = self._more if message["status"] == 200 else {}
            message["headers"] = _with_own(message.get("headers", []), {**HEADERS, **more})
        await self._send(message)

    async def _cut(self) -> None:
        """Answers at once and closes the connection: the rest is not waited for."""
        if not self._has_begun and not self._is_cut:
            await _refuse({"type": "http"}, self._send, 413, f"at most {self._most:,} bytes are taken at once")
        self._is_cut = True


def _with_own(headers: Iterable[tuple[bytes, bytes]], own: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers of an answer with those of the guard; a page of its own may have a stricter policy of contents."""
    given = {name.lower(): value for name, value in headers}
    new = [(name.encode(), value.encode()) for name, value in own.items()]
    return [*headers, *(pair for pair in new if pair[0] not in given)]


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    head = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": json.dumps({"detail": why}).encode()})


async def _too_many(scope: Scope, send: Send) -> None:
    await _refuse(scope, send, 429, "too many calls of this page wait: try again when one of them is answered")


def _session_of_stream(scope: Scope) -> str:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash")
    return query[0] if query else str(scope["path"])


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for key, value in headers if key.lower() == name]


def _without_port(host: str) -> str:
    """The name in a Host header.

    Example:
        >>> _without_port("[::1]:7860"), _without_port("localhost:7860"), _without_port("localhost")
        ('::1', 'localhost', 'localhost')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
