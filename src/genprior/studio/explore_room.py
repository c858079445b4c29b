"""The room Explore: a map of latents, the nearest training images of what is on it, and rows between two images."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genprior.errors import GenpriorError
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.explore_calls import (
    Choice,
    Explored,
    Point,
    latents_told,
    learned_by,
    map_about,
    nearest_to,
    row_between,
)
from genprior.studio.page_parts import COMPUTES, NO_RUN_YET, command_box, drop_place, run_dropdown, saved, told_errors
from genprior.studio.painted_hole import painter_asset
from genprior.studio.restore_calls import HELD_OUT, SAMPLE, UPLOAD
from genprior.studio.shown_latents import NO_MAP, map_html, map_value, nearest_html, row_html, row_value
from genprior.studio.shown_pictures import note

CHOSEN = "the picture chosen here"
STEP = (0.01, 0.3, 0.08)  # least, most and usual change from a picture to the next
# What is nearest stands beside the map, above the row: whoever chooses in the row would not see it come.
BRING_NEAREST = (  # once the page has drawn it
    "() => { setTimeout(() => document.querySelector('#map-nearest')?.scrollIntoView({ block: 'nearest' }), 300); }"
)
EMPTY = note("Press Show the map. Choose a picture of it to see its nearest training images, or to go on from there.")


@dataclass(frozen=True)
class LatentChoice:
    """The parts with which a visitor says which latent is meant."""

    kind: Any
    number: Any
    upload: Any

    def parts(self) -> list[Any]:
        """Returns them in the order in which `_choice` takes what they hold."""
        return [self.kind, self.number, self.upload]


@dataclass(frozen=True)
class ExploreParts:
    """The parts of the room, by what they hold."""

    run: Any
    latents: Any
    middle: LatentChoice
    step: Any
    go: Any
    map: Any
    tools: Any
    here: Any
    message: Any
    told: Any
    near_tools: Any
    nearest: Any
    picture: Any
    command: Any
    near_picture: Any
    near_command: Any
    ends: tuple[LatentChoice, LatentChoice]
    between: Any
    row: Any
    row_tools: Any
    row_told: Any
    row_picture: Any
    row_command: Any
    shown: Any
    joined: Any
    chosen: Any


def build_explore_room(page: Any, folders: AllowedFolders) -> ExploreParts:  # noqa: ANN401 - Gradio's Blocks
    """Lays out the room inside the page, and connects its parts."""
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            run = run_dropdown("Run", folders, "explore-run")
            latents = gr.HTML("", elem_id="explore-latents")
            middle = _choice_parts("Middle of the map", [SAMPLE, HELD_OUT, UPLOAD], "middle")
            least, most, usual = STEP
            step = gr.Slider(
                least, most, usual, step=0.01, label="Change from a picture to the next", elem_id="map-step"
            )
            go = gr.Button("Show the map", variant="primary", elem_id="map-go")
        with gr.Column(scale=3, min_width=300):
            message = gr.HTML(EMPTY, elem_id="explore-message")
            asked = _map_parts()
    parts = ExploreParts(
        run=run,
        latents=latents,
        middle=middle,
        step=step,
        go=go,
        message=message,
        shown=gr.State(None),
        joined=gr.State(None),
        chosen=gr.State(None),
        **asked,
        **_row_parts(),
    )
    _connect(page, parts, folders)
    return parts


def _choice_parts(label: str, kinds: list[str], name: str) -> LatentChoice:
    import gradio as gr

    kind = gr.Radio(kinds, value=kinds[0], label=label, elem_id=f"{name}-kind")
    number = gr.Number(0, precision=0, minimum=0, label=f"{label}: which one", info="Their number, from 0 on.")
    upload = drop_place(f"{label}: a picture", ["image"], f"{name}-upload", visible=False)
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    kind.change(
        lambda chosen: (gr.update(visible=chosen in (SAMPLE, HELD_OUT)), gr.update(visible=chosen == UPLOAD)),
        [kind],
        [number, upload],
        **hidden,
    )
    return LatentChoice(kind, number, upload)


def _cells(name: str) -> Any:  # noqa: ANN401 - Gradio's
    import gradio as gr

    return gr.HTML(
        NO_MAP,
        html_template=painter_asset("latent_map.html"),
        js_on_load=painter_asset("latent_map.js"),
        elem_id=name,
        label="Pictures of latents",
    )


def _download(label: str, name: str) -> Any:  # noqa: ANN401 - Gradio's
    import gradio as gr

    return gr.DownloadButton(label, interactive=False, elem_id=name, size="sm")


def _map_parts() -> dict[str, Any]:
    import gradio as gr

    cells = _cells("latent-map")
    with gr.Column(visible=False) as tools:
        with gr.Row():
            here = gr.Button("Go here", size="sm", interactive=False, elem_id="map-here")
            picture = _download("Download the map", "map-file")
        told, command = gr.HTML("", elem_id="map-told"), command_box("The same map at the command line")
    with gr.Column(visible=False) as near_tools:
        nearest = gr.HTML("", elem_id="map-nearest")
        near_picture = _download("Download the nearest images", "nearest-file")
        near_command = command_box("The same nearest images at the command line")
    parts = {"map": cells, "tools": tools, "here": here, "picture": picture, "told": told, "command": command}
    near = {"near_tools": near_tools, "nearest": nearest, "near_picture": near_picture, "near_command": near_command}
    return {**parts, **near}


def _row_parts() -> dict[str, Any]:
    import gradio as gr

    gr.HTML("<h3>Between two images</h3>")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=260):
            first = _choice_parts("From", [SAMPLE, HELD_OUT, UPLOAD, CHOSEN], "from")
        with gr.Column(min_width=260):
            second = _choice_parts("To", [HELD_OUT, SAMPLE, UPLOAD, CHOSEN], "to")
    between = gr.Button("Interpolate", variant="primary", elem_id="row-go")
    row = _cells("latent-row")
    with gr.Column(visible=False) as tools:
        told, picture = gr.HTML("", elem_id="row-told"), _download("Download the row", "row-file")
        command = command_box("The same row at the command line")
    return {
        "row_tools": tools,
        "ends": (first, second),
        "between": between,
        "row": row,
        "row_told": told,
        "row_picture": picture,
        "row_command": command,
    }


def _connect(page: Any, parts: ExploreParts, folders: AllowedFolders) -> None:  # noqa: ANN401 - Gradio's Blocks
    quiet: dict[str, Any] = {"show_progress": "minimal", "concurrency_id": COMPUTES, "concurrency_limit": 1}
    quiet["api_visibility"] = "private"

    def on(listen: Any, act: Any, given: list[Any], shown: list[Any]) -> Any:  # noqa: ANN401 - Gradio's events
        import gradio as gr

        return listen(told_errors(act, tuple(gr.skip() for _ in shown)), given, [*shown, parts.message], **quiet)

    told = told_errors(lambda run: (note(latents_told(folders, run)), EMPTY) if run else ("", NO_RUN_YET), ("",))
    page.load(told, [parts.run], [parts.latents, parts.message], **quiet)
    row = [parts.joined, parts.row, parts.row_told, parts.row_picture, parts.row_command, parts.row_tools]
    on(parts.run.change, _renewed(folders), [parts.run], [parts.latents, *_of_all(parts), *row])
    on(parts.go.click, _mapping(folders), [parts.run, *parts.middle.parts(), parts.step], _of_all(parts))
    on(parts.here.click, _going(folders), [parts.run, parts.chosen, parts.step], _of_all(parts))
    near = [parts.chosen, parts.here, *_of_nearest(parts)]
    on(parts.map.select, _choosing(folders), [parts.run, parts.shown], near)
    on(parts.row.select, _choosing(folders), [parts.run, parts.joined], near).then(None, js=BRING_NEAREST)
    ends = [part for end in parts.ends for part in end.parts()]
    on(parts.between.click, _joining(folders), [parts.run, parts.chosen, *ends], row)


def _of_map(parts: ExploreParts) -> list[Any]:
    shown = [parts.shown, parts.map, parts.told, parts.picture, parts.command]
    return [*shown, parts.tools, parts.chosen, parts.here]


def _of_nearest(parts: ExploreParts) -> list[Any]:
    return [parts.nearest, parts.near_picture, parts.near_command, parts.near_tools]


def _of_all(parts: ExploreParts) -> list[Any]:
    return [*_of_map(parts), *_of_nearest(parts)]


def _file(path: Path | None) -> Any:  # noqa: ANN401 - Gradio's update
    import gradio as gr

    return gr.update(value=None if path is None else str(path), interactive=path is not None)


def _shown(is_shown: bool) -> Any:  # noqa: ANN401 - Gradio's update
    import gradio as gr

    return gr.update(visible=is_shown)


def _no_map() -> tuple[Any, ...]:
    import gradio as gr

    return *_no_row(), None, gr.update(interactive=False)


def _no_nearest() -> tuple[Any, ...]:
    return "", _file(None), "", _shown(False)


def _no_row() -> tuple[Any, ...]:
    return None, {**NO_MAP, "key": "none"}, "", _file(None), "", _shown(False)


def _map_shown(found: Explored) -> tuple[Any, ...]:
    import gradio as gr

    whole = found, map_value(found), map_html(found), _file(found.picture), found.command, _shown(True)
    return *whole, None, gr.update(interactive=False), *_no_nearest(), ""


def _choice(kind: str, number: float | None, upload: object) -> Choice:
    return Choice(kind, int(number or 0), saved(upload))


def _given(chosen: Point | None) -> Point:
    if chosen is None:
        raise GenpriorError("choose one on the map first", argument="picture")
    return chosen


def _renewed(folders: AllowedFolders) -> Any:  # noqa: ANN401 - what the parts show
    def renewed(run: str) -> tuple[Any, ...]:
        return note(latents_told(folders, run or "")), *_no_map(), *_no_nearest(), *_no_row(), EMPTY

    return renewed


def _mapping(folders: AllowedFolders) -> Any:  # noqa: ANN401 - what the parts show
    def show(run: str, kind: str, number: float, upload: object, step: float) -> tuple[Any, ...]:
        path = folders.inside(run or "", "run")
        found = map_about(folders, path, _choice(kind, number, upload), step)
        threading.Thread(target=_foresee, args=(folders, path), daemon=True).start()
        return _map_shown(found)

    return show


def _foresee(folders: AllowedFolders, run: Path) -> None:
    """Loads the training images while the visitor looks at a map; what is wrong is told where they are asked for."""
    with suppress(GenpriorError, OSError, MemoryError):
        learned_by(folders, run)


def _going(folders: AllowedFolders) -> Any:  # noqa: ANN401 - what the parts show
    def go(run: str, chosen: Point | None, step: float) -> tuple[Any, ...]:
        return _map_shown(map_about(folders, folders.inside(run or "", "run"), _given(chosen), step))

    return go


def _choosing(folders: AllowedFolders) -> Any:  # noqa: ANN401 - what the parts show
    import gradio as gr

    def choose(run: str, shown: Explored | None, event: gr.SelectData) -> tuple[Any, ...]:
        point = _given(None if shown is None else shown.point(event.index))
        beside = nearest_to(folders, folders.inside(run or "", "run"), point)
        found = beside.explored
        near = nearest_html(beside), _file(found.picture), found.command, _shown(True)
        return point, gr.update(interactive=True), *near, ""

    return choose


def _joining(folders: AllowedFolders) -> Any:  # noqa: ANN401 - what the parts show
    def join(run: str, chosen: Point | None, *ends: Any) -> tuple[Any, ...]:  # noqa: ANN401
        told = [ends[:3], ends[3:]]
        points = [_given(chosen) if each[0] == CHOSEN else _choice(*each) for each in told]
        found = row_between(folders, folders.inside(run or "", "run"), points)
        return found, row_value(found), row_html(found), _file(found.picture), found.command, _shown(True), ""

    return join
