"""Where a model is trained: device, arithmetic, and the processes that train it together. Imports errors only."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.distributed
from torch import Tensor, nn

from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Processes:
    """The processes of a data-parallel run; with `fabric=None` there is one, and nothing is sent.

    Gradients are averaged in one message a player after the backward pass. Wrapping the players for overlapped
    sending would bring nothing for networks of a few megabytes, and two players with three passes do not fit it.
    """

    def __init__(self, fabric: "Fabric | None" = None) -> None:
        self.fabric = fabric if fabric is not None and fabric.world_size > 1 else None
        self.count = 1 if self.fabric is None else self.fabric.world_size
        self.rank = 0 if self.fabric is None else self.fabric.global_rank

    def share(self, rows: Tensor) -> Tensor:
        """Returns this process's rows (B / count, ...) of rows (B, ...), which all processes hold."""
        return rows if self.count == 1 else rows.chunk(self.count)[self.rank]

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the rows of all processes, in the order that `share` gave them out; without gradients."""
        if self.fabric is None:
            return rows
        gathered = rows.new_empty(self.count * rows.shape[0], *rows.shape[1:])
        torch.distributed.all_gather_into_tensor(gathered, rows.contiguous())
        return gathered

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replaces each gradient by its mean over the processes."""
        if self.fabric is None:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        mean = self.fabric.all_reduce(flat, reduce_op="mean")
        assert isinstance(mean, Tensor)
        for grad, part in zip(grads, torch.split(mean, [g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def largest(self, value: int) -> int:
        """Returns the largest value that any process gives, so that all of them decide alike."""
        if self.fabric is None:
            return value
        result = self.fabric.all_reduce(torch.tensor(float(value)), reduce_op="max")
        assert isinstance(result, Tensor)
        return int(result.item())

    def leave(self) -> None:
        """Ends what connects the processes; nothing can be sent afterwards.

        A process that exits without it may be aborted: threads of the gloo backend then still hold tensors while the
        interpreter is torn down.
        """
        if self.fabric is not None:
            torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class Placement:
    """Where an algorithm trains its networks, and in which arithmetic.

    Attributes:
        dtype: Arithmetic of the networks: bfloat16, float32 or float64.
        device: Where the networks live.
        processes: Those that train together.
    """

    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    processes: Processes = field(default_factory=Processes)

    @property
    def wide(self) -> torch.dtype:
        """The dtype of weights, losses and records: at least float32."""
        return torch.promote_types(self.dtype, torch.float32)

    def placed(self, network: nn.Module) -> nn.Module:
        """Returns a network on the device, in the wide dtype and in channels-last memory."""
        return network.to(self.device, self.wide).to(memory_format=torch.channels_last)

    def share(self, rows: Tensor) -> Tensor:
        """Returns this process's rows (B / count, ...) of rows (B, ...), on the device and in the wide dtype."""
        return self.processes.share(rows).to(self.device, self.wide)

    def check_batch_size(self, batch_size: int) -> None:
        """Raises `GenpriorError` where the processes cannot share a batch evenly."""
        if batch_size % self.processes.count:
            raise GenpriorError(
                f"{batch_size} images cannot be shared evenly among {self.processes.count} processes",
                argument="batch_size",
            )


ON_CPU = Placement()
