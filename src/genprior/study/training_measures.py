"""What training and samples of a cell show: sizes, curves, quality, the factors of the loss, both probes."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.evaluation.distances import frechet_distance
from genprior.evaluation.features import features_of
from genprior.evaluation.histogram import class_counts, expected_counts, modes_found
from genprior.families.gan import gan_config
from genprior.models.players import parameter_count
from genprior.priors.generator_prior import GeneratorPrior
from genprior.probes.collapse_rules import CollapseResult, CollapseSettings
from genprior.probes.probe_experiments import EXPERIMENTS
from genprior.probes.saturation_probe import SaturationResult, SaturationSettings
from genprior.progress import result_of
from genprior.runs.checkpoint import ages, load_age
from genprior.runs.experiment import Experiment, carry_out, read_result
from genprior.runs.step_rows import Row, read_rows
from genprior.specs import Spec
from genprior.study.measured_models import SATURATED, LossFactors, NetworkSizes, SampleQuality, TrainingCurves
from genprior.study.opened_cell import OpenedCell, Pictures
from genprior.training.losses import LOSSES, loss_factors

STRETCHES = 60
SHOWN = 24  # samples
LOGITS = (-20.0, -10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0, 20.0)


def network_sizes(opened: OpenedCell) -> tuple[NetworkSizes, Pictures]:
    """Counts the weights of both players."""
    config = gan_config(opened.run.config, opened.folder)
    gan = config.build(opened.split.learned)
    players = {"generator": gan.generator, "discriminator": gan.discriminator}
    parameters = {name: parameter_count(player) for name, player in players.items()}
    return NetworkSizes(parameters=parameters, image_shape=opened.split.learned.image_shape), {}


def training_curves(opened: OpenedCell) -> tuple[TrainingCurves, Pictures]:
    """Averages the record over stretches."""
    rows = [row for row in read_rows(opened.run.steps) if row.get("generator_loss") is not None]
    if not rows:
        raise GenpriorError(f"{opened.folder} has no record of a generator's steps", argument="out")
    edges = torch.linspace(0, len(rows), min(STRETCHES, len(rows)) + 1).round().int().tolist()
    parts = [rows[first:last] for first, last in pairwise(edges)]

    def curve(value: Callable[[Row], float]) -> tuple[float, ...]:
        return tuple(_mean([value(row) for row in part]) for part in parts)

    below = next((row["images_seen"] for row in rows if _known(row["loss_factor"]) < SATURATED), None)
    return TrainingCurves(
        images=tuple(float(part[-1]["images_seen"]) for part in parts),
        discriminator_loss=curve(lambda row: _known(row["discriminator_loss"])),
        generator_loss=curve(lambda row: _known(row["generator_loss"])),
        loss_factor=curve(lambda row: _known(row["loss_factor"])),
        effective_share=curve(lambda row: _known(row["effective_share"])),
        accuracy=curve(lambda row: (_known(row["accuracy_real"]) + _known(row["accuracy_fake"])) / 2),
        accuracy_real=curve(lambda row: _known(row["accuracy_real"])),
        accuracy_fake=curve(lambda row: _known(row["accuracy_fake"])),
        largest_losses=(_largest(rows, "discriminator_loss"), _largest(rows, "generator_loss")),
        steps=len(rows),
        factor_first_below=below,
    ), {}


def sample_quality(opened: OpenedCell) -> tuple[SampleQuality, Pictures]:
    """Judges samples, beside those of the generator before its first step and beside held-out images.

    All three are as many: of fewer images the distance is larger, whatever they are.
    """
    network, real = opened.judge.network, opened.learned_features
    count = min(opened.size.samples, len(opened.held_out))
    x = opened.prior.sample(count, opened.seed).float().clamp(0, 1)
    features = features_of(network, x)
    held_out = features_of(network, opened.images(count)[0])
    learned = opened.split.learned
    classes, of_real = network.classes(features), network.classes(real)
    found, of, rarest = 0, 0, math.nan
    if classes is not None and of_real is not None:
        counts, real_counts = (class_counts(each, network.num_classes) for each in (classes, of_real))
        found, of = modes_found(counts, real_counts)
        there = real_counts > 0
        rarest = float((counts / expected_counts(counts, real_counts).clamp_min(1e-9))[there].min())
    quality = SampleQuality(
        distance=frechet_distance(real, features),
        untrained=_untrained_distance(opened, real, count),
        floor=frechet_distance(real, held_out),
        modes=found,
        of=of,
        rarest=rarest,
        diversity=_variance(x) / _variance(learned.some(count)),
        judge=opened.judge.record.data,
    )
    return quality, {"samples": x[:SHOWN], "real": learned.some(SHOWN)}


def loss_factors_of(opened: OpenedCell) -> tuple[LossFactors, Pictures]:
    """Differentiates both losses of the generator at logits; no run is needed for it, only the code that trains."""
    a = torch.tensor(LOGITS, dtype=torch.float64)
    s = torch.sigmoid(a)
    by_autograd = {name: loss_factors(LOSSES[name](), a, a) for name in ("saturating", "non-saturating")}
    return LossFactors(
        logits=LOGITS,
        saturating=tuple(by_autograd["saturating"].tolist()),
        non_saturating=tuple(by_autograd["non-saturating"].tolist()),
        saturating_form=tuple((-s).tolist()),
        non_saturating_form=tuple((s - 1).tolist()),
    ), {}


def saturation_probe(opened: OpenedCell) -> tuple[SaturationResult, Pictures]:
    """Carries out `genprior probe saturation` on the run, whose result lies in its folder."""
    steps = opened.size.probe_steps * 10  # of a discriminator alone, which are cheap
    asked = SaturationSettings(run=opened.folder, steps=steps, ages=2, data_root=opened.study.data_root)
    return _probed(EXPERIMENTS["probe saturation"], asked), {}


def collapse_probe(opened: OpenedCell) -> tuple[CollapseResult, Pictures]:
    """Carries out `genprior probe collapse` on the run, with V itself in the inner problem."""
    steps, root = opened.size.probe_steps, opened.study.data_root
    asked = CollapseSettings(run=opened.folder, steps=steps, ages=1, loss=Spec.parse("saturating"), data_root=root)
    return _probed(EXPERIMENTS["probe collapse"], asked), {}


def _probed(experiment: Experiment[Any, Any], asked: Any) -> Any:  # noqa: ANN401 - settings and result of a probe
    """The result of a probe, measured now or before."""
    kept = read_result(experiment.file(asked), experiment.result)
    if kept is not None and kept.is_complete and asked.same_outcome(kept.settings):
        return kept
    return result_of(carry_out(experiment, asked, overwrite=kept is not None))


def _untrained_distance(opened: OpenedCell, real: Tensor, count: int) -> float:
    """Of the generator as it was before its first step; NaN where the run keeps none."""
    first = ages(opened.run).get(0)
    shape = opened.split.learned.image_shape
    generator = None if first is None else opened.run.config.generator(load_age(first), shape, average=False)
    if generator is None:
        return math.nan
    prior = GeneratorPrior(generator.eval(), opened.prior.latent_size, shape)
    x = prior.sample(count, opened.seed).float().clamp(0, 1)
    return frechet_distance(real, features_of(opened.judge.network, x))


def _variance(x: Tensor) -> float:
    return float(x.flatten(1).var(0).sum())


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _largest(rows: list[Row], name: str) -> float:
    return max((abs(_known(row[name])) for row in rows if row[name] is not None), default=math.nan)
