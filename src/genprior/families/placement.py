"""Where a model is trained and in which arithmetic, from a config."""

from typing import TYPE_CHECKING, Any

from genprior.families.run_config import RunConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def placement(config: RunConfig, fabric: "Fabric | None") -> dict[str, Any]:
    """Returns the arguments `dtype`, `device` and `processes` of an algorithm.

    Raises:
        GenpriorError: No such device here.
    """
    import torch

    from genprior.hardware import resolve_device, resolve_precision
    from genprior.training.processes import Processes

    device = resolve_device(config.device) if fabric is None else fabric.device
    dtypes = {"bf16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
    return {
        "dtype": dtypes[resolve_precision(config.precision, device)],
        "device": device,
        "processes": Processes(fabric),
    }
