"""Adam and its state under readable names. Imports nothing of ours."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


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


def adam(network: nn.Module, settings: AdamSettings) -> torch.optim.Adam:
    """Returns Adam over all parameters of `network`, in torch's fused form."""
    return torch.optim.Adam(
        network.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )


def optimiser_state(optimiser: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Returns the optimiser's tensors as {"<parameter>/<quantity>": tensor}; empty before the first step."""
    return {
        f"{name}/{quantity}": value
        for name, parameter in network.named_parameters()
        for quantity, value in optimiser.state[parameter].items()
    }


def load_optimiser_state(optimiser: torch.optim.Optimizer, network: nn.Module, state: dict[str, Tensor]) -> None:
    """Restores what `optimiser_state` returned."""
    optimiser.state.clear()
    for name, parameter in network.named_parameters():
        mine = {key.rpartition("/")[2]: value for key, value in state.items() if key.rpartition("/")[0] == name}
        if mine:
            optimiser.state[parameter] = {quantity: _like(value, parameter) for quantity, value in mine.items()}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy in the device and memory layout of the parameter, without which the fused update is wrong."""
    if value.dim() == 0:
        return value.clone().to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
