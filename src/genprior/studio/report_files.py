"""Pages that commands have written, shown without their scripts: below the allowed folders."""

from pathlib import Path
from typing import TYPE_CHECKING

from genprior.errors import GenpriorError
from genprior.studio.allowed_folders import AllowedFolders

if TYPE_CHECKING:
    from fastapi import FastAPI

SUFFIXES = (".html", ".png", ".svg", ".jpg", ".css")
NO_SCRIPT = (
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def page_address(folders: AllowedFolders, path: Path) -> str:
    """Returns where the page shows a file that lies below an allowed folder."""
    from urllib.parse import quote

    for number, root in enumerate(folders.roots):
        if root in path.parents:
            return f"/pages/{number}/{quote(path.relative_to(root).as_posix())}"
    return f"/pages/{folders.roots.index(path)}/"


def page_file(folders: AllowedFolders, number: str, rest: str) -> Path:
    """Returns the file that an address means.

    Raises:
        GenpriorError: It is no page or picture, or lies outside.
    """
    if not number.isdecimal() or int(number) >= len(folders.roots):
        raise GenpriorError("there is no such page", argument="page")
    root = folders.roots[int(number)]
    path = folders.inside(root / rest, "page")
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise GenpriorError("there is no such page", argument="page")
    return path


def add_report_files(app: "FastAPI", folders: AllowedFolders, *, is_open: bool) -> None:
    """Serves pages and their pictures below /pages/, where all who reach the server may see them."""
    from fastapi.responses import FileResponse, PlainTextResponse, Response

    if not is_open:
        return

    def page(number: str, rest: str) -> Response:
        try:
            path = page_file(folders, number, rest)
        except GenpriorError as error:
            return PlainTextResponse(error.message, status_code=404)
        return FileResponse(path, headers={"content-security-policy": NO_SCRIPT, "cache-control": "no-store"})

    app.add_api_route("/pages/{number}/{rest:path}", page)
