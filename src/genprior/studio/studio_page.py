"""The page: its rooms as tabs, and how it looks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.explore_room import build_explore_room
from genprior.studio.page_parts import renewed_runs, run_choices
from genprior.studio.painted_hole import painter_asset
from genprior.studio.reports_room import build_reports_room
from genprior.studio.restore_room import build_restore_room, renewed_others
from genprior.studio.train_room import TITLE as TRAIN
from genprior.studio.train_room import build_train_room, offered_runs
from genprior.studio.training_processes import Trainings

TITLE = "genprior studio"
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONOSPACED = ("ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace")

COLOURS = {  # where the framework's own are too faint to read: at least 4.5 to 1 on their ground
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_hover_dark": "*primary_800",
    "button_primary_text_color": "white",
    "button_primary_text_color_dark": "white",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "*neutral_200",
    "block_label_text_color": "*neutral_700",
    "block_label_text_color_dark": "*neutral_200",
}


def studio_page(folders: AllowedFolders) -> Any:  # noqa: ANN401 - Gradio's Blocks
    """Returns the page for what may be touched."""
    import gradio as gr

    trainings = Trainings(folders)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>genprior studio</h1>", elem_id="title")
        with gr.Tabs(selected="restore" if run_choices(folders) else "train", elem_id="rooms") as rooms:
            with gr.Tab("Restore", id="restore") as restoring:
                restore = build_restore_room(page, folders)
            with gr.Tab("Explore", id="explore") as exploring:
                explore = build_explore_room(page, folders)
            with gr.Tab(TRAIN, id="train"):
                train = build_train_room(rooms, trainings)
            with gr.Tab("Study and reports", id="reports") as reports:
                build_reports_room(reports, folders)
        of_restore = {restore.run: partial(renewed_runs, folders), restore.other: partial(renewed_others, folders)}
        of_explore = {explore.run: partial(renewed_runs, folders)}
        # where the room Train is open at the start, nobody enters it
        of_train = {train.shown: partial(offered_runs, trainings)} if train.timer.active else {}
        _offer_new_runs(page.load, of_restore | of_explore | of_train)
        _offer_new_runs(restoring.select, of_restore)
        _offer_new_runs(exploring.select, of_explore)
    return page


def _offer_new_runs(moment: Any, choices: Mapping[Any, Callable[[Any], Any]]) -> None:  # noqa: ANN401 - Gradio's event
    """Offers what has been trained meanwhile, when the page is opened or a room is entered.

    Arguments:
        moment: Of the page.
        choices: By the part that offers, what it becomes, of what is chosen in it.
    """

    def renewed(*chosen: object) -> Any:  # noqa: ANN401 - Gradio's updates
        updates = [renew(run) for renew, run in zip(choices.values(), chosen, strict=True)]
        return updates if len(updates) > 1 else updates[0]

    moment(renewed, [*choices], [*choices], show_progress="hidden", api_visibility="private")


def look() -> dict[str, Any]:
    """Returns colours, fonts and styles, as the framework takes them; nothing of them comes from elsewhere."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="blue", secondary_hue="blue", neutral_hue="slate", font=list(FONTS), font_mono=list(MONOSPACED)
    ).set(**COLOURS)
    return {"theme": theme, "css": painter_asset("studio_page.css")}
