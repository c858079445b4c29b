"""Expectation maximisation of a mixture of factor analysers, on batches. Knows data and models."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.models.image_flow import bits_per_dim
from genprior.training.loop import Batch, check_batch
from genprior.training.mixture_start import started
from genprior.training.optimisation import grouped, joined
from genprior.training.processes import ON_CPU, Placement, Processes

CONSIDERED = 4  # components of an image, those with the nearest means; the others' shares are all but nothing
SMALLEST = 1e-6  # share below which an image is none of a component's
START_NUMBERS = 2**26  # of all images that decide the start
START_SHARE = 0.01  # of the images, that the start counts for: training leaves it the sooner the less that is
PARTS_OF_A_PASS, LARGEST_BATCH = 8, 10_000  # of an update: few images need several of them a pass
LEAST_IMAGES = 1.0  # of a component that moves: fewer tell nothing


@dataclass(frozen=True)
class MixtureSettings:
    """Hyperparameters.

    Attributes:
        components: K, at least 1; None: open.
        rank: r, at least 1; None: open.
        floor: Smallest variance of the noise, above 0.
        pseudo_images: How many images the noise that all components share counts for in each of them, at least 0.
        seed: Of the start.
    """

    components: int | None = None
    rank: int | None = None
    floor: float = 2.5e-5
    pseudo_images: float = 5.0
    seed: int = 0


@dataclass(frozen=True)
class Statistics:
    """Sums over images x, weighted by their shares r of each component; t stands for (f, 1), f the latents.

    Attributes:
        counts: sum r (K,).
        products: sum r x E[t]^T (K, D, r + 1).
        moments: sum r E[t t^T] (K, r + 1, r + 1).
        squares: sum r x^2 (K, D).
    """

    counts: Tensor
    products: Tensor
    moments: Tensor
    squares: Tensor

    def moved(self, keep: float, other: "Statistics") -> "Statistics":
        """Returns `keep` of these plus the other ones."""
        return Statistics(*(keep * a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def statistics_of(model: FactorAnalysers, images: float) -> Statistics:
    """Returns the statistics that so many images have on average which the mixture itself has drawn."""
    counts = images * model.weights
    lines = torch.cat([model.factors, model.means[..., None]], 2)
    eye = torch.eye(model.rank + 1).to(lines).expand(model.count, -1, -1)
    squares = lines.square().sum(2) + model.noise
    wide = counts[:, None, None]
    return Statistics(counts, wide * lines, wide * eye, counts[:, None] * squares)


@torch.no_grad()
def whitened(found: Statistics) -> Statistics:
    """Returns the statistics with latents whose mean is 0 and whose covariance is the identity over the images so far.

    The mixture is the same (parameter expansion, Liu, Rubin & Wu 1998). Without it old and new batches measure
    latents in different units, and over many passes of few images the factors grow without an end. Components that
    do not move keep their units.
    """
    moves = found.counts > LEAST_IMAGES
    counts = found.counts.clamp_min(LEAST_IMAGES)[:, None, None].double()
    rank = found.moments.shape[1] - 1
    eye = torch.eye(rank, dtype=torch.float64, device=found.moments.device)
    average = found.moments.double() / counts
    mean = average[:, :-1, -1:]
    covariance = average[:, :-1, :-1] - mean @ mean.mT
    roots = torch.linalg.cholesky(torch.where(moves[:, None, None], covariance + SMALLEST * eye, eye))
    units = torch.linalg.solve_triangular(roots, torch.cat([eye.expand_as(roots), -mean], 2), upper=False)
    last = torch.nn.functional.pad(units.new_ones(len(units), 1, 1), (rank, 0))
    units = torch.where(moves[:, None, None], torch.cat([units, last], 1), torch.eye(rank + 1).to(units))
    products = found.products.double() @ units.mT
    moments = units @ found.moments.double() @ units.mT
    return Statistics(found.counts, products.to(found.products), moments.to(found.moments), found.squares)


@torch.no_grad()
def expected(model: FactorAnalysers, x: Tensor) -> tuple[Statistics, Tensor]:
    """Returns the statistics of images x (B, D), and their log-densities (B,): the E-step.

    Only the nearest components of an image are considered: a variational E-step that still never lowers its bound
    (Neal & Hinton 1998), and with at most `CONSIDERED` components the exact one.
    """
    covariances = [model.covariance(c) for c in range(model.count)]
    nearest = torch.cdist(x, model.means).topk(min(CONSIDERED, model.count), largest=False).indices
    considered = torch.zeros(len(x), model.count, dtype=torch.bool, device=x.device).scatter_(1, nearest, True)
    joint = model.log_joint(x, considered, covariances)
    log_prob = torch.logsumexp(joint, 1)
    shares = (joint - log_prob[:, None]).exp()
    found = Statistics(*(torch.zeros_like(value) for value in vars(statistics_of(model, 1.0)).values()))
    for c, covariance in enumerate(covariances):
        rows = torch.nonzero(shares[:, c] > SMALLEST)[:, 0]
        if len(rows):
            share, own = shares[rows, c], x[rows]
            t = torch.nn.functional.pad(covariance.latents(own - model.means[c]), (0, 1), value=1.0)
            weighted = share[:, None] * t
            found.counts[c] = share.sum()
            found.products[c] = own.T @ weighted
            found.moments[c] = t.T @ weighted
            found.moments[c, :-1, :-1] += share.sum() * torch.cholesky_inverse(covariance.inner)
            found.squares[c] = share @ own.square()
    return found, log_prob


@torch.no_grad()
def maximised(model: FactorAnalysers, found: Statistics, settings: MixtureSettings) -> FactorAnalysers:
    """Returns the mixture under which the statistics are most likely: the M-step (Ghahramani & Hinton 1996, eq. 16).

    The noise of a component is shrunk towards what is left over in all of them together.
    """
    counts, size = found.counts[:, None], found.moments.shape[1]
    ridge = (SMALLEST * found.counts + SMALLEST)[:, None, None] * torch.eye(size).to(found.moments)
    # The moments are symmetric and positive; and MKL's batched LU may never return where it has several threads.
    roots = torch.linalg.cholesky((found.moments + ridge).double())
    lines = torch.cholesky_solve(found.products.mT.double(), roots).mT.to(found.products)
    left = (found.squares - 2 * (lines * found.products).sum(2) + ((lines @ found.moments) * lines).sum(2)).clamp_min(0)
    shared = left.sum(0) / counts.sum()
    noise = (left + settings.pseudo_images * shared) / (counts + settings.pseudo_images).clamp_min(SMALLEST)
    moves = found.counts > LEAST_IMAGES
    weights = found.counts + settings.pseudo_images + SMALLEST
    return FactorAnalysers(
        weights / weights.sum(),
        torch.where(moves[:, None], lines[..., -1], model.means),
        torch.where(moves[:, None, None], lines[..., :-1], model.factors),
        torch.where(moves[:, None], noise, model.noise).clamp_min(settings.floor),
    )


class ExpectationMaximisation:
    """A `Learner` that fits a mixture of factor analysers; its statistics forget as if each pass were the only one.

    With all images in a batch this is expectation maximisation as it is known. With smaller ones each batch replaces
    as large a part of the statistics as it is of the data, and the mixture moves after each (Cappe & Moulines 2009,
    https://arxiv.org/abs/0712.4273). Several processes do the same, each for itself.

    Arguments:
        data: Images, of which the start is made.
        settings: Hyperparameters.
        batch_size: Images in an update; None: an eighth of all, at most `LARGEST_BATCH`.
        placement: Device; everything is at least float32.
    """

    def __init__(
        self, data: Dataset, settings: MixtureSettings, batch_size: int | None = None, placement: Placement = ON_CPU
    ) -> None:
        self.settings = settings
        self.images_per_update = batch_size or min(LARGEST_BATCH, max(1, len(data) // PARTS_OF_A_PASS))
        self.placement, self.device, self.processes = placement, placement.device, Processes()
        self._data, self._images = data, len(data)

    @cached_property
    def model(self) -> FactorAnalysers:
        """The mixture; its start is made when it is first asked for, so that a resumed run makes none."""
        data, own = self._data, self.settings
        x = data.some(max(2, START_NUMBERS // data.images[0].numel())).flatten(1)
        return started(x.to(self.device, self.placement.wide), own.components, own.rank, own.floor, own.seed)

    @cached_property
    def statistics(self) -> Statistics:
        """Of the images so far, the start counted as a few of them."""
        return statistics_of(self.model, START_SHARE * self._images)

    def snapshot(self) -> dict[str, Tensor]:
        """Returns nothing: only players are kept at several ages."""
        return {}

    def parameter_counts(self) -> dict[str, int]:
        """Returns how many numbers the components are, and how many there are of them."""
        return {
            "components": self.model.count,
            "rank": self.model.rank,
            "numbers": sum(value.numel() for value in self.model.buffers()),
        }

    def slow_down(self) -> float | None:
        """Returns None: there is no learning rate."""
        return None

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` for points, other images than those that it was made for, or too few."""
        if data.is_points:
            raise GenpriorError("a mixture models images, not points; for points train a gan", argument="data")
        if data.image_shape != self._data.image_shape:
            raise GenpriorError(
                f"the mixture models images of shape {self._data.image_shape}, {data.name} has {data.image_shape}",
                argument="data",
            )
        if len(data) < 2:
            raise GenpriorError(f"a mixture needs at least 2 images, {data.name} has {len(data)}", argument="data")
        check_batch(self.images_per_update, data)

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Moves the mixture once; nothing is random, so `generator` is not used."""
        x = batch.images.flatten(1).to(self.device, self.placement.wide)
        found, log_prob = expected(self.model, x)
        self.statistics = whitened(self.statistics.moved(1 - len(x) / self._images, found))
        self.model = maximised(self.model, self.statistics, self.settings)
        return {
            "bits_per_dim": level_bits(log_prob, x.shape[1]).mean(),
            "noise": self.model.noise.mean().sqrt(),
            "components_used": torch.exp(torch.special.entr(self.model.weights).sum()),
        }

    def average_weights(self, images_seen: int) -> None:
        """Does nothing: the statistics are an average already."""

    def state_dict(self) -> dict[str, Tensor]:
        """Returns mixture and statistics."""
        return joined({"model": dict(self.model.named_buffers()), "statistics": vars(self.statistics)})

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        parts = {name: grouped(state, name) for name in ("model", "statistics")}
        self.model = FactorAnalysers(**{name: self._placed(value) for name, value in parts["model"].items()})
        self.statistics = Statistics(**{name: self._placed(value) for name, value in parts["statistics"].items()})

    def _placed(self, value: Tensor) -> Tensor:
        return value.clone().to(self.device, self.placement.wide)


def level_bits(log_density: Tensor, size: int) -> Tensor:
    """Returns bits per dimension of 8-bit images, from log-densities in nats at the middle of their levels.

    The midpoint rule: a level is 1/255 wide.
    """
    levels = size * torch.tensor(255.0, dtype=torch.float64).log()
    return bits_per_dim(log_density.double() - levels, size)
