"""The room Train: images, a family with its loss, a budget; and what is to be seen of runs while they learn."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genprior.data.image_files import SUFFIXES
from genprior.families import FAMILIES
from genprior.studio.allowed_folders import AllowedFolders
from genprior.studio.checked_uploads import checked_archive, keep_upload
from genprior.studio.page_parts import command_box, run_choices, saved, told_errors
from genprior.studio.shown_pictures import note
from genprior.studio.shown_training import training_html
from genprior.studio.training_processes import Trainings, looked_at
from genprior.training.losses import LOSSES
from genprior.training.penalties import PENALTIES

NO_CHANGE = "as the preset has it"
TITLE = "Train"
SECONDS = 3.0  # between two looks at runs
MOST_SHOWN = 2
UPLOADS = "uploads"
NONE_SHOWN = note("No run is shown. Press Train, or choose one under Show.")


@dataclass(frozen=True)
class TrainParts:
    """The parts of the room, by what they hold."""

    images: Any
    upload: Any
    look: Any
    family: Any
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
    command: Any
    watched: Any
    timer: Any


def first_sentence(entry: object) -> str:
    """Returns the first line of what an entry of a table says of itself."""
    return (entry.__doc__ or "").strip().partition("\n")[0]


def build_train_room(rooms: Any, folders: AllowedFolders) -> TrainParts:  # noqa: ANN401 - Gradio's Tabs
    """Lays out the room inside the current one of the rooms, and connects its parts."""
    import gradio as gr

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            wished = _wishing()
        with gr.Column(scale=3, min_width=300):
            watching = _watching(folders)
    parts = TrainParts(timer=gr.Timer(SECONDS, active=False), **wished, **watching)
    trainings = Trainings(folders)
    _connect_images(parts, trainings)
    _connect_training(parts, trainings)
    _connect_watching(rooms, parts, trainings)
    return parts


def _wishing() -> dict[str, Any]:
    import gradio as gr

    info = "A name such as digits or mnist, a folder, or a zip."
    images = gr.Textbox("digits", label="Images", info=info, elem_id="images")
    with gr.Row():
        upload = gr.UploadButton("Upload a zip", file_types=[".zip"], type="filepath", size="sm", elem_id="zip-upload")
        look = gr.Button("Look at them", size="sm", elem_id="look-at")
    family, loss, penalty, minutes, name = _choices()
    start = gr.Button("Train", variant="primary", elem_id="train-go")
    command = command_box("The same at the command line")
    parts = {"images": images, "upload": upload, "look": look, "family": family, "loss": loss, "penalty": penalty}
    return {**parts, "minutes": minutes, "name": name, "start": start, "command": command}


def _watching(folders: AllowedFolders) -> dict[str, Any]:
    import gradio as gr

    message = gr.HTML("", elem_id="train-message")
    told = gr.Textbox(
        label="What genprior data says", visible=False, interactive=False, lines=8, elem_classes=["command"]
    )
    runs = run_choices(folders)
    first = [path for _, path in runs[:1]]
    shown = gr.Dropdown(runs, value=first, label="Show", multiselect=True, max_choices=MOST_SHOWN, elem_id="shown-runs")
    with gr.Row(elem_classes=["low"]):
        stop = gr.Button("Stop", size="sm", elem_id="train-stop")
        resume = gr.Button("Resume", size="sm", elem_id="train-resume")
        more = gr.Number(0, minimum=0, label="Minutes in all (0: as before)", min_width=120)
    with gr.Row(elem_classes=["low"]):
        other = gr.Dropdown(list(LOSSES), value="non-saturating", label="Another loss", filterable=False)
        fork = gr.Button("Fork it here with this loss", size="sm", elem_id="train-fork")
    parts = {"message": message, "told": told, "shown": shown, "stop": stop, "resume": resume, "more": more}
    return {**parts, "other": other, "fork": fork, "watched": gr.HTML("", elem_id="watched")}


def _choices() -> tuple[Any, Any, Any, Any, Any]:
    import gradio as gr

    families = [(f"{name}: {config.HELP}", name) for name, config in FAMILIES.items()]
    losses = [(NO_CHANGE, ""), *((f"{name}: {first_sentence(entry)}", name) for name, entry in LOSSES.items())]
    penalties = [(NO_CHANGE, ""), *((f"{name}: {first_sentence(entry)}", name) for name, entry in PENALTIES.items())]
    family = gr.Dropdown(families, value="gan", label="Family", filterable=False, elem_id="family")
    loss = gr.Dropdown(losses, value="", label="Loss, of a GAN", filterable=False)
    penalty = gr.Dropdown(penalties, value="", label="Penalty, of a GAN", filterable=False)
    minutes = gr.Number(2.0, minimum=0.01, label="Minutes", elem_id="minutes")
    name = gr.Textbox("my-run", label="Name of the run", elem_id="run-name")
    return family, loss, penalty, minutes, name


def _connect_images(parts: TrainParts, trainings: Trainings) -> None:
    import gradio as gr

    folders = trainings.folders
    quiet: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}

    def take(upload: str | None) -> tuple[str, str]:
        path = saved(upload)
        if path is None:
            return gr.skip(), ""
        count = checked_archive(path)
        kept = keep_upload(path, folders.home / UPLOADS)
        return str(kept), note(f"{count:,} pictures ({', '.join(SUFFIXES)}) in {kept.name}")

    def look(images: str) -> tuple[Any, str, str]:
        place = folders.home / UPLOADS
        place.mkdir(parents=True, exist_ok=True)
        words = ["genprior", "data", folders.data(images), "--out", str(place / "looked-at.png"), "--overwrite"]
        return gr.update(value=looked_at(words, folders.home), visible=True), shlex.join(words), ""

    parts.upload.upload(told_errors(take, (gr.skip(),)), [parts.upload], [parts.images, parts.message], **quiet)
    looking = told_errors(look, (gr.skip(), gr.skip()))
    parts.look.click(looking, [parts.images], [parts.told, parts.command, parts.message], concurrency_limit=1, **quiet)


def _connect_training(parts: TrainParts, trainings: Trainings) -> None:
    import gradio as gr

    folders = trainings.folders
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def begin(images: str, family: str, loss: str, penalty: str, minutes: float, name: str) -> tuple[Any, str, str]:
        players = {"loss": loss, "penalty": (penalty,) if penalty else ()} if family == "gan" else {}
        chosen = {key: value for key, value in players.items() if value}
        config = trainings.config({"family": family, "data": images, "minutes": minutes, **chosen})
        out = folders.new(name)
        return _shown_first(folders, out), trainings.start(trainings.command(config, out), out), ""

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

    wishes = [parts.images, parts.family, parts.loss, parts.penalty, parts.minutes, parts.name]
    skipped = (gr.skip(), gr.skip())
    outputs = [parts.shown, parts.command, parts.message]
    parts.start.click(told_errors(begin, skipped), wishes, outputs, **quiet)
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
        return gr.Timer(active=True), gr.update(choices=run_choices(trainings.folders)), watch(shown)[0]

    def html_of(shown: list[str] | None) -> tuple[str]:
        return (training_html(trainings, _chosen(trainings.folders, shown)) if shown else NONE_SHOWN,)

    watch = told_errors(html_of, ())
    rooms.select(entered, [parts.shown], [parts.timer, parts.shown, parts.watched], **quiet)
    parts.timer.tick(watch, [parts.shown], [parts.watched], concurrency_limit=1, **quiet)
    parts.shown.change(watch, [parts.shown], [parts.watched], **quiet)


def _shown_first(folders: AllowedFolders, run: Path) -> Any:  # noqa: ANN401 - Gradio's
    """The choice of runs with a new one, which need not be there yet, alone."""
    import gradio as gr

    return gr.update(choices=[*run_choices(folders), (run.name, str(run))], value=[str(run)])


def _chosen(folders: AllowedFolders, shown: list[str] | None) -> list[Path]:
    from genprior.errors import GenpriorError

    if not shown:
        raise GenpriorError("choose a run first", argument="run")
    return [folders.inside(path, "run") for path in shown[:MOST_SHOWN]]
