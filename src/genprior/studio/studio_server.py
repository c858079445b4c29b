"""The server of the studio: the page inside its guard, on the loopback unless other machines are let in."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.errors import GenpriorError
from genprior.studio.allowed_folders import AllowedFolders, allowed_folders
from genprior.studio.server_guard import ServerGuard
from genprior.studio.studio_settings import EVERYWHERE, LOOPBACK, USER, StudioSettings
from genprior.studio.upload_limits import UploadsOnTheirWay
from genprior.studio.visitor_limits import MOST_WAITING, VisitorLimits

if TYPE_CHECKING:
    import uvicorn

MOST_UPLOADED = 200 * 2**20  # bytes: a zip of images
MOST_CONNECTIONS = 200
ENVIRONMENT = {  # nothing is told to others, and nothing fetched from them
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class StudioServer:
    """A server that is ready to run.

    Attributes:
        server: Of uvicorn; `run(sockets=[listening])` serves until it is told to stop.
        listening: The socket, open already, so that the address is known.
        address: Of the page.
    """

    server: "uvicorn.Server"
    listening: socket.socket
    address: str

    def serve(self) -> None:
        """Serves until a signal or `server.should_exit` ends it."""
        self.server.run(sockets=[self.listening])


@contextmanager
def opened_studio(settings: StudioSettings) -> Iterator[StudioServer]:
    """Yields a server for these settings; what visitors uploaded and nobody saved is gone at the end.

    Raises:
        GenpriorError: Gradio is not installed, a folder is not there, the port is taken, or a password is missing.
    """
    password = settings.password()
    folders = allowed_folders(settings)
    with tempfile.TemporaryDirectory(prefix="genprior-studio-") as temporary, _quiet_framework(temporary):
        require_gradio()
        listening = _listening(settings)
        try:
            address = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
            app = _guarded(folders, settings, password)
            yield StudioServer(_server(app), listening, address)
        finally:
            listening.close()


def require_gradio() -> None:
    """Raises `GenpriorError` where the extra is not installed."""
    try:
        import gradio  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise GenpriorError("the studio needs Gradio; pip install 'genprior[studio]'") from None


@contextmanager
def _quiet_framework(temporary: str) -> Iterator[None]:
    """Keeps the framework from telling others what is done here, and its files in a folder that goes away."""
    values = {**ENVIRONMENT, "GRADIO_TEMP_DIR": temporary}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _listening(settings: StudioSettings) -> socket.socket:
    host = EVERYWHERE if settings.share else LOOPBACK
    found = socket.socket()
    if os.name != "nt":  # there it would let two servers share a port
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, settings.port))
        found.listen(MOST_CONNECTIONS)  # whoever comes once the address is told waits, and is not refused
    except OSError as error:
        found.close()
        raise GenpriorError(
            f"cannot serve at {settings.port}: {error.strerror}; 0 takes any", argument="port"
        ) from None
    return found


def _guarded(folders: AllowedFolders, settings: StudioSettings, password: str | None) -> ServerGuard:
    import gradio
    from fastapi import FastAPI

    from genprior.studio.report_files import add_report_files
    from genprior.studio.restore_calls import ANSWERS
    from genprior.studio.studio_page import look, studio_page

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    auth: Any = None if password is None else (USER, password)
    add_report_files(app, folders, is_open=password is None)
    page = studio_page(folders)
    page.queue(max_size=MOST_WAITING, default_concurrency_limit=2)
    gradio.mount_gradio_app(
        app,
        page,
        "/",
        auth=auth,
        max_file_size=2 * MOST_UPLOADED,  # the guard is stricter
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        allowed_paths=[str(folders.home / ANSWERS)],
        **look(),
    )
    names = frozenset({socket.gethostname().lower()}) if settings.share else frozenset[str]()
    uploads = UploadsOnTheirWay(Path(os.environ["GRADIO_TEMP_DIR"]))
    visitors = VisitorLimits(lambda session: len(page._queue.pending_event_ids_session.get(session, ())))
    return ServerGuard(app, settings.share, names, MOST_UPLOADED + 2**20, uploads, visitors)


def _server(app: ServerGuard) -> "uvicorn.Server":
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    return uvicorn.Server(config)
