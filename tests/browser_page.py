"""An exported page in a browser: opened from disk or from a server of files, with all that it says and asks for."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAME = "GENPRIOR_WEB_RUNTIME"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120  # that a step may take on a busy machine


def given_runtime() -> Path:
    """The package that runs networks in a browser; a test that needs it is skipped where nobody fetched it."""
    file = os.environ.get(NAME)
    if not file:
        pytest.skip(f"needs the internet: fetch onnxruntime-web-1.30.0.tgz with npm pack, and name it in {NAME}")
    return Path(file)


@dataclass
class Watched:
    """A page that was opened.

    Attributes:
        page: In the browser.
        complaints: What stood on its console, and errors that nothing caught.
        requests: Addresses that it asked for.
    """

    page: "Page"
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of a server of a folder's files, and nothing more."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def browsed(address: str, width: int = 1000) -> Iterator[Watched]:
    """Opens a page, and waits until it is ready and has shown its first images."""
    from playwright.sync_api import expect, sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser, "this test needs a browser: apt-get install -y chromium"
    expect.set_options(timeout=1000 * SECONDS)
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = opened.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(1000 * SECONDS)
        watched = Watched(page)
        page.on("console", lambda message: watched.complaints.append(message.text))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        page.goto(address)
        expect(page.locator("#chosen")).not_to_be_empty()
        yield watched
        opened.close()
