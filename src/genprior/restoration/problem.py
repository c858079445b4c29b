"""What is to be explained: measurements of many images, a prior to explain them with, and its encoder's first guess."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.priors.contracts import LatentPrior, dtype_of, takes_sides
from genprior.restoration.fidelity import Fidelity

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics, Physics

ROWS_AT_ONCE = 512  # more are no faster on a CPU, and take more memory


def out_of_inference(module: nn.Module) -> None:
    """Replaces weights and buffers that were made under `torch.inference_mode` by equal ones that autograd can use."""
    for each in module.modules():
        for name, value in each.named_parameters(recurse=False):
            if value.is_inference():
                setattr(each, name, nn.Parameter(value.clone(), requires_grad=value.requires_grad))
        for name, value in [*each.named_buffers(recurse=False), *vars(each).items()]:
            if isinstance(value, Tensor) and value.is_inference():
                setattr(each, name, value.clone())


def flat_measurement(y: object) -> Tensor:
    """Returns a measurement as real numbers (B, M): stacked ones side by side, complex ones as two numbers each."""
    if isinstance(y, Tensor):
        if y.ndim < 2:
            raise GenpriorError(f"expected a measurement (B, ...), got one of shape {tuple(y.shape)}", argument="y")
        return (torch.view_as_real(y.resolve_conj()) if y.is_complex() else y).flatten(1)
    from deepinv.utils import TensorList  # of stacked operators; it has no __iter__

    if not isinstance(y, (list, tuple, TensorList)) or not len(y):
        raise GenpriorError(f"expected a tensor (B, ...) or a list of them, got {type(y).__name__}", argument="y")
    return torch.cat([flat_measurement(y[i]) for i in range(len(y))], 1)


class MisfitAndEnergy(NamedTuple):
    """The two parts of the objective at R points, without a graph.

    Attributes:
        misfit, energy: (R,).
        misfit_slope, energy_slope: Their gradients in z (R, k).
    """

    misfit: Tensor
    energy: Tensor
    misfit_slope: Tensor
    energy_slope: Tensor

    def objective(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns misfit + weight * energy (R,) and its gradient (R, k), for weights (R,)."""
        return self.misfit + weight * self.energy, self.misfit_slope + weight[:, None] * self.energy_slope

    def where(self, rows: Tensor, other: "MisfitAndEnergy") -> "MisfitAndEnergy":
        """Returns these values where `rows` (R,) is true, else the other ones."""
        pairs = zip(self, other, strict=True)
        return MisfitAndEnergy(*(torch.where(rows if a.ndim == 1 else rows[:, None], a, b) for a, b in pairs))

    def taken(self, rows: Tensor) -> "MisfitAndEnergy":
        """Returns some of the points."""
        return MisfitAndEnergy(*(value[rows] for value in self))


