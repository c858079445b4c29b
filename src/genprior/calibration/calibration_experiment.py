"""Measures how true the draws of a run's posterior are: on truths of its own, and on images that it has not learned."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from genprior.calibration.calibration_inputs import Assumed, held_out, opened
from genprior.calibration.calibration_results import (
    Calibration,
    CalibrationLevel,
    CalibrationSettings,
    RankCurve,
    RankTest,
    Reliability,
    RepairFindings,
    ResidualFindings,
)
from genprior.calibration.exchange_test import exchanged
from genprior.calibration.rank_bands import band, ecdf, places
from genprior.calibration.rank_statistics import Ranked, ranked
from genprior.calibration.residual_tests import residuals
from genprior.evaluation.interval_widening import (
    PixelIntervals,
    ball_widening,
    conformal,
    intervals_of,
    joined,
    widening,
)
from genprior.progress import Stage, Task, within
from genprior.restoration.noise import measure, stacked
from genprior.restoration.operators import Operator
from genprior.seeding import derived_generator, derived_seed

AT_ONCE = 20  # measurements whose draws are in memory
TOLD = 4  # measurements after which progress is told, where a draw takes long
LEVEL = 0.9  # of the intervals that are widened


@dataclass(frozen=True)
class Judged:
    """Truths among their draws.

    Attributes:
        level: What was found.
        intervals: Of pixels.
    """

    level: CalibrationLevel
    intervals: PixelIntervals


def stages(settings: CalibrationSettings, kept: Calibration | None) -> Task[Calibration]:
    """Judges truths of the prior, then held-out images.

    Raises:
        GenpriorError: No run, no draws for its family, noise without a level, or images and measurements that do not
            fit.
    """
    assumed, weights = opened(settings)
    x, y, notes = held_out(settings, assumed)
    found = Calibration(settings=settings, is_complete=False, weights=weights, notes=tuple(notes))
    if kept is not None and kept.weights == weights:
        judged_before = {name: getattr(kept, name) for name in ("own", "held_out", "residuals", "repair")}
        found = found.model_copy(update=judged_before)
    yield Stage(0.0, "run opened")
    if found.own is None:
        truths, measured = own_truths(assumed, settings.count)
        own = yield from within(judged(assumed, truths, measured, "own"), 0.0, 0.5, "truths from the prior: ")
        found = found.model_copy(update={"own": own.level})
    yield Stage(0.5, "truths from the prior: judged", found=found)
    if found.held_out is None:
        real = yield from within(judged(assumed, x, y, "held-out"), 0.5, 1.0, "held-out images: ")
        update = {"held_out": real.level, "residuals": residuals_of(assumed, x, y)}
        if settings.repair:
            nominal = real.intervals.nominal
            update["repair"] = RepairFindings(nominal=nominal, **asdict(conformal(real.intervals)))
        found = found.model_copy(update=update)
    yield Stage(1.0, "held-out images: judged", found=found)  # figures come next, and may fail
    return found.model_copy(update={"is_complete": True})


def own_truths(assumed: Assumed, count: int) -> tuple[Tensor, Tensor]:
    """Returns truths (count, C, H, W) drawn from the prior itself, and their measurements."""
    x = assumed.prior.fine_sample(count, derived_seed(assumed.seed, "own truths"))
    if assumed.prior.residual is not None:
        generator = derived_generator(assumed.seed, "own residuals")
        x = x + assumed.prior.residual.drawn(count, generator).view(x.shape)
    return x, measure(x, assumed.operator, assumed.noise, seed=derived_seed(assumed.seed, "own noise"))


def judged(assumed: Assumed, x: Tensor, y: Tensor, purpose: str) -> Task[Judged]:
    """Returns where truths stand among the draws of their measurements.

    Arguments:
        assumed: What draws are made with.
        x: Truths (N, C, H, W), N at least 2.
        y: Their measurements (N, ...).
        purpose: Under which draws are made; another one gives others.
    """
    seed = derived_seed(assumed.seed, purpose)
    parts: list[tuple[Ranked, PixelIntervals]] = []
    not_mixed: int | None = None
    at_once = TOLD if assumed.prior.conditional is None else AT_ONCE  # a closed form is prepared once for all of them
    for first in range(0, len(x), at_once):
        rows = slice(first, first + at_once)
        drawn = assumed.sampler(assumed.prior, y[rows], assumed.operator, assumed.sigma, assumed.draws, seed, first)
        draws = drawn.x
        if drawn.is_mixed is not None:
            not_mixed = (not_mixed or 0) + int((~drawn.is_mixed).sum())
        reference = torch.stack([_reference(assumed, seed, first + i) for i in range(len(draws))])
        misfit = _misfits(assumed.operator, torch.cat([x[rows, None], draws.to(x)], 1), y[rows], first)
        parts.append((ranked(x[rows], draws, reference, misfit, seed, first), intervals_of(x[rows], draws, LEVEL)))
        done = min(len(x), first + at_once)
        yield Stage(done / len(x), f"{done} of {len(x)} images")
    whole, intervals = Ranked.joined([part for part, _ in parts]), joined([part for _, part in parts])
    return Judged(_level(whole, intervals, seed).model_copy(update={"not_mixed": not_mixed}), intervals)


def _misfits(operator: Operator, members: Tensor, y: Tensor, first: int) -> Tensor:
    """|y - A x|^2 (N, S + 1) of the members (N, S + 1, C, H, W) of measurements (N, ...)."""
    each = []
    for i, (x, own) in enumerate(zip(members, y, strict=True)):
        parameters = {
            name: value.expand(len(x), *value.shape[1:]) for name, value in operator.parameters(first + i).items()
        }
        each.append((operator.physics.A(x, **parameters) - own).flatten(1).square().sum(1))
    return torch.stack(each)


def _reference(assumed: Assumed, seed: int, number: int) -> Tensor:
    """A point (C, H, W) that knows no truth: an image of the prior."""
    return assumed.prior.sample(1, derived_seed(seed, "random point", number))[0]


def _level(found: Ranked, intervals: PixelIntervals, seed: int) -> CalibrationLevel:
    tests = exchanged(found, seed)
    return CalibrationLevel(
        count=found.count,
        tests={name: RankTest(z=z, p=tests.p[name]) for name, z in tests.z.items()},
        p=tests.together,
        factor=widening(intervals),
        ball_factor=ball_widening(intervals),
        curves={name: _curve(ranks[:, 0], found.members) for name, ranks in found.ranks.items()},
        reliability=_reliability(found),
    )


def _curve(ranks: Tensor, members: int) -> RankCurve:
    """The curve of ranks (N, F)."""
    low, high = band(len(ranks), members)
    at = places(members)
    off = ecdf(ranks.cpu(), members) - (at / members).double()[:, None]
    even = (at / members).tolist()
    return RankCurve(
        members=members,
        places=tuple(at.tolist()),
        differences=tuple(tuple(feature) for feature in off.T.tolist()),
        low=tuple(a - b for a, b in zip(low, even, strict=True)),
        high=tuple(a - b for a, b in zip(high, even, strict=True)),
    )


def _reliability(found: Ranked) -> Reliability:
    inside = found.inside[:, 0]
    below = [round(nominal * found.members) for nominal in found.nominal]
    shares = {
        name: tuple(float((found.ranks[name][:, 0, 0] < place).double().mean()) for place in below)
        for name in ("balls", "random points")
    }
    return Reliability(
        nominal=found.nominal,
        pixels=tuple(inside.mean(0).tolist()),
        error=tuple((inside.std(0) / len(inside) ** 0.5).tolist()),
        balls=shares["balls"],
        random_points=shares["random points"],
    )


def residuals_of(assumed: Assumed, x: Tensor, y: Tensor) -> ResidualFindings:
    """Returns what is left of measurements y of known images x (N, C, H, W)."""
    own, physics = stacked(assumed.operator, range(len(x))), assumed.operator.physics
    masks = (own["mask"] if own else physics.mask) if assumed.operator.has_masks else None
    found = residuals(y, physics.A(x, **own), x, assumed.sigma, derived_seed(assumed.seed, "residuals"), masks)
    return ResidualFindings(**asdict(found))


def examples(settings: CalibrationSettings, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields held-out images (C, H, W), their least-squares images, and the draws (S, C, H, W) that were judged."""
    assumed, _ = opened(settings)
    x, y, _ = held_out(settings, assumed)
    seed = derived_seed(settings.seed, "held-out")
    rows = y[:AT_ONCE]
    draws = assumed.sampler(assumed.prior, rows, assumed.operator, assumed.sigma, settings.draws, seed, 0).x
    for i in range(min(count, len(rows))):
        own = assumed.operator.parameters(i)
        is_image = y.shape == x.shape
        shown = y[i] if is_image else assumed.operator.physics.A_dagger(y[i : i + 1], **own)[0]
        yield x[i], shown.clamp(0, 1), draws[i]
