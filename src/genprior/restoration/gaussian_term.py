"""The Gaussian data term that stands for another one near a prediction. Knows data terms."""

import torch
from torch import Tensor

from genprior.restoration.fidelity import Fidelity

SMALLEST = 1e-3  # residual from which a slope tells a curvature
LEAST_WEIGHT = 1e-6
FADED = 0.01  # below black, from where on a measurement without a photon says nothing
INSIDE = (0.05, 0.95)  # measurements that are not clipped, nor nearly without a photon


@torch.enable_grad()
def as_gaussian(fidelity: Fidelity, prediction: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns y' and w > 0 (B, M): w (p - y')^2 / 2 stands for the data term at predictions p (B, M).

    It has the term's slope at p, but for predictions so dark that w would grow without end. Where the term is least at
    y, y' is y, and w the slope over p - y (iteratively reweighted least squares, Holland & Welsch 1977). Both change
    without jumps, and fade below 0, where photon counts have no slope: else images that are restored together, whose
    predictions differ by rounding, would end up different. Elsewhere, as at a bound where noise was clipped, w is at
    most the term's curvature beside y.
    """
    p = prediction.detach().requires_grad_()
    (slope,) = torch.autograd.grad(fidelity(p, y).sum(), p)
    at_y = y.detach().requires_grad_()
    (slope_at_y,) = torch.autograd.grad(fidelity(at_y, y).sum(), at_y)
    off, beside_y = (p - y).detach(), _curvature(fidelity, y.clamp(*INSIDE))
    is_least = slope_at_y.abs() <= SMALLEST * beside_y
    most = torch.where(is_least, _curvature(fidelity, torch.full_like(y, INSIDE[0])), beside_y)
    weight = torch.where(off.abs() > SMALLEST, slope / torch.where(off == 0, 1.0, off), beside_y)
    fading = torch.where(y < SMALLEST, (1 + (off + SMALLEST) / FADED).clamp_min(0), 1.0)
    weight = torch.where(is_least & (slope == 0) & (off < -SMALLEST), fading * most, weight)
    weight = torch.minimum(weight, most).clamp_min(LEAST_WEIGHT)
    return torch.where(is_least, y, prediction - slope / weight), weight


@torch.enable_grad()
def _curvature(fidelity: Fidelity, y: Tensor) -> Tensor:
    """Of the data term (B, M) at predictions of y."""
    p = y.detach().requires_grad_()
    (slope,) = torch.autograd.grad(fidelity(p, y).sum(), p, create_graph=True)
    return torch.autograd.grad(slope.sum(), p)[0]
