"""Commands that look at what is there: data, info, sample, report."""

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
    Weights,
    White,
    is_path,
    size_text,
)
from genprior.writing import refuse_unwritable, remove_leftovers

if TYPE_CHECKING:
    from torch import Tensor

    from genprior.data import Dataset

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff")
POINTS_SHOWN, IMAGES_SHOWN = 5000, 64
IN_A_ROW = 8  # pictures from one latent to the next, both among them
SAMPLE_COPIES = 4  # of all samples, in memory while they are drawn and written
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


class SampleSettings(Settings):
    """Which run is sampled, and where the samples go."""

    run: RunFolder
    count: Annotated[int, Field(ge=1, description="Number of samples."), Flag(letter="-n")] = 64
    out: Annotated[
        Path | None,
        Field(
            description="Picture to write, or .npy for numbers; default samples.png, with --each the folder samples."
        ),
    ] = None
    each: Annotated[bool, Field(description="Write a PNG for each sample, into the folder of --out.")] = False
    latents: Annotated[
        Path | None,
        Field(
            description="File of latents z (N, k) to decode in place of new ones: .npy, or .safetensors as of invert."
        ),
    ] = None
    interpolate: Annotated[
        bool, Field(description="A row of eight pictures from each latent to the next, on the sphere.")
    ] = False
    truncation: Annotated[
        float, Field(gt=0, le=1, description="Factor of the latents: below 1 more typical and less varied samples.")
    ] = 1.0
    seed: Annotated[int, Field(description="Any integer.")] = 0
    weights: Weights = "auto"
    no_average: Annotated[bool, Field(description="Use the last weights, not their moving average.")] = False
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
    given = settings.model_dump(exclude={"name", "out", "overwrite"}, exclude_defaults=True)
    if settings.size is not None:
        given["size"] = size_text(settings.size)
    size = "x".join(map(str, data.image_shape[1:]))
    rows = {
        "size": f"{size} ({'as asked for' if settings.size else '--size auto, the default for files'})",
        "held out": f"{0 if kept is None else len(kept):,} images (--held-out {share:g}, the default)",
    }
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
    """Write samples of a trained run."""
    settings: SampleSettings = parsed(SampleSettings, given)
    if settings.latents is not None and "count" in given:
        raise GenpriorError("goes without --latents, whose file tells how many there are", argument="count")
    out = settings.out or Path("samples" if settings.each else "samples.png")
    refuse_unwritable(out.parent)
    remove_leftovers(out.parent)
    if settings.each:
        _refuse_folder(out, settings.overwrite)
    else:
        refuse_existing(out, settings.overwrite, (*PICTURES, ".npy"))
    x = _samples(settings)
    if settings.each:
        _write_each(x, out)
    else:
        from genprior.images import write_array
        from genprior.plotting.sample_figures import write_samples

        if out.suffix == ".npy":
            write_array(x, out)
        else:
            write_samples(x, out, IN_A_ROW if settings.interpolate else None)
    say(f"{len(x)} samples: {out}")


def _samples(settings: SampleSettings) -> "Tensor":
    import torch

    from genprior.hardware import refuse_beyond_memory
    from genprior.priors.contracts import latents_of
    from genprior.priors.latent_walks import decoded, read_latents, rows_between
    from genprior.runs.trained_prior import load_prior

    prior = load_prior(settings.run, average=not settings.no_average, weights=settings.weights)
    if settings.latents is not None:
        z = read_latents(settings.latents, prior.latent_size)
    else:
        count = settings.count + settings.interpolate  # of rows, each from one latent to the next
        numbers = (SAMPLE_COPIES * prod(prior.image_shape) + prior.latent_size) * (
            IN_A_ROW if settings.interpolate else 1
        )
        refuse_beyond_memory(4 * numbers * count, f"{count:,} samples", "count", "ask for fewer at a time")
        z = torch.cat(latents_of(prior.draw, count, settings.seed))
    z = rows_between(z, IN_A_ROW) if settings.interpolate else z
    return decoded(prior, settings.truncation * z)


def _refuse_folder(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise GenpriorError(f"{path} is a file; name a folder", argument="out")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise GenpriorError(f"{path} exists and is not empty; write into it with --overwrite", argument="out")


def _write_each(x: "Tensor", folder: Path) -> None:
    """Writes 000000.png and so on; those that an earlier call left there, and nothing else, are removed first."""
    from genprior.images import to_uint8, write_image

    if x.shape[2:] == (1, 1):
        raise GenpriorError("goes with images; these are points of the plane", argument="each")
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    for path in folder.glob("[0-9]" * DIGITS + ".png"):
        path.unlink()
    for i, image in enumerate(to_uint8(x)):
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


COMMANDS: dict[str, tuple[list[type[Settings]], Callable[[Given], None]]] = {
    "data": ([DataSettings], data),
    "info": ([InfoSettings], info),
    "check": ([CheckSettings], check),
    "sample": ([SampleSettings], sample),
    "report": ([ReportSettings], report),
}
