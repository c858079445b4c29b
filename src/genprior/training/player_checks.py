"""What two players, their settings and data must fulfil before the first step. Knows data, models and penalties."""

import copy

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError, raise_lack_of_memory
from genprior.models.discriminator_parts import pack_of
from genprior.models.players import value_range
from genprior.training.augmentation import AugmentationSettings
from genprior.training.penalties import SlopePenalty
from genprior.training.processes import Placement


def check_processes(placement: Placement, discriminator: nn.Module, batch_size: int, unroll: int) -> None:
    """Raises `GenpriorError` where the processes cannot share the work of an update."""
    count, pack = placement.processes.count, pack_of(discriminator)
    placement.check_batch_size(batch_size)
    share = batch_size // count
    if share % pack:
        raise GenpriorError(f"{share} images of a process do not fill packs of {pack}", argument="pack")
    if unroll and count > 1:  # each would see another discriminator ahead, by its own share of the batch
        raise GenpriorError("several processes cannot unroll; train in one, or with --unroll 0", argument="unroll")


def check_steering(augmentation: AugmentationSettings, held_out: Dataset | None) -> None:
    """Raises `GenpriorError` where the strength would stay 0 for want of images that were not learned."""
    if augmentation.augmentations and augmentation.strength is None and not held_out:
        raise GenpriorError(
            "the strength of augmentation follows held-out images, and there are none; give --augment-strength, or "
            "hold images out",
            argument="augment",
        )


def check_penalty(penalty: SlopePenalty, discriminator: nn.Module, x: Tensor) -> None:
    """Raises `GenpriorError` for a slope that cannot be differentiated again.

    It would end training at its first step, or be no penalty at all.
    """
    probe = copy.deepcopy(discriminator)  # running statistics stay as they are
    probe(x)  # what is wrong with it alone is not the penalty's fault
    try:
        torch.autograd.backward(penalty(probe, x, x, x.new_ones(len(x))).sum())
    except RuntimeError as error:
        raise_lack_of_memory(error)
        reason = str(error).splitlines()[0]
        raise GenpriorError(
            f"the discriminator cannot be differentiated twice, which a penalty on its slope needs ({reason}); "
            "take --penalty none, or layers that can",
            argument="penalty",
        ) from error


def check_ranges(fakes: tuple[float, float], reach: tuple[float, float], data: Dataset) -> None:
    """Raises `GenpriorError` for mismatched ranges.

    They let the discriminator win by the range alone, which no curve explains afterwards.
    """
    low, high = value_range(data.images) if data.is_points else (0.0, 1.0)
    if low < reach[0] or high > reach[1]:
        raise GenpriorError(
            f"{data.name} spans {low:.3g} to {high:.3g}, the generator reaches only {reach[0]:.3g} to {reach[1]:.3g}; "
            "scale the data",
            argument="data",
        )
    slack = 0.01
    if not data.is_points and (fakes[0] < -slack or fakes[1] > 1 + slack):
        raise GenpriorError(
            f"the generator's output spans {fakes[0]:.3g} to {fakes[1]:.3g}, images lie in 0 to 1; "
            "let it end in a sigmoid (not in tanh)",
            argument="data",
        )


def check_held_out(held_out: Dataset | None, data: Dataset) -> None:
    """Raises `GenpriorError` where images held out are not of the shape of those that are learned."""
    if held_out is not None and held_out.image_shape != data.image_shape:
        raise GenpriorError(
            f"{held_out.name} has images of {held_out.image_shape}, {data.name} of {data.image_shape}",
            argument="held_out",
        )
