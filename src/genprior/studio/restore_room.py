"""The room Restore: an image, a hole or another damage, and what a run makes of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genprior.command_lines import command_of
from genprior.images import to_float
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.command_text import python_of
from genprior.studio.later_imports import begin_later_imports
from genprior.studio.page_parts import (
    COMPUTES,
    NO_RUN_YET,
    command_box,
    drop_place,
    run_choices,
    run_dropdown,
    saved,
    told_errors,
)
from genprior.studio.painted_hole import canvas_value, hole_of, painter_asset
from genprior.studio.restore_calls import (
    DAMAGES,
    FIRST_DRAWS,
    HELD_OUT,
    HOLE,
    SAMPLE,
    UPLOAD,
    Answer,
    Asked,
    answered,
    draw_counts,
    image_of,
    kept_question,
    kept_result,
    restore_settings,
)
from genprior.studio.shown_answers import answer_html, compared_html
from genprior.studio.shown_pictures import note, png_uri

DRAWS = {"64 draws": 64, "256 draws": 256, "1,024 draws": 1024}
ESTIMATES = {"usual": None, "mean of the draws": "mean", "median of the draws": "median", "most likely": "map"}
NO_RUN = "no other run"
EMPTY = note("Take an image, paint over a part of it, and press Restore.")
NO_PICTURE = note("Drop a picture of yours, or choose one.")


@dataclass(frozen=True)
class RestoreParts:
    """The parts of the room, by what they hold."""

    run: Any
    kind: Any
    number: Any
    upload: Any
    sent: Any
    canvas: Any
    damage: Any
    strength: Any
    noise: Any
    estimate: Any
    draws: Any
    other: Any
    go: Any
    taken: Any
    message: Any
    answer: Any
    result: Any
    mask: Any
    command: Any
    python: Any


def build_restore_room(page: Any, folders: AllowedFolders) -> RestoreParts:  # noqa: ANN401 - Gradio's Blocks
    """Lays out the room inside the page, and connects its parts."""
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            asked = _asking(folders)
        with gr.Column(scale=3, min_width=300):
            answered_by = _answering()
    parts = RestoreParts(taken=gr.State(None), sent=gr.State(None), **asked, **answered_by)
    _connect(page, parts, folders)
    return parts


def renewed_others(folders: AllowedFolders, chosen: object) -> Any:  # noqa: ANN401 - Gradio's
    """Returns the choice of a run to compare with as it is now; what was chosen stays."""
    import gradio as gr

    choices = _others(folders)
    if chosen in [path for _, path in choices]:  # what has been chosen meanwhile stays, too
        return gr.update(choices=choices)
    return gr.update(choices=choices, value=NO_RUN)


def _others(folders: AllowedFolders) -> list[tuple[str, str]]:
    return [(NO_RUN, NO_RUN), *run_choices(folders)]


def _asking(folders: AllowedFolders) -> dict[str, Any]:
    import gradio as gr

    run, kind, number, upload = _question(folders)
    canvas = gr.HTML(
        canvas_value("", 0, 0, "No image yet"),
        html_template=painter_asset("painter.html"),
        js_on_load=painter_asset("painter.js"),
        elem_id="painter",
        label="Image",
    )
    damage, strength, noise = _damages()
    go = gr.Button("Restore", variant="primary", elem_id="restore-go")
    estimate, draws, other = _wishes(folders)
    parts = {"run": run, "kind": kind, "number": number, "upload": upload, "canvas": canvas, "damage": damage, "go": go}
    return {**parts, "strength": strength, "noise": noise, "estimate": estimate, "draws": draws, "other": other}


def _answering() -> dict[str, Any]:
    import gradio as gr

    message, answer = gr.HTML(EMPTY, elem_id="restore-message"), gr.HTML("", elem_id="restore-answer")
    with gr.Row():
        result = gr.DownloadButton("Download the result", interactive=False, elem_id="result-file", size="sm")
        mask = gr.DownloadButton("Download the mask", interactive=False, elem_id="mask-file", size="sm")
    command, python = command_box("The same at the command line"), command_box("The same in Python", "code")
    return {
        "message": message,
        "answer": answer,
        "result": result,
        "mask": mask,
        "command": command,
        "python": python,
    }


def _question(folders: AllowedFolders) -> tuple[Any, Any, Any, Any]:
    import gradio as gr

    run = run_dropdown("Run", folders, "restore-run")
    kind = gr.Radio([HELD_OUT, SAMPLE, UPLOAD], value=HELD_OUT, label="Image")
    number = gr.Number(0, precision=0, minimum=0, label="Which one", info="Their number, from 0 on.")
    upload = drop_place("A picture of mine", ["image"], "picture-upload", visible=False)
    return run, kind, number, upload


def _damages() -> tuple[Any, Any, Any]:
    import gradio as gr

    damage = gr.Dropdown([HOLE, *DAMAGES], value=HOLE, label="Damage", filterable=False, elem_id="damage")
    strength = gr.Slider(0, 1, 0.5, label="Strength", visible=False)
    noise = gr.Slider(0, 0.5, 0.0, step=0.01, label="Noise on top, standard deviation", visible=False)
    return damage, strength, noise


def _wishes(folders: AllowedFolders) -> tuple[Any, Any, Any]:
    import gradio as gr

    with gr.Row():
        estimate = gr.Dropdown(list(ESTIMATES), value="usual", label="Estimate", filterable=False, min_width=140)
        draws = gr.Dropdown(
            list(DRAWS), value="64 draws", label="Draws", filterable=False, elem_id="draws", min_width=140
        )
    other = gr.Dropdown(_others(folders), value=NO_RUN, label="Compare with", filterable=False, elem_id="compare-with")
    return estimate, draws, other


def _connect(page: Any, parts: RestoreParts, folders: AllowedFolders) -> None:  # noqa: ANN401 - Gradio's Blocks
    import gradio as gr

    def take(run: str, kind: str, number: float, upload: str | None) -> tuple[Any, Any, str]:
        if not run:
            return gr.skip(), gr.skip(), NO_RUN_YET
        if kind == UPLOAD and saved(upload) is None:
            return gr.skip(), gr.skip(), NO_PICTURE
        image = image_of(folders, folders.inside(run or "", "run"), kind, int(number or 0), saved(upload))
        height, width = image.shape[1:]
        words = f"{kind[:1].upper()}{kind[1:]}, {width} by {height} pixels"
        begin_later_imports()
        return canvas_value(png_uri(to_float(image)), height, width, words), image, EMPTY

    def sent(run: str, kind: str, number: float, upload: object) -> tuple[Any, ...]:
        """Takes a picture, and leaves its place free for the next one."""
        path = str(saved(upload) or "")
        canvas, image, told = take(run, kind, number, path)
        return canvas, image, None, path, told

    quiet: dict[str, Any] = {"show_progress": "minimal", "concurrency_id": COMPUTES, "api_visibility": "private"}
    quiet["concurrency_limit"] = 1
    taking = told_errors(take, (gr.skip(), gr.skip()))
    question, shown = [parts.run, parts.kind, parts.number, parts.sent], [parts.canvas, parts.taken, parts.message]
    page.load(taking, question, shown, **quiet)
    for part in (parts.run, parts.kind, parts.number):
        part.change(taking, question, shown, **quiet)
    sending = told_errors(sent, (gr.skip(), gr.skip(), None, gr.skip()))
    received = [parts.canvas, parts.taken, parts.upload, parts.sent, parts.message]
    parts.upload.upload(sending, [*question[:3], parts.upload], received, **quiet)
    parts.kind.change(
        lambda kind: (gr.update(visible=kind == UPLOAD), gr.update(visible=kind != UPLOAD)),
        [parts.kind],
        [parts.upload, parts.number],
        **{**quiet, "show_progress": "hidden"},
    )
    parts.damage.change(
        _sliders_of, [parts.damage], [parts.strength, parts.noise], **{**quiet, "show_progress": "hidden"}
    )
    asked = [parts.run, parts.taken, parts.canvas, parts.damage, parts.strength, parts.noise, parts.estimate]
    outputs = [parts.answer, parts.result, parts.mask, parts.command, parts.python, parts.message]
    answers = told_errors(_restoring(folders), tuple(gr.skip() for _ in outputs[:-1]))
    parts.go.click(answers, [*asked, parts.draws, parts.other], outputs, **quiet)


def _sliders_of(damage: str) -> tuple[Any, Any]:
    """What the sliders of strength and noise become."""
    import gradio as gr

    if damage not in DAMAGES:
        return gr.update(visible=False), gr.update(visible=False)
    own = DAMAGES[damage]
    slider = gr.update(
        visible=True,
        minimum=own.least,
        maximum=own.most,
        step=own.step,
        value=own.usual,
        label=own.label.capitalize(),
    )
    return slider, gr.update(visible=not own.noise)


def _restoring(folders: AllowedFolders) -> Any:  # noqa: ANN401 - a generator of what the parts show
    import gradio as gr

    def restore(
        run: str, image: Tensor | None, drawn: object, damage: str, strength: float, noise: float, *wishes: str
    ) -> Iterator[tuple[Any, ...]]:
        estimate, draws, other = wishes
        if image is None:
            yield "", *_no_files(), "", "", note("Take an image first.", "alarm")
            return
        missing = hole_of(drawn, *image.shape[1:]) if damage == HOLE else None
        files = kept_question(folders, image, missing)
        asked = Asked(damage, strength, noise, ESTIMATES.get(estimate))
        path, most = folders.inside(run, "run"), DRAWS.get(draws, FIRST_DRAWS)
        for count in draw_counts(path, most):
            answer = answered(restore_settings(path, files, asked, count))
            yield *_shown(answer, files.get("mask"), count == most), ""
        if other != NO_RUN:
            yield *(gr.skip() for _ in range(5)), note("The second run is being asked.")
            second = answered(restore_settings(folders.inside(other, "run"), files, asked, most))
            whole = answer_html(answer, True) + compared_html(answer, second)
            yield whole, *_shown(answer, files.get("mask"), True)[1:], ""

    return restore


def _shown(answer: Answer, mask: Path | None, is_last: bool) -> tuple[Any, ...]:
    import gradio as gr

    result = kept_result(answer)
    out = {"out": result.with_name("restored")}
    return (
        answer_html(answer, is_last),
        gr.update(value=str(result), interactive=True),
        gr.update(value=None if mask is None else str(mask), interactive=mask is not None),
        command_of("restore", answer.settings, out),
        python_of(answer.settings),
    )


def _no_files() -> tuple[Any, Any]:
    import gradio as gr

    return gr.update(interactive=False), gr.update(interactive=False)
