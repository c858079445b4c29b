"""Images by their posterior, for priors that have one in closed form: no search. Knows priors, problems, data terms.

Under Gaussian noise the restored image is the posterior mean, which has the smallest expected squared error of all
estimates. Any other data term is replaced, at the prediction so far, by the Gaussian one that has its slope there and
is no steeper than it is at y (half-quadratic, Geman & Yang 1995), some times over. Such a result is approximate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import ConditionalPrior, Posterior
from genprior.priors.levels_posterior import LevelsPosterior
from genprior.restoration.estimates import LEAST_EFFECTIVE, judged_again, shown, with_draws
from genprior.restoration.fidelity import noise_scale
from genprior.restoration.gaussian_term import as_gaussian
from genprior.restoration.minimise import chosen_apart
from genprior.restoration.problem import Problem
from genprior.restoration.result import Restoration, verdicts, without_draws
from genprior.restoration.search_settings import SearchSettings
from genprior.restoration.solve import NoiseLevels, judged, misfits
from genprior.seeding import derived_generator

LEAST_NOISE = 0.002  # standard deviation: that of rounding to 8 bits is half of it, and less is none
LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of noise that is not known; it is drawn with the image
BETWEEN = 3  # levels from one of these to the next, near the most probable ones
BETWEEN_ALL = [(at, i) for at in range(len(LEVELS) - 1) for i in range(BETWEEN)]
IMPROBABLE = 1e-3  # probability of a level that is left out
ROUNDS = 6  # of replacing a data term that is not Gaussian
SETTLED = 1e-3  # change of a prediction, root mean square, after which the data term is no longer replaced
NUMBERS_AT_ONCE = 2**26  # of the means of all kinds, over all images
KINDS = 16  # of images, the most probable ones, among which candidates are sought
LIKELY = 1e-3  # probability of a kind whose image is a candidate
TIMES = 8  # draws of which one is chosen where the posterior is approximate
HALVINGS = 30  # of where the exponent lies that tempers weights; log weights may be millions
EXACT, APPROXIMATE = "closed form", "approximated"
Measure = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Explained:
    """What a posterior says of b images.

    Attributes:
        mean: (b, C, H, W).
        weights: Of kinds of images (b, K).
        means: Of each kind (b, K, C, H, W).
        log_evidence: (b,).
        posteriors: Of which places, and what they are; the last one that has a place counts.
        y, sigma: What they were taken to be measurements of, and the deviations of the noise (b, M).
        is_exact: Whether the data term was Gaussian (b,).
        rounds: Posteriors that it took (b,).
    """

    mean: Tensor
    weights: Tensor
    means: Tensor
    log_evidence: Tensor
    posteriors: tuple[tuple[Tensor, Posterior], ...]
    y: Tensor
    sigma: Tensor
    is_exact: Tensor
    rounds: Tensor

    def replaced(self, rows: Tensor, other: "_Explained") -> "_Explained":
        """With what another one says of some of the images (r,)."""
        values = {f.name: getattr(self, f.name).clone() for f in fields(self) if f.name != "posteriors"}
        for name, value in values.items():
            value[rows] = getattr(other, name)
        later = tuple((rows[which], own) for which, own in other.posteriors)
        before = (each for each in self.posteriors if not torch.isin(each[0], rows).all())
        return _Explained(**values, posteriors=(*before, *later))


@torch.no_grad()
def solve_in_closed_form(
    problem: Problem,
    conditional: ConditionalPrior,
    settings: SearchSettings,
    noise_level: float | None,
    is_shared: bool,
    seed: int = 0,
) -> Restoration:
    """Returns the restoration of all images.

    Arguments:
        problem: What is to be explained, by a linear operator.
        conditional: Its prior, as one that has a posterior.
        settings: How many candidates and draws are wanted, and which estimate; nothing else in them matters.
        noise_level: Standard deviation of the noise, or None where it is not known.
        is_shared: Whether the operator is the same for all images.
        seed: Any integer; image i's draws come from (seed, settings.first + i) alone.

    Raises:
        GenpriorError: The result is to leave the prior's range, which has no bounds.
    """
    if settings.beyond:
        raise GenpriorError(
            "goes with priors that make some images only; this one has a density of all", argument="beyond"
        )
    at_once = images_at_once(problem, conditional) if is_shared else 1
    parts = []
    for who in torch.split(torch.arange(len(problem.y), device=problem.y.device), at_once):
        found, scale = _explained(problem, conditional, who, noise_level)
        restoration = _restoration(problem, who, found, scale, settings.candidates, noise_level)
        parts.append(_with_draws(restoration, problem, who, found, settings, seed) if settings.draws else restoration)
    joined = Restoration.joined(parts)
    return judged_again(problem, joined, noise_level) if settings.draws else joined


def _with_draws(
    restoration: Restoration, problem: Problem, who: Tensor, found: _Explained, settings: SearchSettings, seed: int
) -> Restoration:
    """With draws of images (b,): exact ones, or ones that are chosen by weight where the posterior is near alone."""
    x = restoration.images.new_empty(len(who), settings.draws, *restoration.images.shape[1:])
    effective = torch.full_like(restoration.error, settings.draws)
    last = {place: number for number, (which, _) in enumerate(found.posteriors) for place in which.tolist()}
    for number, (which, own) in enumerate(found.posteriors):
        kept = torch.tensor([last[place] == number for place in which.tolist()], device=which.device)
        if not kept.any():
            continue
        is_exact = bool(found.is_exact[which[kept][0]])
        numbers = [settings.first + i for i in who[which].tolist()]
        drawn = own.draws(settings.draws if is_exact else TIMES * settings.draws, seed, numbers)[kept]
        rows = which[kept]
        if not is_exact:
            drawn, effective[rows] = _weighed(problem, who, found, restoration.weight, (rows, drawn), settings, seed)
        x[rows] = drawn
    encode = problem.prior.encode
    assert encode is not None
    z = encode(x.flatten(0, 1)).view(*x.shape[:2], -1)
    r_hat = torch.where(found.is_exact, 1.0, (1 + 1 / effective).sqrt())
    return with_draws(restoration, x, z, (r_hat, effective), settings, restoration.images)


def _weighed(
    problem: Problem,
    who: Tensor,
    found: _Explained,
    scale: Tensor,
    drawn: tuple[Tensor, Tensor],
    settings: SearchSettings,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Draws x (r, S, C, H, W) of rows (r,) out of (r, T, C, H, W) by importance weights, and their worth (r,).

    The weight of a draw is the likelihood over that of the Gaussian noise in its place. Their worth is that of these
    weights. Where it is next to none, draws are chosen by tempered ones: one draw for all would look sure.
    """
    chosen, worth = [], []
    for i, own in zip(drawn[0].tolist(), drawn[1], strict=True):
        prediction = problem.measure(own, who[i].expand(len(own)))
        gaussian = 0.5 * ((prediction - found.y[i]) / found.sigma[i]).square().sum(1)
        log_weight = gaussian - problem.misfit_of(prediction, who[i].expand(len(own))) / scale[i]
        generator = derived_generator(seed, "weighed", settings.first + int(who[i]))
        weight = _tempered(log_weight, min(LEAST_EFFECTIVE, settings.draws))
        places = torch.multinomial(weight.cpu(), settings.draws, True, generator=generator)
        chosen.append(own[places.to(own.device)])
        worth.append(_worth(torch.softmax(log_weight, 0)).clamp_max(settings.draws))
    return torch.stack(chosen), torch.stack(worth)


