"""Commands that use a trained run as a prior: invert, restore; and degrade, which makes something to restore."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genprior.cli.common import ILL, INTERRUPTED, Root, RunFolder, interrupted_by_signals, print_table

if TYPE_CHECKING:
    from genprior.restoring.first_images import Shown
    from genprior.restoring.parallel import Job

NAMED = 5  # failures told one by one

Images = Annotated[
    str, typer.Argument(metavar="IMAGES", help="A file, a folder, a .npy or .npz array, or data: mnist:test[:100].")
]
Out = Annotated[Path, typer.Option(help="Folder of the results; one that is not finished is gone on with.")]
OperatorName = Annotated[
    str,
    typer.Option(
        help="denoise, inpaint:box=14 (or random=0.5, half=lower), downsample:factor=2, blur:sigma=1, "
        "compressed-sensing:m=100."
    ),
]
Noise = Annotated[
    str | None,
    typer.Option(help="none, gaussian:sigma=0.1, poisson:gain=0.05, uniform:a=0.1, salt-and-pepper:p=0.1."),
]
Fidelity = Annotated[
    str | None,
    typer.Option(help="Data term: l2, l1, huber:delta=0.1, poisson; default: what noise and operator suggest."),
]
NoiseLevel = Annotated[
    float | None, typer.Option(help="Standard deviation of the noise in the images, where --noise does not tell.")
]
Preset = Annotated[str, typer.Option(help="Of the search: default, fast, thorough, study.")]
Starts = Annotated[int | None, typer.Option(help="Searches for each image.")]
Iterations = Annotated[int | None, typer.Option(help="Evaluations of a search once it competes with no other.")]
EnergyWeight = Annotated[float | None, typer.Option(help="Weight of the prior's energy; default: from the noise.")]
Candidates = Annotated[int | None, typer.Option(help="Distinct solutions wanted for each image.")]
Beyond = Annotated[
    bool, typer.Option("--beyond", help="Leave the prior's range at the end, as far as the noise tells.")
]
Seed = Annotated[int, typer.Option(help="Any integer; the same settings give the same images.")]
BatchSize = Annotated[int, typer.Option(help="Images in a part, the unit of work; it does not change the results.")]
Resize = Annotated[bool, typer.Option("--resize", help="Convert images and masks of another size or colour.")]
NoAverage = Annotated[
    bool, typer.Option("--no-average", help="Use the last weights of the prior, not their moving average.")
]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads of each process.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew where results of this command are there.")]


def invert(
    run: RunFolder,
    images: Images,
    out: Out,
    fidelity: Fidelity = None,
    noise_level: NoiseLevel = None,
    preset: Preset = "default",
    starts: Starts = None,
    iterations: Iterations = None,
    energy_weight: EnergyWeight = None,
    candidates: Candidates = None,
    beyond: Beyond = False,
    seed: Seed = 0,
    batch_size: BatchSize = 128,
    resize: Resize = False,
    no_average: NoAverage = False,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the latents of images: the codes from which a trained run makes them again."""
    _restore(run, out, locals())


def restore(
    run: RunFolder,
    images: Images,
    out: Out,
    operator: OperatorName = "denoise",
    noise: Noise = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="IMAGES are whole: damage them first, and compare with the truth.")
    ] = False,
    mask: Annotated[
        Path | None,
        typer.Option(help="With inpaint: a picture, or a folder with one for each image; white known, black missing."),
    ] = None,
    fidelity: Fidelity = None,
    noise_level: NoiseLevel = None,
    preset: Preset = "default",
    starts: Starts = None,
    iterations: Iterations = None,
    energy_weight: EnergyWeight = None,
    candidates: Candidates = None,
    beyond: Beyond = False,
    seed: Seed = 0,
    batch_size: BatchSize = 128,
    resize: Resize = False,
    no_average: NoAverage = False,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    """Restore damaged images with a trained run."""
    _restore(run, out, locals())


def degrade(
    images: Images,
    operator: OperatorName,
    out: Out,
    noise: Annotated[str, typer.Option(help="As for restore.")] = "none",
    seed: Seed = 0,
    size: Annotated[int | None, typer.Option(help="Resize images to this many pixels a side.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 for grey, 3 for colour; default as the first image.")] = None,
    batch_size: BatchSize = 128,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    """Damage images, to have something to restore."""
    given = locals()
    from genprior.restoring.degrading import degrade_job, restoring_command
    from genprior.restoring.job_settings import DegradeSettings

    settings = DegradeSettings(**_chosen(given, DegradeSettings.__dataclass_fields__))
    _set_threads(threads)
    job = degrade_job(settings, out, data_root=data_root, overwrite=overwrite)
    _work(job)
    if _is_first():
        typer.echo(f"restore them with: {restoring_command(settings, out)}")
    _end(job)


def _restore(run: Path, out: Path, given: dict[str, Any]) -> None:
    """Does the work of `invert` and `restore`; sets the exit code."""
    from genprior.restoring.job_settings import RestoreSettings
    from genprior.restoring.restore_job import restore_job

    values = _chosen(given, RestoreSettings.__dataclass_fields__)
    settings = RestoreSettings(**values, average=not given["no_average"])
    _set_threads(given["threads"])
    job = restore_job(
        run, settings, out, data_root=given["data_root"], overwrite=given["overwrite"], draw=_draw_pictures
    )
    _work(job)
    _end(job)


def _chosen(given: Mapping[str, Any], names: Mapping[str, object]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items() if name in names}


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _draw_pictures(shown: "Shown", folder: Path) -> None:
    from genprior.plotting.restoration_figures import write_candidates, write_pairs

    rows, notes = shown.rows()
    write_pairs(rows, notes, shown.names, folder / "pairs.png")
    if shown.candidates.shape[1] > 1:
        first = next((each for each in rows.items() if each[0] in ("damaged", "input")), None)
        target = folder / "candidates.png"
        write_candidates(first, shown.candidates, shown.counts, shown.errors, shown.spread, target)


def _work(job: "Job") -> None:
    """Works through a job and shows how far it is; ends the process where it is interrupted."""
    from genprior.cli.legacy_progress import show_job
    from genprior.restoring.parallel import work_through

    try:
        with interrupted_by_signals():
            show_job(work_through(job), job.notes, not _is_first())
    except KeyboardInterrupt:
        if _is_first():
            done, count = job.output.finished_items(), job.output.count
            again = shlex.join(["genprior", *(word for word in sys.argv[1:] if word != "--overwrite")])
            typer.echo(f"interrupted, {done:,} of {count:,} images are finished; go on with: {again}", err=True)
        sys.exit(INTERRUPTED)


def _end(job: "Job") -> None:
    """Says what was done and what failed; sets the exit code."""
    from genprior.restoring.result_tables import facts, failures

    failed, lines = failures(job.output)
    if _is_first():
        print_table(facts(job.output))
        for line in lines[:NAMED]:
            typer.echo(f"genprior: {line}", err=True)
    if failed:
        if _is_first():
            advice = "mend them, and give the same command again"
            typer.echo(f"genprior: {failed} of {job.output.count} images failed: {advice}", err=True)
        sys.exit(ILL)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"
