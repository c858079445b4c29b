"""The room Study and reports: the pages that commands have written, without their scripts."""

import html
import shlex
from pathlib import Path
from typing import Any

from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.page_parts import command_box, renewed_runs, run_dropdown, told_errors
from genprior.studio.report_files import page_address
from genprior.studio.shown_pictures import note
from genprior.studio.training_processes import looked_at

SOME = note("Choose a page, or write the report of a run.")
NONE_YET = note("No pages yet. Write a report of a run here, or a study with genprior study.")


def build_reports_room(tab: Any, folders: AllowedFolders) -> None:  # noqa: ANN401 - Gradio's Tab
    """Lays out the room inside its tab, and connects its parts."""
    import gradio as gr

    with gr.Row():
        pages = gr.Dropdown(
            page_choices(folders), value=None, label="Page", filterable=False, min_width=300, elem_id="pages"
        )
        run = run_dropdown("Run", folders, "report-run")
        write = gr.Button("Write its report", elem_id="report-go")
    first = SOME if page_choices(folders) else NONE_YET
    message, command = gr.HTML(first, elem_id="report-message"), command_box("The same at the command line")
    shown = gr.HTML("", elem_id="report-page")

    def report(path: str) -> tuple[Any, ...]:
        words = ["genprior", "report", str(folders.inside(path or "", "run"))]
        said = looked_at(words, folders.home)
        written = str(Path(words[-1]) / "report.html")
        pages_now = gr.update(choices=page_choices(folders), value=written)
        return pages_now, page_html(folders, written), shlex.join(words), note(said)

    quiet: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
    instead = (gr.skip(), gr.skip(), gr.skip())
    write.click(told_errors(report, instead), [run], [pages, shown, command, message], **quiet)
    showing = told_errors(lambda path: (page_html(folders, path), "", ""), ("", ""))
    pages.input(showing, [pages], [shown, command, message], **quiet)  # by hand: no command of another page stays
    tab.select(
        lambda chosen: (gr.update(choices=page_choices(folders)), renewed_runs(folders, chosen)),
        [run],
        [pages, run],
        **quiet,
    )


def page_choices(folders: AllowedFolders) -> list[tuple[str, str]]:
    """Returns the name and the place of each page; where two would be called the same, all that tells them apart."""
    pages = folders.pages()
    short = ["/".join(path.parts[-2:]) for path in pages]
    names = [
        name if short.count(name) == 1 else _below_root(folders, path) for name, path in zip(short, pages, strict=True)
    ]
    return list(zip(names, map(str, pages), strict=True))


def _below_root(folders: AllowedFolders, path: Path) -> str:
    return next(path.relative_to(root).as_posix() for root in folders.roots if root in path.parents)


def page_html(folders: AllowedFolders, path: str | None) -> str:
    """Returns a frame that shows a page; empty where none is chosen."""
    if not path:
        return ""
    file = folders.inside(path, "page")
    stamp = int(file.stat().st_mtime) if file.is_file() else 0  # a page that was written anew is fetched anew
    address = html.escape(f"{page_address(folders, file)}?{stamp}")
    name = html.escape(Path(path).name)
    link = f'<p class="note"><a href="{address}" target="_blank">Open {name} alone</a></p>'
    return f'{link}<iframe class="page" src="{address}" title="{name}"></iframe>'