def _worth(weight: Tensor) -> Tensor:
    """Number of draws of equal weight that say as much as these (T,), whose weights add up to 1."""
    return 1 / weight.square().sum()


def _tempered(log_weight: Tensor, least: int) -> Tensor:
    """Returns weights (T,) that add up to 1: exp(t w) of the largest t <= 1 under which draws are worth that many."""
    weight, low, high = torch.softmax(log_weight, 0), 0.0, 1.0
    if _worth(weight) >= least:
        return weight
    for _ in range(HALVINGS):
        t = (low + high) / 2
        low, high = (t, high) if _worth(torch.softmax(t * log_weight, 0)) >= least else (low, t)
    return torch.softmax(low * log_weight, 0)


def images_at_once(problem: Problem, conditional: ConditionalPrior) -> int:
    """Returns for how many images that share an operator the means of all kinds stay in memory."""
    numbers = sum(value.numel() for network in conditional.networks for value in network.buffers())
    return max(1, min(NUMBERS_AT_ONCE // max(1, numbers), len(problem.y)))


def _explained(
    problem: Problem, conditional: ConditionalPrior, who: Tensor, noise_level: float | None
) -> tuple[_Explained, Tensor]:
    """What images (b,) that share an operator are, and the scale (b,) of their data terms."""
    y, fidelity = problem.y[who], problem.fidelity

    def measure(x: Tensor) -> Tensor:
        return problem.measure(x, who[:1].expand(len(x)))

    if noise_level is None:
        found = _of_any_level(conditional, y, measure)
        level = found.sigma[:, 0]
    else:
        level = torch.full_like(y[:, 0], max(noise_level, LEAST_NOISE))
        found = _posterior(conditional, y, measure, level[:, None].expand_as(y))
    scale = noise_scale(fidelity, level)
    if noise_level == 0:  # where there is no noise there is no other kind of it
        return found, scale
    prediction = measure(found.mean)
    pseudo, weight = as_gaussian(fidelity, prediction, y)
    same = torch.isclose(pseudo, y, atol=1e-4) & torch.isclose(weight, torch.ones_like(weight), rtol=1e-3)
    is_gaussian = (same | (problem.seen[who] == 0)).all(1)
    scale = torch.where(is_gaussian, level.square(), scale)
    open_rows = torch.nonzero(~is_gaussian)[:, 0]  # images that have not settled: each one settles alone
    for done in range(2, ROUNDS + 1):
        if not len(open_rows):
            break
        rows, seen = open_rows, prediction[open_rows]
        if noise_level is None:
            misfit = problem.misfit_of(seen, who[rows]) / problem.counts[who[rows]]
            scale[rows] = fidelity.scale(misfit).clamp_min(LEAST_NOISE**2)
        pseudo, weight = as_gaussian(fidelity, seen, y[rows])
        sigma = (scale[rows, None] / weight).sqrt().clamp_min(LEAST_NOISE)
        found = found.replaced(rows, _posterior(conditional, pseudo, measure, sigma, done))
        prediction[rows] = measure(found.mean[rows])
        open_rows = rows[(prediction[rows] - seen).square().mean(1).sqrt() >= SETTLED]
    return found, scale


def _of_any_level(conditional: ConditionalPrior, y: Tensor, measure: Measure) -> _Explained:
    """What images (b,) are where the level of the noise is not known: it is drawn with them, from `LEVELS` and between.

    Levels between are looked at around the most probable one of each image, and improbable ones are left out: what is
    said of an image does not depend on those beside it.
    """

    known: dict[float, Tensor] = {}

    def evidence_of(levels: Sequence[float]) -> Tensor:
        for each in levels:
            if each not in known:
                known[each] = conditional.posterior(y, measure, each).log_evidence
        return torch.stack([known[each] for each in levels], 1)

    best = evidence_of(LEVELS).argmax(1)
    steps = [float(LEVELS[at] * (LEVELS[at + 1] / LEVELS[at]) ** (i / BETWEEN)) for at, i in BETWEEN_ALL]
    steps.append(LEVELS[-1])
    far = (torch.arange(len(steps), device=y.device) - BETWEEN * best[:, None]).abs() > BETWEEN
    looked_at = torch.nonzero(~far.all(0))[:, 0].tolist()
    evidence = evidence_of([steps[i] for i in looked_at]).masked_fill(far[:, looked_at], -torch.inf)
    evidence = evidence.masked_fill(torch.softmax(evidence, 1) < IMPROBABLE, -torch.inf)
    kept = [place for place in range(len(looked_at)) if bool(torch.isfinite(evidence[:, place]).any())]
    levels = [steps[looked_at[place]] for place in kept]
    own = LevelsPosterior([conditional.posterior(y, measure, each) for each in levels], evidence[:, kept])
    sigma = torch.tensor(levels).to(y)[evidence[:, kept].argmax(1)][:, None].expand_as(y)
    place, once = torch.arange(len(y), device=y.device), torch.ones_like(best)
    means = own.means.transpose(0, 1)
    return _Explained(own.mean, own.weights, means, own.log_evidence, ((place, own),), y, sigma, once == 1, once)


def _posterior(
    conditional: ConditionalPrior, y: Tensor, measure: Measure, sigma: Tensor, rounds: int = 1
) -> _Explained:
    """The posterior of images (b,) with noise of standard deviations (b, M): images with equal ones at once."""
    rows, group = torch.unique(sigma, dim=0, return_inverse=True)
    order, parts, posteriors = [], [], []
    for number, row in enumerate(rows):
        which = torch.nonzero(group == number)[:, 0]
        level = row[:1] if bool((row == row[0]).all()) else row
        own = conditional.posterior(y[which], measure, level)
        order.append(which)
        posteriors.append((which, own))
        parts.append((own.mean, own.weights, own.means.transpose(0, 1), own.log_evidence))
    back = torch.argsort(torch.cat(order))
    mean, weights, means, log_evidence = (torch.cat(values)[back] for values in zip(*parts, strict=True))
    count = torch.full_like(group, rounds)
    return _Explained(mean, weights, means, log_evidence, tuple(posteriors), y, sigma, count == 1, count)


def _restoration(
    problem: Problem,
    who: Tensor,
    found: _Explained,
    scale: Tensor,
    candidates: int,
    noise_level: float | None,
) -> Restoration:
    images, numbers = _candidates(found, candidates)
    prior, best = problem.prior, images[:, 0]
    assert prior.encode is not None, "a prior with a posterior knows the latents of any image"
    z = prior.encode(images.flatten(0, 1)).view(*images.shape[:2], -1)
    noise = None if noise_level is None else NoiseLevels(noise_level, torch.full_like(scale, noise_level))
    error, level = judged(problem, best, who, noise)
    counts, one = problem.counts[who], torch.ones_like(who)
    return Restoration(
        images=best,
        latents=z[:, 0],
        misfit=misfits(problem, best[:, None], who)[:, 0],
        error=error,
        energy=prior.energy(z[:, 0]),
        weight=scale,
        starts=one,
        iterations=found.rounds,
        stopped=tuple(EXACT if exact else APPROXIMATE for exact in found.is_exact.tolist()),
        verdicts=verdicts(error, torch.ones_like(error), counts, torch.full_like(counts, prior.latent_size), level),
        candidates=images,
        candidate_latents=z,
        candidate_counts=numbers,
        **without_draws(images),
    )


def _candidates(found: _Explained, count: int) -> tuple[Tensor, Tensor]:
    """Images (b, count, C, H, W) in [0, 1], the mean first, then means of kinds that look different; and how many."""
    weights, kinds = found.weights.topk(min(KINDS, found.weights.shape[1]), dim=1)
    row = torch.arange(len(kinds), device=kinds.device)[:, None]
    x = torch.cat([found.mean[:, None], found.means[row, kinds]], 1)
    x = shown(x)
    fits = torch.nn.functional.pad(weights >= LIKELY, (1, 0), value=True)
    chosen = [chosen_apart(images, fit, count) for images, fit in zip(x, fits, strict=True)]
    numbers = torch.tensor([len(places) for places in chosen], device=kinds.device)
    places = torch.tensor([[*each, *[0] * (count - len(each))] for each in chosen], device=kinds.device)
    return x[row, places], numbers
