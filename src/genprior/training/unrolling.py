"""A discriminator some steps ahead, as a function of the fakes. Knows networks and Adam.

A generator that sees where the discriminator will go does not gain by moving all fakes to where it is weak now.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genprior.training.optimiser import AdamSettings

EPSILON = 1e-8  # Adam's own in torch
Weights = dict[str, Tensor]


def ahead(
    network: nn.Module,
    loss: Callable[[Callable[..., Tensor]], Tensor],
    steps: int,
    settings: AdamSettings,
    state: Mapping[str, Tensor],
    share: float = 1.0,
) -> Callable[..., Tensor]:
    """Returns a network as it will be after some steps of Adam, differentiable through all of these steps.

    Metz et al. 2016, https://arxiv.org/abs/1611.02163, equation 8, with Adam in the place of plain descent, since that
    is how the network really moves. The network itself stays as it is, its running statistics included.

    Arguments:
        network: What will move.
        loss: Of a callable that stands for the network; the same at each step.
        steps: At least 1.
        settings: Of Adam.
        state: Of the network's Adam, as `optimiser_state` tells it; empty before its first step.
        share: Of the learning rate in the settings.
    """
    weights = {name: value.detach().requires_grad_(True) for name, value in network.named_parameters()}
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    first = {name: state.get(f"{name}/exp_avg", torch.zeros_like(value)) for name, value in weights.items()}
    second = {name: state.get(f"{name}/exp_avg_sq", torch.zeros_like(value)) for name, value in weights.items()}
    done = max((int(value) for name, value in state.items() if name.endswith("/step")), default=0)
    for step in range(done + 1, done + steps + 1):
        gradients = _gradients(network, weights, buffers, loss, settings.weight_decay)
        first = {n: settings.beta1 * m + (1 - settings.beta1) * gradients[n] for n, m in first.items()}
        second = {n: settings.beta2 * v + (1 - settings.beta2) * gradients[n].square() for n, v in second.items()}
        rate = share * settings.learning_rate / (1 - settings.beta1**step)
        weights = {n: w - rate * first[n] / _scale(second[n], settings.beta2, step) for n, w in weights.items()}
    return _standing_for(network, weights, buffers)


def _gradients(
    network: nn.Module,
    weights: Weights,
    buffers: Weights,
    loss: Callable[[Callable[..., Tensor]], Tensor],
    weight_decay: float,
) -> Weights:
    value = loss(_standing_for(network, weights, buffers))
    gradients = torch.autograd.grad(value, list(weights.values()), create_graph=True)
    return {n: gradient + weight_decay * weights[n] for n, gradient in zip(weights, gradients, strict=True)}


def _scale(second: Tensor, beta2: float, step: int) -> Tensor:
    """Adam's denominator; the derivative of a root at 0 is infinite, and a gradient of 0 times it not a number."""
    return (second / (1 - beta2**step) + torch.finfo(second.dtype).tiny).sqrt() + EPSILON


def _standing_for(network: nn.Module, weights: Weights, buffers: Weights) -> Callable[..., Tensor]:
    def stand_in(x: Tensor, **options: int) -> Tensor:
        logits: Tensor = functional_call(network, {**weights, **buffers}, (x,), options)
        return logits

    return stand_in
