"""How weights move: Adam with its state by names, steps down a loss, learning rates over a budget, and averages.

Knows processes only. `SCHEDULES`, at the end, is the place to add a schedule.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genprior.training.processes import Processes

EPSILON = 1e-8  # Adam's own in torch
SLOWEST = 2.0**-10  # share of the learning rates below which training stops instead
WARM_UP = 0.05  # share of the budget in which the learning rate rises
Weights = dict[str, Tensor]


class Stateful(Protocol):
    """A part of an algorithm whose tensors are saved: a network, or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Returns its tensors by name."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Restores what `state_dict` returned."""


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the tensors of all parts, each under "<part>/<name>".

    Example:
        >>> joined({"a": {"x": Tensor()}, "b": {"x": Tensor()}}).keys()
        dict_keys(['a/x', 'b/x'])
    """
    return {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}


def grouped(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Returns the tensors of one part, by name."""
    prefix = part + "/"
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


class Parts:
    """Parts of an algorithm by name, saved and restored together.

    Arguments:
        parts: Networks and optimisers.
    """

    def __init__(self, parts: Mapping[str, Stateful]) -> None:
        self.parts = parts

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of all parts, each under "<part>/<name>"."""
        return joined({name: part.state_dict() for name, part in self.parts.items()})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        for name, part in self.parts.items():
            part.load_state_dict(grouped(state, name))


@dataclass(frozen=True)
class AdamSettings:
    """Hyperparameters of Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980).

    Attributes:
        learning_rate: Greater than 0.
        beta1, beta2: Decay of the first and the second moment, in [0, 1).
        weight_decay: Coefficient of the L2 term that is added to the gradient, at least 0.
    """

    learning_rate: float
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 0.0


class Descent:
    """Adam over a network, in torch's fused form, with gradients averaged over processes and clipped by their norm.

    Arguments:
        network: What learns.
        settings: Of Adam.
        processes: Those that train together.
        clip: Largest norm of the gradient; None: any.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: AdamSettings,
        processes: Processes | None = None,
        clip: float | None = None,
    ) -> None:
        self.network, self.settings, self.clip = network, settings, clip
        self.processes = processes or Processes()
        betas = settings.beta1, settings.beta2
        self._adam = torch.optim.Adam(
            network.parameters(), settings.learning_rate, betas, weight_decay=settings.weight_decay, fused=True
        )

    def step(self, loss: Tensor, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """Updates the network once.

        Arguments:
            loss: A scalar.
            share: Of the learning rate in the settings, at least 0.

        Returns:
            The gradient's norm before clipping, and the number of parameters whose gradient is not finite.
        """
        own = list(self.network.parameters())
        self._adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.processes.average_gradients(own)
        grads = [p.grad for p in own if p.grad is not None]
        # The number that `torch.nn.utils.get_total_norm` returns, which does not tell how many are not finite.
        norms = torch.stack(torch._foreach_norm(grads))
        norm = norms.norm()
        if self.clip is not None:  # `clip_grads_with_norm_` adds 1e-6 to the norm, and so clips to less than `clip`
            torch._foreach_mul_(grads, (self.clip / norm).clamp_max(1.0))
        for group in self._adam.param_groups:
            group["lr"] = self.settings.learning_rate * share
        self._adam.step()
        return norm, (~torch.isfinite(norms)).sum()

    def state_dict(self) -> dict[str, Tensor]:
        """Returns Adam's tensors as {"<parameter>/<quantity>": tensor}; empty before the first step."""
        return {
            f"{name}/{quantity}": value
            for name, parameter in self.network.named_parameters()
            for quantity, value in self._adam.state[parameter].items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._adam.state.clear()
        for name, parameter in self.network.named_parameters():
            mine = {key.rpartition("/")[2]: value for key, value in state.items() if key.rpartition("/")[0] == name}
            if mine:
                self._adam.state[parameter] = {quantity: _like(value, parameter) for quantity, value in mine.items()}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy in the device, memory layout and precision of the parameter, without which the fused update is wrong."""
    if value.dim() == 0:
        return value.clone().to(parameter.device)
    return torch.empty_like(parameter).copy_(value)


class Pace:
    """The share of the learning rates in the settings that setbacks have left, in [2^-10, 1]."""

    def __init__(self) -> None:
        self.share = 1.0

    def slow_down(self) -> float | None:
        """Halves the share and returns it; returns None, and leaves it, where it would fall below 2^-10."""
        if self.share / 2 < SLOWEST:
            return None
        self.share /= 2
        return self.share


class WeightAverage:
    """An averaged copy of a network (Polyak & Juditsky 1992), running statistics of its normalisations included.

    After a step of n images every value moves towards the network's by 1 - 2^(-n / h). The half-life h is
    `half_life`, but never more than a tenth of the images seen, so that the first random weights are soon forgotten
    (as in Karras et al. 2022, https://arxiv.org/abs/2206.00364, appendix F).

    Arguments:
        network: The network to follow.
        half_life: h in images, greater than 0.
    """

    def __init__(self, network: nn.Module, half_life: float) -> None:
        self.half_life = half_life
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = [
            (average, current)
            for average, current in zip(_values(self.network), _values(network), strict=True)
            if average.is_floating_point()  # the count of batches is no average
        ]
        self._averages = [average for average, _ in pairs]
        self._currents = [current for _, current in pairs]

    @torch.no_grad()
    def update(self, images: int, images_seen: int) -> None:
        """Moves the average after a step of `images`, the last of `images_seen`."""
        half_life = min(self.half_life, 0.1 * images_seen)
        torch._foreach_lerp_(self._averages, self._currents, 1 - 0.5 ** (images / half_life))


def _values(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


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
    is how the network really moves. The network itself stays as it is, its running statistics included. A generator
    that sees where the discriminator will go does not gain by moving all fakes to where it is weak now.

    Arguments:
        network: What will move.
        loss: Of a callable that stands for the network; the same at each step.
        steps: At least 1.
        settings: Of Adam.
        state: Of the network's Adam, as `Descent.state_dict` returns it; empty before its first step.
        share: Of the learning rate in the settings.
    """
    weights = {name: value.detach().requires_grad_(True) for name, value in network.named_parameters()}
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    first = {name: state.get(f"{name}/exp_avg", torch.zeros_like(value)) for name, value in weights.items()}
    second = {name: state.get(f"{name}/exp_avg_sq", torch.zeros_like(value)) for name, value in weights.items()}
    done = max((int(value) for name, value in state.items() if name.endswith("/step")), default=0)
    for step in range(done + 1, done + steps + 1):
        value = loss(_standing_for(network, weights, buffers))
        found = torch.autograd.grad(value, list(weights.values()), create_graph=True)
        gradients = {n: g + settings.weight_decay * weights[n] for n, g in zip(weights, found, strict=True)}
        first = {n: settings.beta1 * m + (1 - settings.beta1) * gradients[n] for n, m in first.items()}
        second = {n: settings.beta2 * v + (1 - settings.beta2) * gradients[n].square() for n, v in second.items()}
        rate = share * settings.learning_rate / (1 - settings.beta1**step)
        weights = {n: w - rate * first[n] / _scale(second[n], settings.beta2, step) for n, w in weights.items()}
    return _standing_for(network, weights, buffers)


def _scale(second: Tensor, beta2: float, step: int) -> Tensor:
    """Adam's denominator; the derivative of a root at 0 is infinite, and a gradient of 0 times it not a number."""
    return (second / (1 - beta2**step) + torch.finfo(second.dtype).tiny).sqrt() + EPSILON


def _standing_for(network: nn.Module, weights: Weights, buffers: Weights) -> Callable[..., Tensor]:
    def stand_in(x: Tensor, **options: int) -> Tensor:
        logits: Tensor = functional_call(network, {**weights, **buffers}, (x,), options)
        return logits

    return stand_in


def annealed(progress: float, warm_up: float = WARM_UP) -> float:
    """Returns the learning rate as a share of the largest: it rises linearly, then falls as a cosine.

    Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5.

    Arguments:
        progress: Share of the budget that is used, in [0, 1].
        warm_up: Share in which the rate rises, in (0, 1).

    Example:
        >>> [round(annealed(progress), 2) for progress in (0.0, 0.025, 0.05, 0.525, 1.0)]
        [0.01, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warm_up:
        return max(0.01, progress / warm_up)
    return 0.5 * (1 + math.cos(math.pi * (min(1.0, progress) - warm_up) / (1 - warm_up)))


def constant(progress: float) -> float:
    """Returns 1."""
    return 1.0


def linear(progress: float) -> float:
    """Returns 1 at first and 0 at the end of the budget, linearly in between.

    Example:
        >>> [linear(progress) for progress in (0.0, 0.25, 1.0)]
        [1.0, 0.75, 0.0]
    """
    return 1.0 - min(1.0, progress)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "linear": linear, "annealed": annealed}
