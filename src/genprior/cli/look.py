"""Commands that look at what is there: data, info, sample, report, studio."""

import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from genprior.cli.console import ILL, Given, parsed, print_table, refuse_existing, say
from genprior.errors import GenpriorError
from genprior.runs.experiment import read_result
from genprior.runs.run_folder import AUTO
from genprior.sampling.sample_settings import SampleSettings
from genprior.scoring.auto_results import AutoTraining
from genprior.settings import (
    Channels,
    DataRoot,
    Fit,
    Flag,
    RunFolder,
    RunFolders,
    Settings,
    Size,
    Strict,
    White,
    is_path,
    size_text,
)
from genprior.studio.studio_settings import StudioSettings
from genprior.writing import refuse_unwritable, remove_leftovers

if TYPE_CHECKING:
    from torch import Tensor

    from genprior.data import Dataset
    from genprior.sampling.drawn_samples import Drawn

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff")
POINTS_SHOWN, IMAGES_SHOWN = 5000, 64
LINES_SHOWN = 16  # of samples beside their nearest training images
SAMPLE_COPIES = 4  # of all samples, in memory while they are drawn and written
LEAST_PNG = 67  # bytes of the smallest picture
DIGITS = 6  # in the name of a single sample
Overwrite = Annotated[bool, Field(description="Replace the file that is there.")]


class DataSettings(Settings):
    """Which images are looked at, and how they are read."""

    name: Annotated[str, Field(description="A name, a folder, an array file."), Flag(metavar="NAME")]
    data_root: DataRoot = None
    size: Size = None
    channels: Channels = None
    fit: Fit = "crop"
    white: White = None
    strict: Strict = False
    out: Annotated[Path | None, Field(description="Picture to write; default NAME.png here.")] = None
    no_timing: Annotated[
        bool, Field(description="Time no training: say neither how to train nor how long it takes.")
    ] = False
    overwrite: Overwrite = False


class InfoSettings(Settings):
    """Which run is described."""

    run: RunFolder


class CheckSettings(Settings):
    """Which folder is checked."""

    folder: Annotated[
        Path,
        Field(description="A run, results of images, a comparison, or a data root with judges."),
        Flag(metavar="FOLDER"),
    ]


class SampleFlags(Settings):
    """Where samples go."""

    out: Annotated[
        Path | None,
        Field(
            description="Picture to write, or .npy for numbers; default samples.png, with --each the folder samples."
        ),
    ] = None
    each: Annotated[bool, Field(description="Write a PNG for each sample, into the folder of --out.")] = False
    save_latents: Annotated[
        Path | None, Field(description="File .npy for the latents of the pictures, which --latents reads.")
    ] = None
    overwrite: Overwrite = False


class ReportSettings(Settings):
    """Which runs a page is about, and where it goes."""

    runs: RunFolders
    out: Annotated[
        Path | None,
        Field(description="HTML file; default RUN/report.html, which is replaced, or report.html for several runs."),
    ] = None
    overwrite: Overwrite = False


def data(given: Given) -> None:
    """Print what images there are, draw some of them, and say how to train on a folder or file of one's own."""
    settings: DataSettings = parsed(DataSettings, given)
    name = settings.name
    picture = settings.out or Path("".join(c if c.isalnum() else "-" for c in Path(name).name).strip("-") + ".png")
    refuse_existing(picture, settings.overwrite, PICTURES)
    from genprior.data import load_data
    from genprior.data.near_duplicates import duplicate_groups
    from genprior.plotting.sample_figures import write_samples

    loaded = load_data(
        name,
        root=settings.data_root,
        size=settings.size,
        channels=settings.channels,
        fit=settings.fit,
        strict=settings.strict,
        white=settings.white,
    )
    write_samples(loaded.some(POINTS_SHOWN if loaded.is_points else IMAGES_SHOWN), picture)
    groups = duplicate_groups(loaded.images) if is_path(settings.name) else None
    print_table({**loaded.summary(), **_own_rows(settings.name, loaded, groups), "picture": str(picture)})
    if groups is not None:
        say("")
        print_table(_training_rows(settings, loaded, groups))


def _own_rows(name: str, data: "Dataset", groups: "Tensor | None") -> dict[str, str]:
    """What is in a folder or file of somebody's own; nothing for named data."""
    from genprior.data.survey import content_rows, survey_files

    if groups is None:
        return {}
    files = survey_files(name)
    return {**({} if files is None else files.rows()), **content_rows(data, groups.bincount().tolist())}


