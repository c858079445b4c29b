"""The room Train: images, a family with its loss, a budget; and what is to be seen of runs while they learn."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genprior.data.image_files import SUFFIXES
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.checked_uploads import keep_images
from genprior.studio.page_parts import all_saved, command_box, drop_place, run_choices, told_errors
from genprior.studio.shown_pictures import note
from genprior.studio.shown_training import sheet_html, training_html
from genprior.studio.training_choices import (
    AS_PRESET,
    AUTO,
    NAMED,
    chosen_values,
    family_choices,
    named_choices,
    preset_choices,
    presets_anew,
)
from genprior.studio.training_processes import Trainings, looked_at
from genprior.training.losses import LOSSES

USUAL = "gan"  # family
TITLE = "Train"
SECONDS = 3.0  # between two looks at runs
MOST_SHOWN = 2
UPLOADS = "uploads"
NEXT = "Look at them, or choose a family and press Train."
READING = note("The newest run is being read.")
NONE_SHOWN = note("No run is shown. Press Train, or choose one under Show.")


@dataclass(frozen=True)
class TrainParts:
    """The parts of the room, by what they hold."""

    images: Any
    upload: Any
    look: Any
    family: Any
    preset: Any
    more_choices: Any
    loss: Any
    penalty: Any
    minutes: Any
    name: Any
    start: Any
    shown: Any
    stop: Any
    resume: Any
    more: Any
    other: Any
    fork: Any
    message: Any
    told: Any
    sheet: Any
    command: Any
    watched: Any
    timer: Any


def build_train_room(rooms: Any, trainings: Trainings) -> TrainParts:  # noqa: ANN401 - Gradio's Tabs
    """Lays out the room inside the current one of the rooms, and connects its parts."""
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            wished = _wishing()
        with gr.Column(scale=3, min_width=300):
            watching = _watching(trainings.folders)
    is_first = not run_choices(trainings.folders)  # then this room is open at the start
    parts = TrainParts(timer=gr.Timer(SECONDS, active=is_first), **wished, **watching)
    _connect_images(parts, trainings)
    _connect_training(parts, trainings)
    _connect_watching(rooms, parts, trainings)
    return parts


def _wishing() -> dict[str, Any]:
    import gradio as gr

    info = "A name such as digits or mnist, a folder, or a zip."
    images = gr.Textbox("digits", label="Images", info=info, elem_id="images")
    upload = drop_place("Your own: a zip, or pictures", [".zip", *SUFFIXES], "zip-upload", file_count="multiple")
    look = gr.Button("Look at them", size="sm", elem_id="look-at")
    choices = _choices()
    start = gr.Button("Train", variant="primary", elem_id="train-go")
    command = command_box("The same at the command line")
    return {"images": images, "upload": upload, "look": look, **choices, "start": start, "command": command}


def _watching(folders: AllowedFolders) -> dict[str, Any]:
    import gradio as gr

    message = gr.HTML("", elem_id="train-message")
    told = gr.Textbox(
        label="What genprior data says", visible=False, interactive=False, lines=8, elem_classes=["command", "code"]
    )
    sheet = gr.HTML("", elem_id="looked-at")
    runs = run_choices(folders)
    shown = gr.Dropdown(runs, value=[], label="Show", multiselect=True, max_choices=MOST_SHOWN, elem_id="shown-runs")
    with gr.Row(elem_classes=["low"]):
        stop = gr.Button("Stop", size="sm", elem_id="train-stop")
        resume = gr.Button("Resume", size="sm", elem_id="train-resume")
        more = gr.Number(0, minimum=0, label="Minutes in all (0: as before)", min_width=120)
    with gr.Row(elem_classes=["low"]):
        other = gr.Dropdown(list(LOSSES), value="non-saturating", label="Another loss", filterable=False, min_width=240)
        fork = gr.Button("Fork it here with this loss", size="sm", elem_id="train-fork")
    parts = {"message": message, "told": told, "sheet": sheet, "shown": shown, "stop": stop, "resume": resume}
    return {**parts, "more": more, "other": other, "fork": fork, "watched": gr.HTML("", elem_id="watched")}


def _choices() -> dict[str, Any]:
    import gradio as gr

    family = gr.Radio(family_choices(), value=USUAL, label="Family", elem_id="family", elem_classes=["choices"])
    presets = preset_choices(USUAL, None, is_own=False)
    info = "The one that fits the images stands first."
    preset = gr.Dropdown(presets, value=presets[0], label="Preset", info=info, filterable=False, elem_id="preset")
    named: dict[str, Any] = {}
    with gr.Accordion(" and ".join(NAMED).capitalize(), open=False, elem_id="more-choices") as more:
        for name in NAMED:
            entries = named_choices(USUAL, name)
            named[name] = gr.Radio(entries, value="", label=name.capitalize(), elem_id=name, elem_classes=["choices"])
    minutes = gr.Number(2.0, minimum=0.01, label="Minutes", elem_id="minutes")
    name = gr.Textbox("my-run", label="Name of the run", elem_id="run-name")
    return {"family": family, "preset": preset, "more_choices": more, **named, "minutes": minutes, "name": name}


def offered_parts(family: str, setting: str) -> dict[str, Any]:
    """Returns what the choice of a setting's entries becomes; of a family without that setting it is hidden.

    A hidden choice is sent, too: what it holds must be among what it offers, or the framework refuses the call.
    """
    import gradio as gr

    entries = named_choices(family, setting)
    update: dict[str, Any] = gr.update(choices=entries or [(AS_PRESET, "")], value="", visible=bool(entries))
    return update


def _connect_images(parts: TrainParts, trainings: Trainings) -> None:
    import gradio as gr

    folders = trainings.folders
    quiet: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}

    def take(uploads: object) -> tuple[None, str, str]:
        kept, count = keep_images(all_saved(uploads), folders.home / UPLOADS)
        return None, str(kept), note(f"{count:,} pictures in {kept.name}. {NEXT}")

    def look(images: str) -> tuple[Any, str, str, str]:
        picture = folders.home / UPLOADS / "looked-at.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.unlink(missing_ok=True)  # what is shown is of these images
        words = ["genprior", "data", folders.data(images), "--out", str(picture), "--no-timing", "--overwrite"]
        said = looked_at(words, folders.home)
        return gr.update(value=said, visible=True), sheet_html(picture), shlex.join(words), ""

    def offer(images: str, family: str, last: list[str]) -> tuple[Any, ...]:
        presets = presets_anew(folders, [images, family], last)
        if presets is None:  # the field was only left
            return tuple(gr.skip() for _ in offered)
        preset = gr.update(choices=presets, value=presets[0] if presets else None, visible=bool(presets))
        named = [offered_parts(family, name) for name in NAMED]
        own = [name for name, each in zip(NAMED, named, strict=True) if each["visible"]]
        return preset, gr.update(label=" and ".join(own).capitalize(), visible=bool(own)), *named, [images, family]

    taken = [parts.upload, parts.images, parts.message]
    last = gr.State([parts.images.value, USUAL])
    wishes = [parts.images, parts.family, last]
    offered = [parts.preset, parts.more_choices, parts.loss, parts.penalty, last]
    hidden = {**quiet, "show_progress": "hidden"}
    parts.upload.upload(told_errors(take, (None, gr.skip())), [parts.upload], taken, **quiet).then(
        offer, wishes, offered, **hidden
    )
    for listen in (parts.family.change, parts.images.blur, parts.images.submit):
        listen(offer, wishes, offered, **hidden)
    looking = told_errors(look, (gr.skip(), "", gr.skip()))
    seen = [parts.told, parts.sheet, parts.command, parts.message]
    parts.look.click(looking, [parts.images], seen, concurrency_limit=1, **quiet)


def _connect_training(parts: TrainParts, trainings: Trainings) -> None:
    import gradio as gr

    folders = trainings.folders
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def begin(images: str, family: str, preset: str, loss: str, penalty: str, *more: Any) -> tuple[Any, ...]:  # noqa: ANN401
        minutes, name = more
        out = folders.new(name)
        if family == AUTO:
            words = trainings.auto_command(images, minutes, out)
        else:
            values = {
                "family": family,
                "data": images,
                "minutes": minutes,
                **chosen_values(family, preset, loss, penalty),
            }
            words = trainings.command(trainings.config(values), out)
        return _shown_first(folders, out), gr.update(visible=False), "", trainings.start(words, out), ""

    def stop(shown: list[str]) -> str:
        for run in _chosen(folders, shown):
            trainings.stop(run)
        return note("Asked to save and end.")

    def resume(shown: list[str], minutes: float) -> tuple[str, str]:
        (run, *_) = _chosen(folders, shown)
        return trainings.start(trainings.resume_command(run, minutes), run), ""

    def fork(shown: list[str], loss: str, minutes: float) -> tuple[Any, str, str]:
        (run, *_) = _chosen(folders, shown)
        out = folders.new(f"{run.name}-{loss}")
        command = trainings.start(trainings.fork_command(run, loss, out, minutes), out)
        return gr.update(choices=[*run_choices(folders), (out.name, str(out))], value=[str(run), str(out)]), command, ""

    wishes = [parts.images, parts.family, parts.preset, parts.loss, parts.penalty, parts.minutes, parts.name]
    skipped = (gr.skip(), gr.skip())
    outputs = [parts.shown, parts.command, parts.message]
    begun = [parts.shown, parts.told, parts.sheet, *outputs[1:]]  # the images make room for what is learned of them
    parts.start.click(told_errors(begin, (*skipped, *skipped)), wishes, begun, **quiet)
    parts.stop.click(told_errors(lambda shown: (stop(shown),), ()), [parts.shown], [parts.message], **quiet)
    parts.resume.click(told_errors(resume, (gr.skip(),)), [parts.shown, parts.more], outputs[1:], **quiet)
    parts.fork.click(told_errors(fork, skipped), [parts.shown, parts.other, parts.more], outputs, **quiet)


def _connect_watching(rooms: Any, parts: TrainParts, trainings: Trainings) -> None:  # noqa: ANN401 - Gradio's Tabs
    """Shows the chosen runs now and then, while somebody looks: drawing their samples takes the processor's time."""
    import gradio as gr

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def entered(shown: list[str], event: gr.SelectData) -> tuple[Any, Any, Any]:
        if event.value != TITLE:
            return gr.Timer(active=False), gr.skip(), gr.skip()
        offered = offered_runs(trainings, shown)
        return gr.Timer(active=True), offered, gr.skip() if shown or not offered["value"] else READING

    def looked(shown: list[str], event: gr.SelectData) -> tuple[Any]:
        return watch(shown) if event.value == TITLE and shown else (gr.skip(),)

    def html_of(shown: list[str] | None) -> tuple[str]:
        return (training_html(trainings, _chosen(trainings.folders, shown)) if shown else NONE_SHOWN,)

    watch = told_errors(html_of, ())
    rooms.select(entered, [parts.shown], [parts.timer, parts.shown, parts.watched], **quiet)
    rooms.select(looked, [parts.shown], [parts.watched], **quiet)  # apart: drawing takes longer than naming runs
    parts.timer.tick(watch, [parts.shown], [parts.watched], concurrency_limit=1, **quiet)
    parts.shown.change(watch, [parts.shown], [parts.watched], **quiet)


def offered_runs(trainings: Trainings, shown: list[str]) -> Any:  # noqa: ANN401 - Gradio's
    """Returns the choice of runs as it is now, with those that have just begun; where none is shown the newest is.

    What is shown must be among what is offered, or the framework refuses all calls that send it.
    """
    import gradio as gr

    runs = run_choices(trainings.folders)
    known = [path for _, path in runs]
    begun = [path for path in dict.fromkeys([*map(str, trainings.running()), *shown]) if path not in known]
    offered = [*((Path(path).name, path) for path in begun), *runs]
    return gr.update(choices=offered, value=shown or [path for _, path in offered[:1]])


def _shown_first(folders: AllowedFolders, run: Path) -> Any:  # noqa: ANN401 - Gradio's
    """The choice of runs with a new one, which need not be there yet, alone."""
    import gradio as gr

    return gr.update(choices=[*run_choices(folders), (run.name, str(run))], value=[str(run)])


def _chosen(folders: AllowedFolders, shown: list[str] | None) -> list[Path]:
    from genprior.errors import GenpriorError

    if not shown:
        raise GenpriorError("choose a run first", argument="run")
    return [folders.inside(path, "run") for path in shown[:MOST_SHOWN]]
