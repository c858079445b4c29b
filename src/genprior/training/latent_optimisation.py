"""Generative latent optimisation: a generator and one code for each training image learn together.

Bojanowski et al. 2018, "Optimizing the Latent Space of Generative Networks", https://arxiv.org/abs/1707.05776.
Knows data, models and losses. `STARTS`, at the end, is the place to add a way to make the first codes.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.players import latent_size_of, parameter_count
from genprior.seeding import derived_generator, derived_seed
from genprior.training.loop import Batch, check_batch
from genprior.training.optimisation import AdamSettings, Descent, Pace, Parts, WeightAverage, annealed, grouped, joined
from genprior.training.processes import ON_CPU, Placement, Processes
from genprior.training.reconstruction_losses import ReconstructionLoss, squared_error

PCA_IMAGES = 20_000  # more do not change the components
PCA_FEATURES = 4096  # above which the covariance is too large to be decomposed whole
AT_ONCE = 4096


class CodeTable:
    """One code for each image, in the unit ball; a step moves the rows of a batch and no others.

    Each row has an Adam of its own (Kingma & Ba 2015, algorithm 1), with its own count of steps: what stands still
    between two visits keeps its momentum as it is.

    Arguments:
        values: (N, k), the first codes; those outside the ball are put on its surface.
        settings: Of Adam.
    """

    def __init__(self, values: Tensor, settings: AdamSettings) -> None:
        self.values, self.settings = in_ball(values), settings
        self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)
        self.steps = values.new_zeros(len(values), 1)

    @torch.no_grad()
    def step(self, indices: Tensor, gradient: Tensor, share: float) -> None:
        """Moves the codes of a batch once; an image that stands twice in it moves by the sum of its gradients.

        Arguments:
            indices: (B,).
            gradient: (B, k).
            share: Of the learning rate in the settings, at least 0.
        """
        rows, places = torch.unique(indices, return_inverse=True)
        g = gradient.new_zeros(len(rows), gradient.shape[1]).index_add_(0, places, gradient)
        beta1, beta2 = self.settings.beta1, self.settings.beta2
        first = self.first[rows].lerp(g, 1 - beta1)
        second = self.second[rows].lerp(g.square(), 1 - beta2)
        steps = self.steps[rows] + 1
        unbiased = first / (1 - beta1**steps), second / (1 - beta2**steps)
        change = self.settings.learning_rate * share * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
        self.values[rows] = in_ball(self.values[rows] - change)
        self.first[rows], self.second[rows], self.steps[rows] = first, second, steps

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the moments of all codes and their counts of steps."""
        return {"exp_avg": self.first, "exp_avg_sq": self.second, "step": self.steps}

    def load_state_dict(self, codes: Tensor, state: dict[str, Tensor]) -> None:
        """Restores codes (N, k) and what `state_dict` returned; raises `RuntimeError` where shapes differ."""
        pairs = [(self.values, codes), (self.first, state["exp_avg"])]
        pairs += [(self.second, state["exp_avg_sq"]), (self.steps, state["step"])]
        for own, saved in pairs:
            if own.shape != saved.shape:
                raise RuntimeError(f"codes of shape {tuple(own.shape)} cannot be loaded from {tuple(saved.shape)}")
            own.copy_(saved)


def in_ball(codes: Tensor) -> Tensor:
    """Returns codes (N, k) projected on the unit ball, z / max(1, |z|)."""
    return codes / _norms(codes).clamp_min(1.0)


