"""The command that measures how close a run is to an equilibrium."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genprior.cli.common import Overwrite, Root, RunFolder, Threads, refuse_kept, set_threads

if TYPE_CHECKING:
    from genprior.diagnosis.duality import Response
    from genprior.plotting.equilibrium_figures import AdversaryCurve
    from genprior.probes.equilibrium_probe import EquilibriumProbe
    from genprior.progress import Stage


def equilibrium(
    run: RunFolder,
    steps: Annotated[int, typer.Option(help="Of each adversary.")] = 300,
    age: Annotated[
        int | None, typer.Option(help="Images seen by the earlier players of the path; default: the last kept age.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    threads: Threads = None,
    data_root: Root = None,
    overwrite: Overwrite = False,
) -> None:
    """Is this GAN close to an equilibrium? Duality gap, path angle, gradients, D on held-out images."""
    from genprior.cli.legacy_progress import show_stages
    from genprior.probes.equilibrium_probe import EQUILIBRIUM, EquilibriumProbe

    set_threads(threads)
    probe = EquilibriumProbe(run, steps, age, seed, data_root)
    numbers, figure = run / f"{EQUILIBRIUM}.json", probe.probed.run.figures / f"{EQUILIBRIUM}.png"
    refuse_kept(numbers, overwrite)
    figure.unlink(missing_ok=True)  # an interrupted command leaves no figure of other numbers

    def saving() -> "Iterator[Stage]":
        for stage in probe.measure():
            probe.save()  # what ends the command loses nothing that was measured
            yield stage

    show_stages(saving(), probe.notes)
    _draw_equilibrium(probe, figure)
    typer.echo(probe.paragraph())
    typer.echo(f"numbers: {numbers}")
    typer.echo(f"figure: {figure}")


def _draw_equilibrium(probe: "EquilibriumProbe", path: Path) -> None:
    from genprior.diagnosis.equilibrium_verdict import LEVEL
    from genprior.plotting.equilibrium_figures import EquilibriumPicture, write_equilibrium
    from genprior.probes.equilibrium_found import title

    found = probe.found
    assert found.up is not None
    picture = EquilibriumPicture(
        title(probe.found, probe.run.resolve().name),
        _curve(found.up),
        None if found.down is None else _curve(found.down),
        None if found.paying is None else _curve(found.paying),
        LEVEL,
        [] if found.path is None else found.path.alphas,
        [] if found.path is None else found.path.cosines,
        probe.no_path,
        {kind: told.accuracy for kind, told in found.told.items()},
        {kind: told.accuracy_error for kind, told in found.told.items()},
    )
    write_equilibrium(picture, path)


def _curve(response: "Response") -> "AdversaryCurve":
    from genprior.plotting.equilibrium_figures import AdversaryCurve

    moments = list(response.moments)
    values = [moment.judged.value for moment in moments], [moment.fit.value for moment in moments]
    steps = [moment.step for moment in moments]
    return AdversaryCurve(steps, *values, best=steps.index(response.best.step))
