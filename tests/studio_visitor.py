"""A visitor of the studio over plain HTTP, who asks as the page asks: uploads, and calls of the queue."""

import http.client
import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 280  # seconds
BOUNDARY = "b0undary"
JSON = {"Content-Type": "application/json"}
HELD_OUT, UPLOAD, HOLE = "a held-out image of its data", "a picture of mine", "a hole that I paint"


@dataclass
class Visitor:
    """One session.

    Attributes:
        address: Of the studio.
        session: Its name.
        config: What the page is made of, once it was asked for.
    """

    address: str
    session: str = field(default_factory=lambda: secrets.token_hex(6))
    config: dict[str, Any] = field(default_factory=dict)

    def ask(self, path: str, method: str = "GET", body: object = None, headers: object = None) -> tuple[int, bytes]:
        """Sends a request and returns status and body of the answer."""
        server = urlsplit(self.address)
        connection = http.client.HTTPConnection(str(server.hostname), server.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})  # type: ignore[arg-type]
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def enter(self) -> None:
        """Opens the page."""
        assert self.ask("/")[0] == 200
        status, body = self.ask("/config")
        assert status == 200
        self.config = json.loads(body)

    def call(self, name: str, event: str, data: list[Any]) -> tuple[bool, list[Any]]:
        """Calls what an event of a part does; returns whether that went well, and what it shows.

        Arguments:
            name: The part, by its name in the page; "" for the page itself.
            event: Such as "click".
            data: A value for each of its inputs.
        """
        status, said = self._joined(name, event, data)
        return self._told() if status == 200 else (False, [said.decode()])

    def join(self, name: str, event: str, data: list[Any]) -> int:
        """Makes the same call, does not wait for its answer, and returns the status."""
        return self._joined(name, event, data)[0]

    def _joined(self, name: str, event: str, data: list[Any]) -> tuple[int, bytes]:
        parts = {each["id"]: each["props"].get("elem_id") for each in self.config["components"]}
        found = [
            call
            for call in self.config["dependencies"]
            if any(what == event and (parts.get(part) or "") == name for part, what in call["targets"])
            and len(call["inputs"]) == len(data)
        ]
        body = {"data": data, "fn_index": found[0]["id"], "session_hash": self.session, "event_data": None}
        return self.ask("/gradio_api/queue/join", "POST", json.dumps(body), JSON)

    def _told(self) -> tuple[bool, list[Any]]:
        status, body = self.ask(f"/gradio_api/queue/data?session_hash={self.session}")
        assert status == 200
        for line in body.decode().splitlines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if message.get("msg") == "process_completed":
                return bool(message["success"]), message["output"].get("data", [])
        return False, []

    def upload(self, name: str, content: bytes) -> tuple[int, dict[str, Any]]:
        """Sends a file; returns the status, and the file as the page names it in calls."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        status, said = self.ask("/gradio_api/upload", "POST", body, headers)
        return status, given(json.loads(said)[0], name) if status == 200 else {}


def given(path: str, name: str = "a.png") -> dict[str, Any]:
    """Returns a file of the server as calls name it."""
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