def _norms(codes: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(codes, dim=1, keepdim=True)
    return norms


class GLO:
    """An `Algorithm` that trains a generator and the codes of its images; a step sees `batch_size` images.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W), in float32, or in float64 where the placement's dtype is.
        codes: (N, k), where the codes start, in the order of the images.
        loss: Of made images against real ones, one value for each.
        batch_size: Images in one update, over all processes together; >= 2.
        generator_adam, code_adam: Settings of the optimisers, at the height of the schedule.
        average_half_life: Of the generator's moving average, in images.
        placement: Device and arithmetic of the generator, and the processes; losses and codes are at least float32.

    Raises:
        GenpriorError: The batch cannot be shared evenly among the processes.
    """

    def __init__(
        self,
        generator: nn.Module,
        codes: Tensor,
        loss: ReconstructionLoss = squared_error,
        *,
        batch_size: int = 128,
        generator_adam: AdamSettings = AdamSettings(0.002),  # noqa: B008 - frozen
        code_adam: AdamSettings = AdamSettings(0.01),  # noqa: B008
        average_half_life: float = 10_000,
        placement: Placement = ON_CPU,
    ) -> None:
        placement.check_batch_size(batch_size)
        self.placement, self.device, self.processes = placement, placement.device, placement.processes
        self.generator = placement.placed(generator)
        self.latent_size = latent_size_of(generator)
        self.codes = CodeTable(_same_everywhere(codes.to(self.device, placement.wide), self.processes), code_adam)
        self.average = WeightAverage(self.generator, average_half_life)
        self.loss, self.images_per_update, self.pace = loss, batch_size, Pace()
        self._descent = Descent(self.generator, generator_adam, self.processes)
        self._parts = Parts(
            {"generator": self.generator, "average": self.average.network, "generator_adam": self._descent}
        )

    def snapshot(self) -> dict[str, Tensor]:
        """Returns nothing: only players are kept at several ages."""
        return {}

    def parameter_counts(self) -> dict[str, int]:
        """Returns the number of parameters of the generator, and how many numbers the codes are."""
        return {"generator": parameter_count(self.generator), "codes": self.codes.values.numel()}

    def slow_down(self) -> float | None:
        """Halves the learning rates; see `Pace.slow_down`."""
        return self.pace.slow_down()

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where generator, codes and data do not fit."""
        check_images(data)
        check_batch(self.images_per_update, data)
        shape = getattr(self.generator, "image_shape", None)
        if shape != data.image_shape:
            raise GenpriorError(
                f"the generator makes images of shape {shape}, {data.name} has {data.image_shape}", argument="data"
            )
        if len(data) != len(self.codes.values):
            raise GenpriorError(
                f"expected one image for each of the {len(self.codes.values)} codes, {data.name} has {len(data)}; "
                "train anew on other data",
                argument="data",
            )

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates the generator and the batch's codes once; nothing is random, so `generator` is not used."""
        indices = batch.indices.to(self.device)
        real = self.placement.share(batch.images)
        z = self.codes.values[self.processes.share(indices)].requires_grad_()
        made = self.generator(z.to(self.placement.dtype)).to(self.placement.wide)
        losses = self.loss(made, real)
        share = annealed(progress) * self.pace.share
        norm, bad = self._descent.step(losses.mean(), share)
        assert z.grad is not None
        gather = self.processes.gather
        gradient = gather(z.grad * len(z))  # by each code of the sum of all losses, not of their mean
        self.codes.step(indices, gradient, share)
        return {
            "loss": gather(losses.detach()).mean(),
            "reconstruction_error": gather(squared_error(made.detach(), real)).mean(),
            "code_norm": self.codes.values[indices].norm(dim=1).mean(),
            "gradient_norm": norm,
            "non_finite_gradients": bad + (~torch.isfinite(gradient).all(1)).sum(),
        }

    def average_weights(self, images_seen: int) -> None:
        """Moves the generator's average after an update."""
        self.average.update(self.images_per_update, images_seen)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of the generator, its average, the codes, both optimisers, and the rate."""
        own = {"codes": self.codes.values, "rate": torch.tensor(self.pace.share, dtype=torch.float64)}
        return self._parts.state_dict() | joined({"codes_adam": self.codes.state_dict()}) | own

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._parts.load_state_dict(state)
        self.codes.load_state_dict(state["codes"], grouped(state, "codes_adam"))
        self.pace.share = float(state["rate"])


def _same_everywhere(codes: Tensor, processes: Processes) -> Tensor:
    """A copy, that of the first process: machines may differ in the last digits of an eigenvector."""
    codes = codes.clone()
    if processes.count > 1:
        torch.distributed.broadcast(codes, 0)
    return codes


def check_images(data: Dataset) -> None:
    """Raises `GenpriorError` for points, and for images that are others at each visit."""
    if data.is_points:
        raise GenpriorError(
            f"GLO learns images, {data.name} holds points; train a GAN on them (genprior train gan --preset points)",
            argument="data",
        )
    if data.whole is not None:
        raise GenpriorError(
            "GLO learns a code of each image, and random crops are never the same; take crop, or another family",
            argument="fit",
        )


def random_codes(data: Dataset, size: int, seed: int) -> Tensor:
    """Returns codes (N, size) drawn from N(0, I) and put on the unit sphere, as in the paper's section 2."""
    codes = torch.randn(len(data), size, generator=derived_generator(seed, "codes"))
    return codes / _norms(codes)


def pca_codes(data: Dataset, size: int, seed: int) -> Tensor:
    """Returns the principal components (N, size) of the images, scaled so that the longest code has norm 1.

    Arguments:
        data: Images, more than `size`.
        size: k; where an image has fewer values, the rest of its code is 0.
        seed: Any integer.

    Raises:
        GenpriorError: Too few images.
    """
    if len(data) <= size:
        raise GenpriorError(
            f"principal components of {size} numbers need {size + 1} images, {data.name} has {len(data)}; give a "
            "smaller latent_size or start=random",
            argument="latent_size",
        )
    model = _pca(data.some(PCA_IMAGES).flatten(1), size, seed)
    everything = torch.split(torch.arange(len(data)), AT_ONCE)
    found = [torch.from_numpy(model.transform(data.take(part).flatten(1).numpy())) for part in everything]
    codes = torch.cat(found).float()
    codes = torch.nn.functional.pad(codes, (0, size - codes.shape[1]))
    return codes / _norms(codes).max().clamp_min(1e-12)


def _pca(x: Tensor, size: int, seed: int) -> Any:  # noqa: ANN401 - scikit-learn has no types
    from sklearn.decomposition import PCA

    solver = "covariance_eigh" if x.shape[1] <= PCA_FEATURES else "randomized"
    model = PCA(min(size, *x.shape), svd_solver=solver, random_state=derived_seed(seed, "pca") % 2**32)
    return model.fit(x.numpy())


# Each takes the data, the length of a code and a seed, and returns codes (N, k).
STARTS: dict[str, Callable[[Dataset, int, int], Tensor]] = {
    "pca": pca_codes,
    "random": random_codes,
}