@dataclass(frozen=True)
class Problem:
    """B measurements, and what is needed to compare an image with each of them.

    Rows (R,) below are searches, each for one image; `who` (R,) tells for which. Rows never influence each other.

    Attributes:
        prior: Where images come from.
        measure: x (R, C, H, W) and `who` (R,) -> predictions (R, M).
        y: (B, M).
        seen: (B, M), 1 where a number of y says something about the image, 0 where it is blank for every image.
        fidelity: The data term.
    """

    prior: LatentPrior
    measure: Callable[[Tensor, Tensor], Tensor]
    y: Tensor
    seen: Tensor
    fidelity: Fidelity

    @property
    def counts(self) -> Tensor:
        """Number of measurements (B,), at least 1."""
        return self.seen.sum(1).clamp_min(1)

    def predict(self, z: Tensor, who: Tensor) -> Tensor:
        """Returns predictions (R, M) of latents (R, k)."""
        return self.measure(self.prior.decode(z), who)

    def misfit_of(self, prediction: Tensor, who: Tensor) -> Tensor:
        """Returns the data terms (R,), summed over measurements."""
        return (self.fidelity(prediction, self.y[who]) * self.seen[who]).sum(1)

    def evaluate(self, z: Tensor, who: Tensor) -> MisfitAndEnergy:
        """Returns misfit and energy of latents (R, k), with their gradients."""
        parts = [
            self._evaluate(*part)
            for part in zip(torch.split(z, ROWS_AT_ONCE), torch.split(who, ROWS_AT_ONCE), strict=True)
        ]
        return MisfitAndEnergy(*(torch.cat(each) for each in zip(*parts, strict=True)))

    @torch.enable_grad()
    def _evaluate(self, z: Tensor, who: Tensor) -> MisfitAndEnergy:
        z = z.detach().requires_grad_()
        misfit = self.misfit_of(self.predict(z, who), who)
        if not misfit.requires_grad:
            raise GenpriorError("the operator's A(x), or the prior's decode(z), is not differentiable")
        (misfit_slope,) = torch.autograd.grad(misfit.sum(), z)
        energy = self.prior.energy(z)
        energy_slope = torch.autograd.grad(energy.sum(), z, allow_unused=True)[0] if energy.requires_grad else None
        if energy_slope is None:
            energy_slope = torch.zeros_like(z)
        return MisfitAndEnergy(misfit.detach(), energy.detach(), misfit_slope, energy_slope)


@torch.no_grad()
def sized_for(
    prior: LatentPrior, y: object, physics: "Physics", parameters: Mapping[str, Tensor] | None = None
) -> LatentPrior:
    """Returns the prior for the images that measurements are of: of the size of y, where the operator keeps sizes.

    Else, and where it fits, the prior's own size.

    Arguments:
        prior: Any.
        y: As `physics` makes it.
        physics: The operator.
        parameters: Of the operator for each image, (B, ...) each.
    """
    if not isinstance(y, Tensor) or y.ndim != 4 or y.shape[1] != prior.image_shape[0]:
        return prior
    if y.shape[1:] == prior.image_shape or not takes_sides(prior, y.shape[2:]):
        return prior
    own = {name: value[:1] for name, value in (parameters or {}).items()}
    for shape in (prior.image_shape, tuple(y.shape[1:])):
        try:
            answer = physics.A(torch.zeros(1, *shape, device=y.device), **own)
        except (RuntimeError, AssertionError, ValueError):  # of another size than the operator is for
            continue
        if isinstance(answer, Tensor) and answer.shape[1:] == y.shape[1:]:
            return prior.of_size(shape[1], shape[2])
    return prior


def make_problem(
    prior: LatentPrior,
    y: object,
    physics: "Physics | None",
    fidelity: Fidelity,
    parameters: Mapping[str, Tensor] | None = None,
) -> Problem:
    """Returns the problem of explaining `y` as measurements by `physics`.

    Arguments:
        prior: Where images come from.
        y: As `physics` makes it: a tensor (B, ...), real or complex, or a list of them.
        physics: Any differentiable operator; it remembers the last parameters. None: y are the images themselves.
        fidelity: The data term.
        parameters: Parameters of the operator for each image, (B, ...) each, such as {"mask": ...}.

    Raises:
        GenpriorError: The operator makes other measurements than y of the prior's images.
    """
    each = {name: value.clone() if value.is_inference() else value for name, value in (parameters or {}).items()}

    def measure(x: Tensor, who: Tensor) -> Tensor:
        own = {name: value[who] for name, value in each.items()}
        return flat_measurement(x if physics is None else physics.A(x, **own))

    # The precision is the prior's: what is loaded elsewhere often comes in float64.
    flat = flat_measurement(y).to(dtype_of(prior))
    flat = flat.clone() if flat.is_inference() else flat
    if physics is None:
        return Problem(prior, measure, flat, torch.ones_like(flat), fidelity)
    try:
        seen = _seen(prior, measure, flat)
    except RuntimeError as error:
        raise_lack_of_memory(error)
        reason = str(error).partition("\n")[0]
        raise GenpriorError(
            f"cannot measure {len(flat)} images {tuple(prior.image_shape)}{_held(physics, len(flat))}: {reason}",
            argument="physics",
        ) from error
    return Problem(prior, measure, torch.where(seen > 0, flat, 0.0), seen, fidelity)


