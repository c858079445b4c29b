"""The probes as experiments: what each is asked and returns, and how it is measured, put into words and drawn.

Imports no torch.
"""

from pathlib import Path
from typing import Any, TypeVar

from genprior.diagnosis.equilibrium_numbers import Response
from genprior.diagnosis.equilibrium_verdict import LEVEL
from genprior.probes import collapse_rules, equilibrium_found, saturation_probe
from genprior.probes.collapse_rules import CollapseResult, CollapseSettings
from genprior.probes.equilibrium_found import EquilibriumResult, EquilibriumSettings
from genprior.probes.saturation_probe import SaturationResult, SaturationSettings
from genprior.progress import Task, primed
from genprior.runs.experiment import Experiment

R = TypeVar("R")


def _begun(task: Task[R], run: Path, *figures: str) -> Task[R]:
    """Returns a task at its first stage; figures of other numbers are gone then, and stay where the input is bad."""
    task = primed(task)
    for name in figures:
        _figure(run, name).unlink(missing_ok=True)
    return task


def _figure(run: Path, name: str) -> Path:
    return run / "figures" / f"probe-{name}.png"


def _saturation_stages(settings: SaturationSettings, kept: SaturationResult | None) -> Task[SaturationResult]:
    return _begun(saturation_probe.stages(settings, kept), settings.run, "saturation")


def _saturation_figures(settings: SaturationSettings, found: SaturationResult) -> dict[str, Path]:
    from genprior.plotting.probe_figures import Panel, write_saturation

    panels = []
    for age in found.ages:
        curves = {}
        for loss in saturation_probe.LOSSES:
            fell = saturation_probe.span([each.decades_fallen[loss] for each in age.discriminators])
            curves[f"{loss}: fell by {fell} decades"] = [each.norms(loss) for each in age.discriminators]
        steps = [moment.step for moment in age.discriminators[0].moments]
        panels.append(Panel(f"generator at {age.images_seen:,} images", steps, curves))
    path = _figure(settings.run, "saturation")
    write_saturation(panels, path)
    return {"figure": path}


def _collapse_stages(settings: CollapseSettings, kept: CollapseResult | None) -> Task[CollapseResult]:
    from genprior.probes.collapse_probe import stages

    return _begun(stages(settings, kept), settings.run, "collapse-inner", "collapse-outer", "collapse-angle")


def _collapse_figures(settings: CollapseSettings, found: CollapseResult) -> dict[str, Path]:
    from genprior.plotting.probe_figures import write_angle, write_inner, write_outer

    paths = {f"{what} figure": _figure(settings.run, f"collapse-{what}") for what in ("inner", "outer", "angle")}
    inner, outer, angle = paths.values()
    write_inner(found.inner.ages, inner)
    write_outer(found.generators[-1], outer)
    write_angle(found.generators, angle)
    return paths


def _equilibrium_stages(settings: EquilibriumSettings, kept: EquilibriumResult | None) -> Task[EquilibriumResult]:
    from genprior.probes.equilibrium_probe import stages

    return _begun(stages(settings, kept), settings.run, "equilibrium")


def _equilibrium_figures(settings: EquilibriumSettings, found: EquilibriumResult) -> dict[str, Path]:
    from genprior.plotting.probe_figures import AdversaryCurve, EquilibriumPicture, write_equilibrium

    def curve(response: Response) -> AdversaryCurve:
        moments = response.moments
        steps, judged, fit = zip(*((each.step, each.judged.value, each.fit.value) for each in moments), strict=True)
        return AdversaryCurve(steps, judged, fit, best=steps.index(response.best_step))

    up, down, paying = found.best_discriminator, found.best_generator, found.best_paying_discriminator
    assert up is not None
    picture = EquilibriumPicture(
        title=equilibrium_found.title(found),
        up=curve(up),
        down=None if down is None else curve(down),
        paying=None if paying is None else curve(paying),
        level=LEVEL,
        alphas=() if found.path is None else found.path.alphas,
        cosines=() if found.path is None else found.path.cosines,
        no_path=found.path_not_known,
        accuracy={kind: each.accuracy for kind, each in found.told.items()},
        errors={kind: each.accuracy_error for kind, each in found.told.items()},
    )
    path = _figure(settings.run, "equilibrium")
    write_equilibrium(picture, path)
    return {"figure": path}


EXPERIMENTS: dict[str, Experiment[Any, Any]] = {
    "probe saturation": Experiment(
        help="Retrain D against a frozen G: which loss's gradient vanishes? (Arjovsky & Bottou 2017).",
        settings=SaturationSettings,
        result=SaturationResult,
        file=lambda settings: settings.run / "probe-saturation.json",
        stages=_saturation_stages,
        lines=saturation_probe.lines,
        figures=_saturation_figures,
    ),
    "probe collapse": Experiment(
        help="Train G alone, then D: does min-max collapse, and what does a weak D miss? (Goodfellow et al. 2014).",
        settings=CollapseSettings,
        result=CollapseResult,
        file=lambda settings: settings.run / "probe-collapse.json",
        stages=_collapse_stages,
        lines=collapse_rules.lines,
        figures=_collapse_figures,
    ),
    "probe equilibrium": Experiment(
        help="Is this GAN close to an equilibrium? Duality gap, path angle, gradients, D on held-out images.",
        settings=EquilibriumSettings,
        result=EquilibriumResult,
        file=lambda settings: settings.run / "probe-equilibrium.json",
        stages=_equilibrium_stages,
        lines=equilibrium_found.lines,
        figures=_equilibrium_figures,
    ),
}
