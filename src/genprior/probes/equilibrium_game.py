"""The images that the probe of equilibrium plays the game of a run on, and how far that run was trained."""

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.gan_game import GANGame, sample_of
from genprior.errors import GenpriorError
from genprior.models.discriminator_parts import pack_of
from genprior.probes.opened_gan import Probed
from genprior.runs.checkpoint import load_counters
from genprior.seeding import derived_generator

KNOWN, WITHHELD, REPORTED = 480, 960, 960  # images: learned from and shown; to choose the best step; reported
ONE_IN = 5  # images of a run to choose the best step by, and as many to report, where none are held out


def game_of(data: Dataset, unseen: Dataset | None, players: tuple[nn.Module, nn.Module], seed: int) -> GANGame:
    """Returns the game of V. Images to choose and to report are held-out ones, half of them each, where there are any.

    Arguments:
        data: Of the run.
        unseen: Images that it has not seen.
        players: Discriminator and generator.
        seed: Of all draws.

    Raises:
        GenpriorError: Too few images.
    """
    learned, withheld, reported = _parts(data, unseen, seed)
    known, chosen, told = (
        sample_of(part, players[1], most, seed, name, pack_of(players[0]))
        for part, most, name in (
            (learned, KNOWN, "known"),
            (withheld, WITHHELD, "withheld"),
            (reported, REPORTED, "reported"),
        )
    )
    return GANGame(learned, known, chosen, told, seed)


def used_share(probed: Probed) -> float:
    """Returns the share of its budget that a run had used at its last checkpoint, in [0, 1]."""
    counters, _ = load_counters(probed.run.checkpoints)
    seconds = 0.0 if counters is None else counters.seconds
    return probed.config.budget().share(probed.last, seconds, len(probed.data))


def _parts(data: Dataset, unseen: Dataset | None, seed: int) -> tuple[Dataset, Dataset, Dataset]:
    if unseen is not None:
        order = _order(unseen, seed, "parts of the held-out images")
        return data, unseen.part(order[::2]), unseen.part(order[1::2])
    if len(data) < ONE_IN:
        raise GenpriorError(f"{data.name} has {len(data)} images; {ONE_IN} or more are needed", argument="run")
    order, size = _order(data, seed, "parts of the data"), len(data) // ONE_IN
    return data.part(order[2 * size :]), data.part(order[size : 2 * size]), data.part(order[:size])


def _order(data: Dataset, seed: int, purpose: str) -> Tensor:
    return torch.randperm(len(data), generator=derived_generator(seed, purpose))
