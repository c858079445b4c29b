"""A trained GAN put to the test: how far from an equilibrium are its two players?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.equilibrium_measures import (
    Adversary,
    Terms,
    best_discriminator,
    best_generator,
    equilibrium_of,
    gradient_norms,
    path_angle,
)
from genprior.diagnosis.equilibrium_numbers import Response
from genprior.diagnosis.gan_game import (
    GANGame,
    Offset,
    Sample,
    adversarial_losses,
    best_offset,
    opinion,
    sample_of,
    seen_at_once,
)
from genprior.errors import GenpriorError
from genprior.judges.run_images import unseen_images
from genprior.models.discriminator_parts import pack_of
from genprior.probes.equilibrium_found import (
    EquilibriumResult,
    EquilibriumSettings,
    FirstAndBest,
    JudgedTerms,
)
from genprior.probes.opened_gan import Probed, collected, open_probed, resumed
from genprior.progress import Stage, Task, within
from genprior.seeding import derived_generator
from genprior.training.losses import AdversarialLoss
from genprior.training.optimisation import AdamSettings
from genprior.training.penalties import SlopePenalty

ADVERSARY = AdamSettings(0.001, beta1=0.9)  # the same for all runs, so that their numbers compare
ASKED, ON_PATH = 4800, 480  # images: that D is asked about; that the path is measured on
KNOWN, WITHHELD, REPORTED = 480, 960, 960  # images: learned from and shown; to choose the best step; reported
ONE_IN = 5  # images of a run to choose the best step by, and as many to report, where none are held out
Found = EquilibriumResult


@dataclass(frozen=True)
class EquilibriumSetup:
    """A run, its players at the last checkpoint, and the game that they play.

    Attributes:
        probed: The run.
        loss: Of the run.
        penalties: Of the run, with the weights that they have at the last checkpoint.
        players: Discriminator and generator, in training mode.
        held_out: Images that the run has not seen; None: there are none.
        game: That of V.
        in_game: The players, zero logits of the discriminator meaning "real or fake alike": their value is V.
    """

    probed: Probed
    loss: AdversarialLoss
    penalties: Sequence[SlopePenalty]
    players: tuple[nn.Module, nn.Module]
    held_out: Dataset | None
    game: GANGame
    in_game: tuple[nn.Module, nn.Module]

    def sample(self, data: Dataset, most: int, purpose: str) -> Sample:
        """Returns images and latents for a purpose, at most so many."""
        return sample_of(data, self.players[1], most, self.game.seed, purpose, pack_of(self.players[0]))


def stages(settings: EquilibriumSettings, kept: EquilibriumResult | None) -> Task[EquilibriumResult]:
    """Measures one thing after another.

    Raises:
        GenpriorError: No run, an untrained one, no GAN, other data than the run's, too few images, or an age that the
            run has not kept.
    """
    opened = opened_for(settings)
    new = nothing_found(settings, opened)
    found = resumed(kept, new, lambda each: (each.images_seen, each.earlier, each.held_out, each.judged_images))
    yield Stage(0.0, "run opened", notes=tuple(_notes(found, opened)))
    for i, (name, measure) in enumerate(_PARTS.items()):
        if name not in found.measured:
            found = yield from within(measure(opened, found), i / len(_PARTS), (i + 1) / len(_PARTS))
            found = found.model_copy(update={"measured": (*found.measured, name)})
            what = "all measured" if i + 1 == len(_PARTS) else f"{name.replace('_', ' ')}: measured"
            yield Stage((i + 1) / len(_PARTS), what, found=found)
    return found.model_copy(update={"is_complete": True, "terms": {}})


def opened_for(settings: EquilibriumSettings) -> EquilibriumSetup:
    """Returns the run of settings, opened; errors as `stages` has them."""
    probed = open_probed(settings.run, settings.data_root)
    algorithm = probed.config.build(probed.data)  # for its loss and its penalties
    penalties = [penalty.after(_used_share(probed)) for penalty in algorithm.settings.penalties]
    discriminator, generator = probed.discriminator(probed.last), probed.generator(probed.last)
    held_out = unseen_images(probed.split, settings.seed)
    game = _game_of(probed.data, held_out, (discriminator, generator), settings.seed)
    loss, offset = algorithm.loss, -algorithm.loss.equilibrium_logit
    if loss.is_relative:
        offset = best_offset(discriminator, generator, game.known)
    in_game = Offset(discriminator, offset), generator
    return EquilibriumSetup(probed, loss, penalties, (discriminator, generator), held_out, game, in_game)


def nothing_found(settings: EquilibriumSettings, opened: EquilibriumSetup) -> EquilibriumResult:
    """Returns the result before anything is measured, with what is going to be.

    Raises:
        GenpriorError: The run has not kept the age in the settings.
    """
    probed, no_verdict, no_path = opened.probed, None, None
    earlier = _earlier(settings.age, probed)
    if not opened.loss.has_scale:
        loss = probed.config.loss
        no_verdict = f"the loss {loss} leaves the scale of D's logits open, so they are no probabilities"
    if earlier is None:
        no_path = "the run has kept no age before its last checkpoint"
    elif not probed.has_discriminator(earlier):
        no_path = f"at {earlier:,} images the run has kept its generator alone"
    return EquilibriumResult(
        settings=settings,
        is_complete=False,
        images_seen=probed.last,
        earlier=earlier,
        adam=asdict(ADVERSARY),
        held_out=None if opened.held_out is None else opened.held_out.name,
        judged_images=len(opened.game.reported.real),
        images_at_once=seen_at_once(opened.players[0], next(opened.game.known.batches())[0]),
        verdict_not_known=no_verdict,
        path_not_known=no_path,
    )


def _notes(found: EquilibriumResult, opened: EquilibriumSetup) -> list[str]:
    held = "none" if opened.held_out is None else f"{len(opened.held_out):,} of {found.held_out}"
    steps = f"{found.settings.steps:,}"
    notes = [f"players at {found.images_seen:,} images seen; steps of each adversary: {steps}; held out: {held}"]
    if found.held_out is None:
        notes.append("V is reported on images of the run itself that the adversaries do not see, but D did")
    if found.verdict_not_known is not None:
        notes.append(f"the verdict is not known: {found.verdict_not_known}")
    if found.path_not_known is not None:
        notes.append(f"the path angle is not known: {found.path_not_known}")
    return notes


def _earlier(age: int | None, probed: Probed) -> int | None:
    before = probed.ages[:-1]
    if age is None:
        return before[-1] if before else None
    if age not in before:
        kept = ", ".join(str(each) for each in before) or "none"
        raise GenpriorError(f"expected an age kept before the last checkpoint ({kept}), got {age}", argument="age")
    return age


def _used_share(probed: Probed) -> float:
    """The share of its budget that a run had used at its last checkpoint, in [0, 1]."""
    return probed.config.budget().share(probed.last, probed.seconds, len(probed.data))


def _game_of(data: Dataset, unseen: Dataset | None, players: tuple[nn.Module, nn.Module], seed: int) -> GANGame:
    """The game of V. Images to choose and to report are held-out ones, half of them each, where there are any."""
    parts, names = _parts(data, unseen, seed), {"known": KNOWN, "withheld": WITHHELD, "reported": REPORTED}
    known, withheld, reported = (
        sample_of(part, players[1], most, seed, name, pack_of(players[0]))
        for part, (name, most) in zip(parts, names.items(), strict=True)
    )
    return GANGame(parts[0], known, withheld, reported, seed)


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


# The parts, in their order.


def _told(opened: EquilibriumSetup, found: Found) -> Task[Found]:
    kinds = {"training": opened.probed.data} | ({} if opened.held_out is None else {"held out": opened.held_out})
    samples = {kind: opened.sample(data, ASKED, kind) for kind, data in kinds.items()}
    discriminator = opened.in_game[0]
    told = {
        kind: opinion(discriminator, (real for real, _ in sample.batches()), True) for kind, sample in samples.items()
    }
    told["fakes"] = opinion(discriminator, _fakes(opened.probed, samples["training"]), False)
    yield Stage(1.0, "what the discriminator tells apart")
    return found.model_copy(update={"told": told})


@torch.no_grad()
def _fakes(probed: Probed, sample: Sample) -> Iterator[Tensor]:
    generator = probed.generator(probed.last)
    for _, z in sample.batches():
        yield generator(z)


def _up(opened: EquilibriumSetup, found: Found) -> Task[Found]:
    steps = found.settings.steps
    moments = best_discriminator(opened.game, *opened.in_game, ADVERSARY, steps)
    up = Adversary.of(True, (yield from collected(moments, steps, "a better discriminator")))
    return found.model_copy(update={"best_discriminator": up.response, "terms": {"up": _kept(up)}})


def _paying(opened: EquilibriumSetup, found: Found) -> Task[Found]:
    if not opened.penalties or found.verdict_not_known is not None:
        return found
    steps, game = found.settings.steps, replace(opened.game, penalties=opened.penalties)
    moments = best_discriminator(game, *opened.in_game, ADVERSARY, steps)
    paying = Adversary.of(True, (yield from collected(moments, steps, "a discriminator that pays penalties")))
    terms = found.terms | {"paying": _kept(paying)}
    return found.model_copy(update={"best_paying_discriminator": paying.response, "terms": terms})


def _down(opened: EquilibriumSetup, found: Found) -> Task[Found]:
    if found.verdict_not_known is not None:
        return found
    steps = found.settings.steps
    moments = best_generator(opened.game, *opened.in_game, ADVERSARY, steps)
    down = Adversary.of(False, (yield from collected(moments, steps, "a better generator")))
    paying = None
    if found.best_paying_discriminator is not None:
        paying = _read(found.best_paying_discriminator, found.terms["paying"])
    assert found.best_discriminator is not None
    whole = equilibrium_of(_read(found.best_discriminator, found.terms["up"]), down, paying)
    changes = {"best_generator": down.response, "duality_gap": whole.gap, "played_duality_gap": whole.played_gap}
    return found.model_copy(update=changes)


def _gradients(opened: EquilibriumSetup, found: Found) -> Task[Found]:
    norms, batches = {}, list(opened.game.reported.batches())
    if len(batches) > 1:
        losses = (adversarial_losses(opened.loss, real, z, opened.penalties) for real, z in batches)
        both = gradient_norms(losses, *opened.players)
        norms = dict(zip(("discriminator", "generator"), both, strict=True))
    yield Stage(1.0, "norms of both gradients")
    return found.model_copy(update={"gradients": norms})


def _path(opened: EquilibriumSetup, found: Found) -> Task[Found]:
    if found.earlier is None or found.path_not_known is not None:
        return found
    sample, probed = opened.sample(opened.probed.data, ON_PATH, "path"), opened.probed
    losses = adversarial_losses(opened.loss, sample.real, sample.z, opened.penalties)
    earlier = probed.discriminator(found.earlier), probed.generator(found.earlier)
    path = yield from path_angle(losses, earlier, opened.players)
    return found.model_copy(update={"path": path})


def _kept(adversary: Adversary) -> FirstAndBest:
    first, best = (
        JudgedTerms(real=tuple(terms.real.tolist()), fake=tuple(terms.fake.tolist()))
        for terms in (adversary.first, adversary.best)
    )
    return FirstAndBest(first=first, best=best)


def _read(response: Response, kept: FirstAndBest) -> Adversary:
    first, best = (
        Terms(*(torch.tensor(each, dtype=torch.float64) for each in (terms.real, terms.fake)))
        for terms in (kept.first, kept.best)
    )
    return Adversary(response, first, best)


_PARTS: dict[str, Callable[[EquilibriumSetup, Found], Task[Found]]] = {
    "told": _told,
    "best_discriminator": _up,
    "best_paying_discriminator": _paying,
    "best_generator": _down,
    "gradients": _gradients,
    "path": _path,
}
