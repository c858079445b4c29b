"""A trained GAN put to the test: how far from an equilibrium are its two players?"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.diagnosis.duality import Moment, Response, best_discriminator, best_generator
from genprior.diagnosis.game_field import ALPHAS, gradient_norms, path_angle
from genprior.diagnosis.game_field import adversarial_losses as losses_on
from genprior.diagnosis.gan_game import Offset, Sample, best_offset, sample_of, seen_at_once
from genprior.diagnosis.telling import told
from genprior.errors import GenpriorError
from genprior.judges.run_images import held_out_of
from genprior.models.discriminator_parts import pack_of
from genprior.probes.equilibrium_found import Found, facts, paragraph
from genprior.probes.equilibrium_game import game_of, used_share
from genprior.probes.opened_gan import open_probed
from genprior.progress import Stage
from genprior.runs.files import write_json
from genprior.settings import at_least_one
from genprior.training.optimisation import AdamSettings, grouped

EQUILIBRIUM = "probe-equilibrium"  # name of the file and the figure
ADVERSARY = AdamSettings(0.001, beta1=0.9)  # the same for all runs, so that their numbers compare
ASKED, ON_PATH = 4800, 480  # images: that D is asked about; that the path is measured on
SHARES = {
    "told": 0.03,
    "D'": 0.22,
    "paying": 0.27,
    "G'": 0.3,
    "gradients": 0.03,
    "path": 0.15,
}  # of the time that all takes


@dataclass
class EquilibriumProbe:
    """Measures how far the players of a run's last checkpoint are from an equilibrium, in float32 on the CPU.

    Both players are in training mode throughout, as in their game: what normalises a batch uses its own statistics.

    Arguments:
        run: Folder of a trained GAN.
        steps: Of each adversary, at least 1.
        age: Images seen by the earlier players, from which the path leads to the last ones; None: the last age before.
        seed: Of all draws.
        data_root: Of named data sets.

    Attributes:
        found: What was measured.

    Raises:
        GenpriorError: No run, an untrained one, no GAN, other data than the run's, or a number out of range.
    """

    run: Path
    steps: int = 300
    age: int | None = None
    seed: int = 0
    data_root: Path | None = None
    found: Found = field(default_factory=Found, init=False)

    def __post_init__(self) -> None:
        at_least_one(steps=self.steps)
        self.probed = open_probed(self.run, self.data_root)
        self.algorithm = self.probed.config.build(self.probed.data)  # for its loss and its penalties
        self.penalties = [penalty.after(used_share(self.probed)) for penalty in self.algorithm.settings.penalties]
        self.earlier = self._earlier()
        last = self.probed.last
        self.players = self.probed.discriminator(last), self.probed.generator(last)
        self.pack = pack_of(self.players[0])
        self.held_out = held_out_of(self.probed.config, self.probed.data, self.seed)
        self.game = game_of(self.probed.data, self.held_out, self.players, self.seed)
        self.in_game = Offset(self.players[0], self._offset()), self.players[1]  # players whose value is V
        self.found.at_once = seen_at_once(self.players[0], next(self.game.known.batches())[0])
        self.found.is_unseen = self.held_out is not None

    @property
    def no_path(self) -> str | None:
        """Why there is no path to measure an angle along; None: there is one."""
        if self.earlier is None:
            return "the run has kept no age before its last checkpoint"
        if not grouped(self.probed.states[self.earlier], "discriminator"):
            return f"at {self.earlier:,} images the run has kept its generator alone"
        return None

    @property
    def no_verdict(self) -> str | None:
        """Why there is no value of D itself, and so no verdict; None: there is one."""
        if self.algorithm.loss.has_scale:
            return None
        return f"the loss {self.probed.config.loss} leaves the scale of D's logits open, so they are no probabilities"

    @property
    def notes(self) -> list[str]:
        """Lines to show before."""
        held = "none" if self.held_out is None else f"{len(self.held_out):,} of {self.held_out.name}"
        notes = [
            f"players at {self.probed.last:,} images seen; steps of each adversary: {self.steps:,}; held out: {held}"
        ]
        if self.held_out is None:
            notes.append("V is reported on images of the run itself that the adversaries do not see, but D did")
        if self.no_verdict is not None:
            notes.append(f"the verdict is not known: {self.no_verdict}")
        if self.no_path is not None:
            notes.append(f"the path angle is not known: {self.no_path}")
        return notes

    def measure(self) -> Iterator[Stage]:
        """Measures one thing after another, and yields how far it is."""
        begun = 0.0
        parts = {
            "told": self._tell(),
            "D'": self._respond_up(),
            "paying": self._respond_paying(),
            "G'": self._respond_down(),
            "gradients": self._norms(),
            "path": self._path(),
        }
        for name, part in parts.items():
            for share, what in part:
                yield Stage(min(1.0, begun + SHARES[name] * share), what)
            begun += SHARES[name]
            self.found.finished.append(name)
        yield Stage(1.0, "all measured")

    def paragraph(self) -> str:
        """Returns what was found, and what it means, in words."""
        return paragraph(self.found, self.no_path, self.no_verdict)

    def save(self) -> Path:
        """Writes what was measured so far into the run's folder; returns the file."""
        path = self.run / f"{EQUILIBRIUM}.json"
        held = None if self.held_out is None else self.held_out.name
        how = {
            "run": str(self.run),
            "images_seen": self.probed.last,
            "steps": self.steps,
            "seed": self.seed,
            "adam": asdict(ADVERSARY),
            "held_out": held,
            "judged_images": len(self.game.reported.real),
            "earlier": self.earlier,
        }
        write_json(path, how | facts(self.found, self.no_path, self.no_verdict))
        return path

    def _earlier(self) -> int | None:
        before = sorted(age for age in self.probed.states if age < self.probed.last)
        if self.age is None:
            return before[-1] if before else None
        if self.age not in before:
            kept = ", ".join(str(age) for age in before) or "none"
            raise GenpriorError(
                f"expected an age kept before the last checkpoint ({kept}), got {self.age}", argument="age"
            )
        return self.age

    def _offset(self) -> float:
        loss = self.algorithm.loss
        return best_offset(*self.players, self.game.known) if loss.is_relative else -loss.equilibrium_logit

    def _sample(self, data: Dataset, most: int, purpose: str) -> Sample:
        return sample_of(data, self.players[1], most, self.seed, purpose, self.pack)

    def _tell(self) -> Iterator[tuple[float, str]]:
        kinds = {"training": self.probed.data} | ({} if self.held_out is None else {"held out": self.held_out})
        samples = {kind: self._sample(data, ASKED, kind) for kind, data in kinds.items()}
        for kind, sample in samples.items():
            self.found.told[kind] = told(self.in_game[0], (real for real, _ in sample.batches()), True)
        self.found.told["fakes"] = told(self.in_game[0], self._fakes(samples["training"]), False)
        yield 1.0, "what the discriminator tells apart"

    @torch.no_grad()
    def _fakes(self, sample: Sample) -> Iterator[Tensor]:
        generator = self.probed.generator(self.probed.last)
        for _, z in sample.batches():
            yield generator(z)

    def _respond_up(self) -> Iterator[tuple[float, str]]:
        moments: list[Moment] = []
        for each in best_discriminator(self.game, *self.in_game, ADVERSARY, self.steps):
            moments.append(each)
            self.found.up = Response(True, moments)
            yield each.step / self.steps, f"a better discriminator, step {each.step:,}: V = {each.judged.value:.3f}"

    def _respond_paying(self) -> Iterator[tuple[float, str]]:
        if not self.penalties or self.no_verdict is not None:
            return
        moments: list[Moment] = []
        game = replace(self.game, penalties=self.penalties)
        for each in best_discriminator(game, *self.in_game, ADVERSARY, self.steps):
            moments.append(each)
            self.found.paying = Response(True, moments)
            yield (
                each.step / self.steps,
                f"one that pays penalties, step {each.step:,}: V - R = {each.judged.value:.3f}",
            )

    def _respond_down(self) -> Iterator[tuple[float, str]]:
        if self.no_verdict is not None:
            return
        moments: list[Moment] = []
        for each in best_generator(self.game, *self.in_game, ADVERSARY, self.steps):
            moments.append(each)
            self.found.down = Response(False, moments)
            yield each.step / self.steps, f"a better generator, step {each.step:,}: V = {each.judged.value:.3f}"

    def _norms(self) -> Iterator[tuple[float, str]]:
        algorithm, batches = self.algorithm, list(self.game.reported.batches())
        if len(batches) > 1:
            losses = (losses_on(algorithm.loss, real, z, self.penalties) for real, z in batches)
            norms = gradient_norms(losses, *self.players)
            self.found.gradients = dict(zip(("discriminator", "generator"), norms, strict=True))
        yield 1.0, "norms of both gradients"

    def _path(self) -> Iterator[tuple[float, str]]:
        if self.earlier is None or self.no_path is not None:
            return
        algorithm, sample = self.algorithm, self._path_sample()
        losses = losses_on(algorithm.loss, sample.real, sample.z, self.penalties)
        earlier = self.probed.discriminator(self.earlier), self.probed.generator(self.earlier)
        for place, path in enumerate(path_angle(losses, earlier, self.players), start=1):
            self.found.path = path
            yield place / len(ALPHAS), f"path angle at {path.alphas[-1]:.2f} of the way"

    def _path_sample(self) -> Sample:
        return self._sample(self.probed.data, ON_PATH, "path")
