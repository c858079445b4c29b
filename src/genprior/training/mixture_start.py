"""Where a mixture of factor analysers starts: clusters of the images, and the principal axes of each. Knows models."""

import torch
from torch import Tensor

from genprior.models.factor_analysers import FactorAnalysers
from genprior.seeding import derived_seed, initialised

AXES = 50  # in which images are clustered: what distinguishes kinds of images is coarse
CLUSTERED = 10_000  # images that decide where the clusters are
PER_COMPONENT = (2000, 500)  # images of a component, tried where the number of components is open
RANKS = (150, 100, 50, 25, 12)  # tried where the rank is open
MOST_NUMBERS = 2**24  # of all factors together: more takes minutes and gigabytes
JUDGED = 1000  # images that decide between sizes
MENDED = 0.04  # nats a value: what a start over-fits more than another of lower rank, and training mends


def started(x: Tensor, components: int | None, rank: int | None, floor: float, seed: int) -> FactorAnalysers:
    """Returns a mixture to begin with; where a size is open, that under which images beside it are most likely.

    Of ranks that are nearly as good the largest is taken: training gains more with it.

    Arguments:
        x: Images (N, D), N at least 2.
        components: K, at least 1, or None: open. No more than N.
        rank: r, at least 1, or None: open. No more than D.
        floor: Smallest variance of the noise.
        seed: Any integer.
    """
    every = max(2, len(x) // min(JUDGED, max(1, len(x) // 10)))
    is_judge = torch.arange(len(x)) % every == 0
    learned, judge = x[~is_judge], x[is_judge]
    axes = _principal_axes(learned, seed)
    counts = [components] if components else sorted({max(1, len(x) // images) for images in PER_COMPONENT})
    best: tuple[float, FactorAnalysers] | None = None
    for count in counts:
        ranks = _ranks(x.shape[1], count, rank)
        whole = _of_clusters(learned, _clustered(learned, axes, min(count, len(learned)), seed), ranks[0], floor, seed)
        if len(ranks) * len(counts) == 1:
            return whole
        scores = {each: float(whole.cut(each).log_prob(judge).mean()) for each in ranks}
        highest = max(scores.values())
        if best is None or highest > best[0]:
            good = [each for each, score in scores.items() if score >= highest - MENDED * x.shape[1]]
            best = highest, whole.cut(max(good))
    assert best is not None, "there is at least one number of components"
    return best[1]


def _ranks(size: int, count: int, rank: int | None) -> list[int]:
    """Ranks to be tried with a number of components, the largest first."""
    if rank:
        return [min(rank, size)]
    most = max(1, min(size, MOST_NUMBERS // (size * count)))
    return sorted({min(each, most) for each in RANKS}, reverse=True)


def _principal_axes(x: Tensor, seed: int) -> Tensor:
    """The first principal axes (D, q) of images (N, D)."""
    some = x[:: max(1, len(x) // CLUSTERED)]
    return _svd(some - some.mean(0), AXES, seed)[1]


def _svd(rows: Tensor, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """The largest singular values (q,) and right singular vectors (D, q) of rows (N, D), q at most `rank`."""
    rank = min(rank, *rows.shape)
    _, values, vectors = initialised(lambda: torch.svd_lowrank(rows, q=rank, niter=1), seed, "axes")
    return values, vectors


def _clustered(x: Tensor, axes: Tensor, count: int, seed: int) -> Tensor:
    """The cluster of each image (N,), by k-means from a start of k-means++ (Arthur & Vassilvitskii 2007)."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # of scikit-learn

    short = (x @ axes).cpu()
    some = short[:: max(1, len(short) // CLUSTERED)]
    model = KMeans(count, n_init=1, max_iter=10, random_state=derived_seed(seed, "clusters") % 2**32)
    with warnings.catch_warnings(), threadpool_limits(1):  # several threads add up in an order that changes
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than clusters
        model.fit(some.numpy())
        return torch.from_numpy(model.predict(short.numpy())).long().to(x.device)


def _of_clusters(x: Tensor, cluster: Tensor, rank: int, floor: float, seed: int) -> FactorAnalysers:
    """The mixture of probabilistic principal components of each cluster (Tipping & Bishop 1999)."""
    count, size = int(cluster.max()) + 1, x.shape[1]
    means, noise = x.new_zeros(count, size), x.new_empty(count, size)
    factors, weights = x.new_zeros(count, size, rank), x.new_empty(count)
    for c in range(count):
        rows = x[cluster == c]
        if not len(rows):  # of an image that stands twice; it is never near
            rows = x
        means[c], weights[c] = rows.mean(0), len(rows)
        values, axes = _svd(rows - means[c], rank, seed)
        own = values.square() / len(rows)
        variance = (rows - means[c]).square().mean(0)
        left = (variance.sum() - own.sum()).clamp_min(0) / max(1, size - len(own))
        factors[c, :, : len(own)] = axes * (own - left).clamp_min(0).sqrt()
        noise[c] = (variance - factors[c].square().sum(1)).clamp_min(floor)
    return FactorAnalysers(weights / weights.sum(), means, factors, noise)
