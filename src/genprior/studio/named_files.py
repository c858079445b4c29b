"""Calls of the page that name files: none but those that visitors have sent may be named.

The framework copies what a call names into its own folder before anything of ours sees it. Served inside another
application it does not ask where that lies (Gradio 6.31, `_check_allowed`), and it fetches addresses.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genprior.stored_files import loads

MOST_NESTED = 50


def names_foreign_file(body: bytes, folder: Path | None) -> bool:
    """Returns whether the JSON of a call names a file that lies outside of a folder, or cannot be read as JSON.

    Arguments:
        body: Of the request.
        folder: Of what was sent; None: no file may be named.
    """
    try:
        names = list(_named(loads(body)))
    except (ValueError, RecursionError):
        return True
    return any(folder is None or not _is_below(name, folder) for name in names)


def _named(value: Any, depth: int = 0) -> Iterator[object]:  # noqa: ANN401 - whatever JSON holds
    """What stands under "path", at any depth."""
    if depth > MOST_NESTED:
        raise RecursionError("nested too deeply")
    if isinstance(value, dict):
        if value.get("path") is not None:
            yield value["path"]
        for each in value.values():
            yield from _named(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _named(each, depth + 1)


def _is_below(name: object, folder: Path) -> bool:
    if not isinstance(name, str) or not Path(name).is_absolute():
        return False
    try:
        return folder.resolve() in Path(name).resolve().parents
    except (OSError, ValueError, RuntimeError):  # a zero byte, a loop of links
        return False
