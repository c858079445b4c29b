"""Parts that several rooms have: the choice of a run, the box of a command, and errors told in a line."""

import inspect
import logging
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from genprior.errors import MAY_TELL, GenpriorError, is_lack_of_memory
from genprior.report.collect import names_of
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.shown_pictures import note

DROP_HEIGHT = 96  # pixels
WHERE_MORE = "All that is known of it stands where the studio was started."
NO_RUN_YET = note("There is no run yet: train one in the room Train.")
COMPUTES = "computes"  # one at a time, of all visitors: two would only share the cores
_LOG = logging.getLogger(__name__)


def run_choices(folders: AllowedFolders) -> list[tuple[str, str]]:
    """Returns the name and the folder of each run that may be used."""
    paths = [file.parent for file in folders.runs()]
    return list(zip(names_of(paths), map(str, paths), strict=True))


def run_dropdown(label: str, folders: AllowedFolders, name: str) -> Any:  # noqa: ANN401 - Gradio's
    """Returns a choice of runs."""
    import gradio as gr

    choices = run_choices(folders)
    first = choices[0][1] if choices else None
    return gr.Dropdown(choices, value=first, label=label, filterable=False, min_width=300, elem_id=name)


def renewed_runs(folders: AllowedFolders, chosen: object) -> Any:  # noqa: ANN401 - Gradio's
    """Returns the choice of runs as it is now; what was chosen stays."""
    import gradio as gr

    choices = run_choices(folders)
    known = [path for _, path in choices]
    if chosen in known:  # what has been chosen meanwhile stays, too
        return gr.update(choices=choices)
    return gr.update(choices=choices, value=known[0] if known else None)


def command_box(label: str, kind: str = "words") -> Any:  # noqa: ANN401 - Gradio's
    """Returns a box whose text can be copied; lines of the kind "code" are not broken."""
    import gradio as gr

    return gr.Textbox(
        label=label, interactive=False, lines=1, max_lines=20, buttons=["copy"], elem_classes=["command", kind]
    )


def drop_place(label: str, file_types: list[str], name: str, **more: Any) -> Any:  # noqa: ANN401 - Gradio's
    """Returns a place where files are dropped, or chosen by a click or by Enter."""
    import gradio as gr

    return gr.File(
        label=label, file_types=file_types, height=DROP_HEIGHT, elem_id=name, elem_classes=["drop-place"], **more
    )


def saved(upload: object) -> Path | None:
    """Returns where an upload lies, however the framework tells it."""
    return next(iter(all_saved(upload)), None)


def all_saved(uploads: object) -> list[Path]:
    """Returns where uploads lie, however the framework tells it."""
    names = [getattr(each, "name", each) for each in (uploads if isinstance(uploads, list) else [uploads])]
    return [Path(name) for name in names if isinstance(name, str) and name]


def told_errors(act: Callable[..., Any], instead: tuple[Any, ...]) -> Callable[..., Any]:
    """Returns the same with errors told in a line in the last part, and `instead` in the others.

    Errors that are not the user's are logged with all that is known of them.
    """

    def told(error: BaseException) -> tuple[Any, ...]:
        if isinstance(error, GenpriorError):
            return *instead, note(_line(error), "alarm")
        if isinstance(error, OSError):
            return *instead, note(f"{error.strerror or error}", "alarm")
        if isinstance(error, MAY_TELL) and is_lack_of_memory(error):
            return *instead, note("There is not enough memory: close other programs, or ask for less.", "alarm")
        _LOG.error("a call of the page failed", exc_info=error)
        return *instead, note(f"This went wrong, by no fault of yours: {_kind(error)}. {WHERE_MORE}", "alarm")

    if inspect.isgeneratorfunction(act):

        @wraps(act)
        def each(*given: Any) -> Iterator[Any]:  # noqa: ANN401 - what the parts hold
            try:
                yield from act(*given)
            except Exception as error:
                yield told(error)

        return each

    @wraps(act)
    def once(*given: Any) -> Any:  # noqa: ANN401 - what the parts hold
        try:
            return act(*given)
        except Exception as error:
            return told(error)

    return once


def _kind(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().rstrip(":.")


def _line(error: GenpriorError) -> str:
    about = (error.argument or "").replace("_", " ")
    return f"{about[:1].upper()}{about[1:]}: {error.message}" if about else error.message
