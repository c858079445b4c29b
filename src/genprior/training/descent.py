"""One step down a loss: gradients of all processes, their norm, clipping, Adam. Knows optimisers and processes."""

import torch
from torch import Tensor, nn

from genprior.training.optimiser import AdamSettings, adam, load_optimiser_state, optimiser_state
from genprior.training.processes import Processes


class Descent:
    """Adam over a network, with gradients averaged over processes and clipped by their joint norm.

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
        self._adam = adam(network, settings)

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
        norms = torch.stack(torch._foreach_norm(grads))
        norm = norms.norm()
        if self.clip is not None:
            torch._foreach_mul_(grads, (self.clip / norm).clamp_max(1.0))
        for group in self._adam.param_groups:
            group["lr"] = self.settings.learning_rate * share
        self._adam.step()
        return norm, (~torch.isfinite(norms)).sum()

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the optimiser's tensors by name; empty before the first step."""
        return optimiser_state(self._adam, self.network)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        load_optimiser_state(self._adam, self.network, state)