def _held(physics: "Physics", count: int) -> str:
    """Words on parameters that an operator holds for another number of images."""
    buffers = dict(physics.named_buffers(recurse=False))
    other = {name: len(value) for name, value in buffers.items() if value.ndim >= 4 and len(value) not in (1, count)}
    return "".join(f", and its '{name}' is for {many}" for name, many in other.items())


@torch.no_grad()
def _seen(prior: LatentPrior, measure: Callable[[Tensor, Tensor], Tensor], y: Tensor) -> Tensor:
    """Returns 1 for each number of y that depends on the image: those that two images of noise leave at 0 do not."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, *prior.image_shape, generator=generator).to(y.device, y.dtype) + 0.1
    parts = []
    for who in torch.split(torch.arange(len(y), device=y.device), ROWS_AT_ONCE):
        answers = [measure(image.expand(len(who), *image.shape), who) for image in images]
        if answers[0].shape != (len(who), y.shape[1]):
            raise GenpriorError(
                f"expected {answers[0].shape[1]} numbers for each of {len(who)} images, as the operator makes them of "
                f"images {tuple(prior.image_shape)}, got {y.shape[1]}",
                argument="y",
            )
        parts.append((answers[0] != 0) | (answers[1] != 0))
    return torch.cat(parts).to(y.dtype)


@torch.no_grad()
def warm_start(
    prior: LatentPrior, y: object, physics: "Physics | None", parameters: Mapping[str, Tensor]
) -> Tensor | None:
    """Returns latents (B, k), or None where the prior has no encoder or the operator shows it nothing like an image.

    Arguments:
        prior: Its `encode` is used for whole images, its `encode_damaged` for measurements.
        y: The measurements.
        physics: The operator; None: y are images.
        parameters: Of the operator for each image.
    """
    if physics is None:
        assert isinstance(y, Tensor)
        return None if prior.encode is None else prior.encode(y)
    if prior.encode_damaged is None:
        return None
    shown = _as_image(prior, y, physics, parameters)
    if shown is None:
        return None
    x, known = shown
    has_holes = known is not None and bool((known == 0).any())
    return prior.encode_damaged(x, known if has_holes else None)


def _as_image(
    prior: LatentPrior, y: object, physics: "Physics", parameters: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor | None] | None:
    """Returns an image that shows what y knows, and which pixels of it are known (B, 1, H, W)."""
    from deepinv.physics import LinearPhysics

    if not isinstance(physics, LinearPhysics) or not isinstance(y, Tensor) or y.is_complex():
        return None
    y = y.to(dtype_of(prior))
    ones = torch.ones(len(y), *prior.image_shape, device=y.device, dtype=y.dtype)
    known = physics.A(ones, **parameters)
    if isinstance(known, Tensor) and known.shape == ones.shape and bool(((known == 0) | (known == 1)).all()):
        probe = torch.rand(ones.shape, generator=torch.Generator().manual_seed(0)).to(ones)
        if torch.equal(physics.A(probe, **parameters), probe * known):
            return y, known.amin(1, keepdim=True)
    x = _pseudo_inverse(y, physics, parameters) if isinstance(known, Tensor) and known.shape == y.shape else None
    return None if x is None or x.shape != ones.shape else (x.clamp(0, 1), None)


def _pseudo_inverse(y: Tensor, physics: "LinearPhysics", parameters: Mapping[str, Tensor]) -> Tensor | None:
    """The least-squares image of each measurement, or None where the operator does not know how to find it."""
    try:
        # One by one: the solver behind it goes on until the last image of a batch has converged.
        own = [{name: value[i : i + 1] for name, value in parameters.items()} for i in range(len(y))]
        return torch.cat([physics.A_dagger(y[i : i + 1], **each) for i, each in enumerate(own)])
    except (ValueError, NotImplementedError):  # what deepinv raises for an operator without an adjoint
        return None