def _training_rows(settings: DataSettings, data: "Dataset", groups: "Tensor") -> dict[str, str]:
    """How to train on these images, and how long that takes here."""
    from genprior.data.held_out import set_apart
    from genprior.families import RunConfig
    from genprior.runs.suggestion import suggested

    share = RunConfig.model_fields["held_out"].default
    split = set_apart(data, share, groups)
    kept = split.load_held_out()
    given = settings.model_dump(exclude={"name", "out", "no_timing", "overwrite"}, exclude_defaults=True)
    if settings.size is not None:
        given["size"] = size_text(settings.size)
    size = "x".join(map(str, data.image_shape[1:]))
    rows = {
        "size": f"{size} ({'as asked for' if settings.size else '--size auto, the default for files'})",
        "held out": f"{0 if kept is None else len(kept):,} images (--held-out {share:g}, the default)",
    }
    if settings.no_timing:
        return rows
    try:
        return rows | suggested({"data": settings.name, **given}, split).rows()
    except GenpriorError as error:
        return rows | {"train with": f"nothing: {error.message}"}


def info(given: Given) -> None:
    """Print what a run is, how far it is, and its last numbers."""
    from genprior.runs.summary import summary

    run = parsed(InfoSettings, given).run
    chosen = read_result(run / AUTO, AutoTraining)
    print_table(summary(run) | ({} if chosen is None else {"chosen": chosen.reason}))


def check(given: Given) -> None:
    """Read every file of a folder against its checksum; exit code 0 whole, 1 damaged, 2 not a folder of genprior."""
    from genprior.folder_check import check_lines, checked

    path = parsed(CheckSettings, given).folder
    title, files = checked(path)
    for line in check_lines(path, title, files):
        say(line)
    sys.exit(ILL if any(each.fault for each in files) else 0)


def sample(given: Given) -> None:
    """Write samples of a trained run, maps and rows of them, and the training images that are nearest to them."""
    settings, flags = _sample_settings(given)
    out = flags.out or Path("samples" if flags.each else "samples.png")
    for path in filter(None, (out, flags.save_latents)):
        refuse_unwritable(path.parent)
        remove_leftovers(path.parent)
    if flags.each:
        _refuse_folder(out, flags.overwrite)
    else:
        refuse_existing(out, flags.overwrite, PICTURES if settings.nearest else (*PICTURES, ".npy"))
    if flags.save_latents is not None:
        if flags.save_latents.resolve() == out.resolve():
            raise GenpriorError(f"{out} is where the pictures go; give another name", argument="save_latents")
        refuse_existing(flags.save_latents, flags.overwrite, (".npy",), "save_latents")
    from genprior.sampling.drawn_samples import draw_samples, prior_to_sample

    keeps = flags.save_latents is not None
    drawn = draw_samples(settings, prior_to_sample(settings), with_latents=keeps)
    if settings.nearest:
        _write_beside_nearest(drawn, settings, out)
    elif flags.each:
        _write_each(drawn, out)
    elif out.suffix == ".npy":
        _write_numbers(drawn, out)
    else:
        from genprior.plotting.sample_figures import write_samples

        write_samples(_whole(drawn, settings), out, drawn.columns)
    if flags.save_latents is not None:
        _write_latents(drawn, flags.save_latents)
    say(f"{drawn.count} samples: {out}{f' ({drawn.note})' if drawn.note else ''}")


def _sample_settings(given: Given) -> "tuple[SampleSettings, SampleFlags]":
    """What is asked for, and where it goes; flags that do not go together are refused."""
    own = SampleFlags.model_fields
    settings: SampleSettings = parsed(SampleSettings, {name: each for name, each in given.items() if name not in own})
    flags: SampleFlags = parsed(SampleFlags, {name: each for name, each in given.items() if name in own})
    if settings.latents is not None and "count" in given:
        raise GenpriorError("goes without --latents, whose file tells how many there are", argument="count")
    if settings.around and "count" in given:
        raise GenpriorError("goes without --around, where --side tells how many there are", argument="count")
    for name in ("side", "step"):
        if name in given and not settings.around:
            raise GenpriorError("is about a map: add --around", argument=name)
    if settings.nearest and flags.each:
        raise GenpriorError("goes with one picture, without --each", argument="nearest")
    return settings, flags


