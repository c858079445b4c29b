"""The page: its rooms as tabs, and how it looks."""

from typing import Any

from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.explore_room import build_explore_room
from genprior.studio.page_parts import renewed_runs, run_choices
from genprior.studio.painted_hole import painter_asset
from genprior.studio.reports_room import build_reports_room
from genprior.studio.restore_room import build_restore_room, renewed_others
from genprior.studio.train_room import TITLE as TRAIN
from genprior.studio.train_room import build_train_room

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

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>genprior studio</h1>", elem_id="title")
        with gr.Tabs(selected="restore" if run_choices(folders) else "train", elem_id="rooms") as rooms:
            with gr.Tab("Restore", id="restore") as restoring:
                restore = build_restore_room(page, folders)
            with gr.Tab("Explore", id="explore") as exploring:
                explore = build_explore_room(page, folders)
            with gr.Tab(TRAIN, id="train"):
                build_train_room(page, rooms, folders)
            with gr.Tab("Study and reports", id="reports") as reports:
                build_reports_room(reports, folders)
        of_restore, of_explore = [restore.run, restore.other], [explore.run]
        _offer_new_runs(folders, page.load, [*of_restore, *of_explore], restore.other)
        _offer_new_runs(folders, restoring.select, of_restore, restore.other)
        _offer_new_runs(folders, exploring.select, of_explore, restore.other)
    return page


def _offer_new_runs(folders: AllowedFolders, moment: Any, choices: list[Any], other: Any) -> None:  # noqa: ANN401
    """Offers what has been trained meanwhile, when the page is opened or a room is entered; `other` may be none."""

    def renewed(*chosen: str) -> Any:  # noqa: ANN401 - Gradio's updates
        pairs = zip(choices, chosen, strict=True)
        updates = [(renewed_others if each is other else renewed_runs)(folders, run) for each, run in pairs]
        return updates if len(updates) > 1 else updates[0]

    moment(renewed, choices, choices, show_progress="hidden", api_visibility="private")


def look() -> dict[str, Any]:
    """Returns colours, fonts and styles, as the framework takes them; nothing of them comes from elsewhere."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="blue", secondary_hue="blue", neutral_hue="slate", font=list(FONTS), font_mono=list(MONOSPACED)
    ).set(**COLOURS)
    return {"theme": theme, "css": painter_asset("studio_page.css")}
