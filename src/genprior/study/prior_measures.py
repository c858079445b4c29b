"""What a cell is good for as a prior: inversion by frequency and place, restoration, probabilities, likelihood."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from genprior.calibration.posterior_draws import draws_of
from genprior.evaluation.comparison import TASKS, inverted, restored
from genprior.evaluation.features import features_of
from genprior.evaluation.image_quality import psnr
from genprior.models.image_flow import bits_per_dim
from genprior.restoration.fidelity import FIDELITIES
from genprior.restoration.noise import NOISES, measure
from genprior.restoration.operators import OPERATORS, Operator
from genprior.restoration.restore import invert, restore
from genprior.restoration.search_settings import SEARCHES, SearchSettings
from genprior.runs.checkpoint import trained_checkpoint
from genprior.runs.step_rows import read_rows
from genprior.specs import Spec
from genprior.study.measured_models import (
    ClassProbabilities,
    DefaultInversion,
    InversionErrors,
    Likelihoods,
    PriorScores,
    ReportInversion,
    RestoredImages,
    RestoredTask,
)
from genprior.study.opened_cell import OpenedCell, Pictures

BANDS = (0.0625, 0.125, 0.25, 0.71)  # cycles a pixel; the last one is the corner of the spectrum
SHARP = 0.25  # cycles a pixel
EDGE_SHARE, CORNER_SHARE = 0.15, 0.03  # of the pixels of an image
NOISE, FAINT, OUTLIERS = 0.5, 0.02, 0.1
TV_WEIGHTS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0)
TV_STEPS, TV_CHOSEN_ON = 150, 16
PICTURED = 10  # images in a strip
LIKELY = 256  # held-out images whose likelihood is taken, at most


def report_inversion(opened: OpenedCell) -> tuple[ReportInversion, Pictures]:
    """Inverts held-out images as the report does."""
    errors, pictures = _inversion(opened, replace(SEARCHES["study"], iterations=opened.size.iterations))
    return ReportInversion(**errors.model_dump()), pictures


def default_inversion(opened: OpenedCell) -> tuple[DefaultInversion, Pictures]:
    """Inverts the same images by the default search."""
    errors, pictures = _inversion(opened, SEARCHES["default"])
    return DefaultInversion(**errors.model_dump()), pictures


def restored_images(opened: OpenedCell) -> tuple[RestoredImages, Pictures]:
    """Denoises, fills holes and takes outliers out, by both data terms."""
    x, labels = opened.images(opened.size.restored)
    shape = opened.prior.image_shape
    side = max(1, min(shape[1:]) // 2)
    hole = OPERATORS["inpaint"](shape, box=side)
    plain = OPERATORS["denoise"](shape)
    noise, noisy = _task(opened, x, plain, Spec("gaussian", {"sigma": NOISE}), NOISE)
    filled, holed = _task(opened, x, hole, Spec("gaussian", {"sigma": FAINT}), FAINT)
    outliers, salted = _task(opened, x, plain, Spec("salt-and-pepper", {"p": OUTLIERS}), None)
    classical, weight = _total_variation(opened, noisy["seen"])
    mean = opened.split.learned.some(1000).mean(0, keepdim=True)
    beside = {"classical": classical, "mean_image": mean.expand_as(x)}
    noise = noise.model_copy(
        update={
            **{name: tuple(psnr(each, x).tolist()) for name, each in beside.items()},
            "hidden_error": _in_hole(noisy["l2"] - x, hole),
        }
    )
    filled = filled.model_copy(
        update={"hidden_error": _in_hole(holed["l1"] - x, hole), "hidden_fill": _in_hole(mean - x, hole)}
    )
    pictures = {
        f"{task}/{name}": each[:PICTURED]
        for task, made in (("noise", noisy), ("hole", holed), ("outliers", salted))
        for name, each in made.items()
    }
    tried = (weight, weight in (TV_WEIGHTS[0], TV_WEIGHTS[-1]))
    found = RestoredImages(noise=noise, hole=filled, outliers=outliers, labels=labels, variation_weight=tried)
    return found, {"truth": x[:PICTURED], "noise/classical": classical[:PICTURED], **pictures}


def class_probabilities(opened: OpenedCell) -> tuple[ClassProbabilities, Pictures]:
    """Draws from the posterior of images whose lower half is hidden, and lets the judge name the draws."""
    x, _ = opened.images(opened.size.drawn)
    network, shape, count = opened.judge.network, opened.prior.image_shape, opened.size.draws
    if not network.num_classes:
        return ClassProbabilities(probabilities=(), truth=(), real_accuracy=math.nan), {}
    operator = OPERATORS["inpaint"](shape, half="lower")
    y = measure(x, operator, NOISES["gaussian"](FAINT), seed=opened.seed)
    draws = draws_of(opened.prior, y, operator, FAINT, count, opened.seed).x.clamp(0, 1)
    classes = _named(opened, draws.flatten(0, 1)).reshape(len(x), -1)
    shares = F.one_hot(classes, network.num_classes).double().mean(1)
    found = ClassProbabilities(
        probabilities=tuple(tuple(each) for each in shares.tolist()),
        truth=tuple(_named(opened, x).tolist()),
        real_accuracy=opened.judge.record.accuracy,
    )
    open_first = shares.max(1).values.argsort()[:PICTURED]  # those that several classes explain
    pictures = {"truth": x, "seen": y.clamp(0, 1), "draws": draws[:, :6]}
    return found, {name: each[open_first] for name, each in pictures.items()}


def likelihoods(opened: OpenedCell) -> tuple[Likelihoods, Pictures]:
    """Asks the model how probable held-out images are."""
    x, _ = opened.images(LIKELY)
    config, shape = opened.run.config, opened.prior.image_shape
    found = config.log_probability(trained_checkpoint(opened.run.checkpoints).tensors, shape, x, opened.seed)
    first = next((row["bits_per_dim"] for row in read_rows(opened.run.steps) if row.get("bits_per_dim")), math.nan)
    if found is None:
        return Likelihoods(first_bits_per_dim=math.nan), {}
    bits = bits_per_dim(found.nats, math.prod(shape))
    return Likelihoods(bits_per_dim=tuple(bits.tolist()), how=found.how, first_bits_per_dim=first), {}


def prior_scores(opened: OpenedCell) -> tuple[PriorScores, Pictures]:
    """Asks the same three questions of every family."""
    x, _ = opened.images(opened.size.compared)
    shape = opened.prior.image_shape
    inversion = inverted(opened.prior, x)
    made = {}
    for name in ("denoise", "hole"):
        task = TASKS[name]
        operator = task.operator(shape).build(OPERATORS, "operator", image_shape=shape, seed=opened.seed)
        made[name] = restored(opened.prior, x, operator, task.sigma(shape), opened.seed)
    scores = PriorScores(
        inversion=tuple(inversion.error.tolist()),
        denoising=tuple(made["denoise"].psnr.tolist()),
        filling=tuple(made["hole"].psnr.tolist()),
        seconds=inversion.seconds + made["denoise"].seconds + made["hole"].seconds,
    )
    pictures = {"truth": x, "inverted": inversion.images, "hole": made["hole"].images, "seen": made["hole"].shown}
    return scores, {name: each[:PICTURED] for name, each in pictures.items()}


def _inversion(opened: OpenedCell, search: SearchSettings) -> tuple[InversionErrors, Pictures]:
    x, _ = opened.images(opened.size.inverted)
    found = invert(opened.prior, x, search, seed=opened.seed)
    residual = found.images - x
    mean = opened.split.learned.some(1000).mean(0, keepdim=True)
    squared, places = residual.square().mean(1), places_of(x)
    constant = (mean - x).square().mean(1)
    bands = band_ratios(residual, x)
    errors = InversionErrors(
        error=tuple(residual.square().flatten(1).mean(1).tolist()),
        at_edges=_within(squared, places.edges),
        at_corners=_within(squared, places.corners),
        elsewhere=_within(squared, places.elsewhere),
        bands=tuple(bands.nanmean(0).tolist()),
        band_limits=BANDS,
        bands_of=tuple(zip(bands[:, :2].nanmean(1).tolist(), bands[:, 2:].nanmean(1).tolist(), strict=True)),
        sharpness_made=tuple(sharpness(found.images).tolist()),
        sharpness_real=tuple(sharpness(x).tolist()),
        sharpness_samples=tuple(sharpness(opened.prior.sample(len(x), opened.seed)).tolist()),
        constant_error=tuple((mean - x).square().flatten(1).mean(1).tolist()),
        constant_at_edges=_within(constant, places.edges),
        constant_at_corners=_within(constant, places.corners),
        constant_elsewhere=_within(constant, places.elsewhere),
    )
    return errors, {"truth": x[:PICTURED], "inverted": found.images[:PICTURED], "residual": residual[:PICTURED]}


@dataclass(frozen=True)
class ImagePlaces:
    """Pixels near edges, near corners, and all others, bool (B, H, W) each; they do not overlap."""

    edges: Tensor
    corners: Tensor
    elsewhere: Tensor


def places_of(x: Tensor) -> ImagePlaces:
    """Returns where images x (B, C, H, W) have edges and corners: the strongest slopes, and Harris's response.

    Harris & Stephens 1988, A combined corner and edge detector: det M - 0.05 trace(M)^2 of the structure tensor M.
    """
    grey = x.mean(1, keepdim=True)
    slope = torch.tensor([[-1.0, 0.0, 1.0]]) / 2
    gx = F.conv2d(F.pad(grey, (1, 1, 0, 0), "replicate"), slope[None, None])
    gy = F.conv2d(F.pad(grey, (0, 0, 1, 1), "replicate"), slope.T[None, None].contiguous())
    xx, yy, xy = (F.avg_pool2d(each, 3, 1, 1) for each in (gx * gx, gy * gy, gx * gy))
    response = (xx * yy - xy * xy - 0.05 * (xx + yy).square())[:, 0]
    corners = F.max_pool2d(_strongest(response, CORNER_SHARE)[:, None].float(), 3, 1, 1)[:, 0] > 0
    edges = _strongest((gx.square() + gy.square())[:, 0], EDGE_SHARE) & ~corners
    return ImagePlaces(edges, corners, ~(edges | corners))


def band_ratios(residual: Tensor, x: Tensor) -> Tensor:
    """Returns the power of residuals over that of images x (B, C, H, W) in each of the bands (B, bands); mean apart."""
    power = [torch.fft.fft2(each).abs().square().sum(1) for each in (residual, x - x.mean((2, 3), keepdim=True))]
    radius = _frequencies(x)
    ratios, low = [], 0.0
    for high in BANDS:
        here = (radius > low) & (radius <= high)
        ratio = power[0][:, here].sum(1) / power[1][:, here].sum(1).clamp_min(1e-12)
        ratios.append(ratio if bool(here.any()) else torch.full_like(ratio, torch.nan))  # small images have gaps
        low = high
    return torch.stack(ratios, 1)


def sharpness(x: Tensor) -> Tensor:
    """Returns the share of the power of images (B, C, H, W) above a quarter of a cycle a pixel (B,); mean apart."""
    power = torch.fft.fft2(x - x.mean((2, 3), keepdim=True)).abs().square().sum(1)
    share: Tensor = power[:, _frequencies(x) > SHARP].sum(1) / power.flatten(1).sum(1).clamp_min(1e-12)
    return share


def _frequencies(x: Tensor) -> Tensor:
    """Cycles a pixel (H, W)."""
    height, width = x.shape[2:]
    radius: Tensor = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.fftfreq(width)[None].square()).sqrt()
    return radius


def _strongest(values: Tensor, share: float) -> Tensor:
    """Where values (B, H, W) are among the largest share of their image, and above 0."""
    least = torch.quantile(values.flatten(1), 1 - share, dim=1)[:, None, None]
    return (values > least) & (values > 0)


def _within(squared: Tensor, mask: Tensor) -> tuple[float, ...]:
    """Mean of squared errors (B, H, W) over a mask in each image; NaN where that is empty."""
    return tuple(((squared * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)).tolist())


def _task(
    opened: OpenedCell, x: Tensor, operator: Operator, noise: Spec, level: float | None
) -> tuple[RestoredTask, Pictures]:
    """Measures images and restores them by L2 and by L1."""
    y = measure(x, operator, noise.build(NOISES, "noise"), seed=opened.seed)
    made = {
        name: restore(
            opened.prior,
            y,
            operator.physics,
            fidelity=FIDELITIES[name](),
            noise_level=level,
            parameters={},
            seed=opened.seed,
        ).images
        for name in ("l2", "l1")
    }
    seen = y.clamp(0, 1)
    scores = {name: tuple(psnr(each, x).tolist()) for name, each in {"seen": seen, **made}.items()}
    return RestoredTask(**scores), {"seen": y, **made}


def _in_hole(off: Tensor, operator: Operator) -> tuple[float, ...]:
    """Mean squares of what images (B, C, H, W) are off, over the pixels that an operator hides."""
    hidden = 1 - operator.physics.A(torch.ones_like(off))
    return tuple(((off.square() * hidden).flatten(1).sum(1) / hidden.flatten(1).sum(1)).tolist())


@torch.no_grad()
def _total_variation(opened: OpenedCell, y: Tensor) -> tuple[Tensor, float]:
    """Images (B, C, H, W) of least total variation near noisy ones, and its weight, chosen on learned images."""
    from deepinv.models import TVDenoiser

    learned = opened.split.learned.some(TV_CHOSEN_ON)
    noisy = measure(
        learned, OPERATORS["denoise"](opened.prior.image_shape), NOISES["gaussian"](NOISE), seed=opened.seed + 1
    )

    def denoised(images: Tensor, weight: float) -> Tensor:
        found: Tensor = TVDenoiser(n_it_max=TV_STEPS)(images, ths=weight)
        return found.clamp(0, 1)

    best = max(TV_WEIGHTS, key=lambda weight: float(psnr(denoised(noisy, weight), learned).mean()))
    return denoised(y, best), best


def _named(opened: OpenedCell, x: Tensor) -> Tensor:
    """Class (B,) of each image, by the judge."""
    network = opened.judge.network
    classes = network.classes(features_of(network, x.float().clamp(0, 1)))
    assert classes is not None, "asked of a judge that knows classes"
    return classes