def _write_beside_nearest(drawn: "Drawn", settings: SampleSettings, path: Path) -> None:
    """Writes each sample in a row with the training images nearest to it, and tells how far these are."""
    from genprior.plotting.sample_figures import write_samples
    from genprior.sampling.nearest_images import MEASURE, learned_images, nearest_images

    learned = learned_images(settings)
    x = _whole(drawn, settings)
    found = nearest_images(x, learned, settings.nearest)
    write_samples(found.beside(x), path, found.numbers.shape[1] + 1)
    is_numbered = not (settings.around or settings.interpolate)  # pictures of maps and rows count from 0
    for line in found.lines(settings.first if is_numbered else 0)[:LINES_SHOWN]:
        say(line)
    if len(x) > LINES_SHOWN:
        say(f"and {len(x) - LINES_SHOWN:,} more; ask for fewer with -n to see their distances")
    say(MEASURE)


def _write_latents(drawn: "Drawn", path: Path) -> None:
    from genprior.writing import write_numbers

    assert drawn.latents is not None, "they were asked for"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_numbers(path, tuple(drawn.latents.shape), [drawn.latents.numpy()])


def _whole(drawn: "Drawn", settings: SampleSettings) -> "Tensor":
    """All samples at once, for a picture of them."""
    import torch

    from genprior.memory import refuse_beyond_memory

    if settings.latents is None:
        refuse_beyond_memory(
            4 * SAMPLE_COPIES * (1 + settings.nearest) * drawn.count * prod(drawn.shape),
            f"{settings.count:,} samples",
            "count",
            "ask for fewer, or for a file .npy without --interpolate",
        )
    return torch.cat(list(drawn.parts))


def _write_numbers(drawn: "Drawn", path: Path) -> None:
    """Writes a part after another: no more is ever in memory."""
    from genprior.hardware import refuse_beyond_disk
    from genprior.writing import write_numbers

    refuse_beyond_disk(4 * drawn.count * prod(drawn.shape), f"{drawn.count:,} samples", "count", path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_numbers(path, (drawn.count, *drawn.shape), (part.numpy() for part in drawn.parts))


def _refuse_folder(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise GenpriorError(f"{path} is a file; name a folder", argument="out")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise GenpriorError(f"{path} exists and is not empty; write into it with --overwrite", argument="out")


def _write_each(drawn: "Drawn", folder: Path) -> None:
    """Writes 000000.png and so on; those that an earlier call left there, and nothing else, are removed first."""
    from genprior.hardware import refuse_beyond_disk
    from genprior.images import to_uint8, write_image

    if drawn.shape[1:] == (1, 1):
        raise GenpriorError("goes with images; these are points of the plane", argument="each")
    refuse_beyond_disk(LEAST_PNG * drawn.count, f"{drawn.count:,} pictures", "count", folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    for path in folder.glob("[0-9]" * DIGITS + ".png"):
        path.unlink()
    images = (image for part in drawn.parts for image in to_uint8(part))
    for i, image in enumerate(images):
        write_image(image, folder / f"{i:0{DIGITS}d}.png")


def report(given: Given) -> None:
    """Write one HTML file about a run, or about several side by side; it opens without a network."""
    settings: ReportSettings = parsed(ReportSettings, given)
    is_derived = settings.out is None and len(settings.runs) == 1
    path = settings.out or (settings.runs[0] / "report.html" if is_derived else Path("report.html"))
    refuse_existing(path, settings.overwrite or is_derived, (".html", ".htm"))
    refuse_unwritable(path.parent)
    remove_leftovers(path.parent)
    from genprior.report import write_report

    write_report(settings.runs, path)
    say(f"report: {path}")


def studio(given: Given) -> None:
    """Serve a page on this machine that trains, restores and looks, as the commands do."""
    from genprior.studio.studio_command import serve_studio

    serve_studio(parsed(StudioSettings, given))


COMMANDS: dict[str, tuple[list[type[Settings]], Callable[[Given], None]]] = {
    "data": ([DataSettings], data),
    "info": ([InfoSettings], info),
    "check": ([CheckSettings], check),
    "sample": ([SampleSettings, SampleFlags], sample),
    "report": ([ReportSettings], report),
    "studio": ([StudioSettings], studio),
}
