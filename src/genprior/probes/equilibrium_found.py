"""What the probe of equilibrium is asked, what it finds, and that in words. Imports no torch."""

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, computed_field

from genprior.diagnosis.equilibrium_numbers import (
    LITTLE,
    NOISE,
    SLIPPED,
    Bound,
    GameValue,
    GradientNorm,
    Opinion,
    PathAngle,
    Response,
)
from genprior.diagnosis.equilibrium_verdict import (
    AHEAD,
    CLOSE_DIVERGENCE,
    CLOSE_GAP,
    LEAST_STEPS,
    NOT_KNOWN,
    Equilibrium,
    divergence_sentence,
    seen_divergence,
)
from genprior.settings import DataRoot, Model, Number, Result, RunFolder, Seed, Settings, Threads


class EquilibriumSettings(Settings):
    """Settings of the probe of equilibrium.

    Both players are in training mode throughout, as in their game: what normalises a batch uses its own statistics.
    Everything is done in float32 on the CPU.
    """

    run: RunFolder
    steps: Annotated[int, Field(ge=1, description="Training steps of each adversary.")] = 300
    age: Annotated[
        int | None, Field(description="Images seen by the earlier players of the path; default: the last kept age.")
    ] = None
    seed: Seed = 0
    threads: Threads = None
    data_root: DataRoot = None


class JudgedTerms(Model):
    """Values of the game sample by sample: terms over real images, and over fakes."""

    real: tuple[Number, ...]
    fake: tuple[Number, ...]


class FirstAndBest(Model):
    """What a duality gap needs of an adversary: judged values of the player itself, and at the best step."""

    first: JudgedTerms
    best: JudgedTerms


class EquilibriumResult(Result):
    """What the probe of equilibrium found; None or empty: not measured yet, or it cannot be known.

    Attributes:
        images_seen: By the players.
        earlier: Images seen by the earlier players, from which the path leads; None: there are none.
        adam: Of all adversaries, the same for all runs, so that their numbers compare.
        held_out: Name of the images that the run has not seen; None: there are none.
        judged_images: How many images a reported value is a mean over.
        images_at_once: Images that one logit depends on.
        verdict_not_known: Why there is no value of D itself, and so no verdict; None: there is one.
        path_not_known: Why there is no path to measure an angle along; None: there is one.
        told: What the discriminator says, by the kind of images.
        best_discriminator, best_generator: What adversaries found.
        best_paying_discriminator: The same of one that pays the run's penalties; None also where it has none.
        duality_gap, played_duality_gap: See `Equilibrium`.
        gradients: By player.
        path: From the earlier players to the last ones.
        measured: Names of what is measured.
        terms: Of adversaries, by the name of what is measured; a result that is not complete alone has them.
    """

    settings: EquilibriumSettings
    images_seen: int
    earlier: int | None
    adam: dict[str, float]
    held_out: str | None
    judged_images: int
    images_at_once: int
    verdict_not_known: str | None
    path_not_known: str | None
    told: dict[str, Opinion] = Field(default_factory=dict)
    best_discriminator: Response | None = None
    best_paying_discriminator: Response | None = None
    best_generator: Response | None = None
    duality_gap: Bound | None = None
    played_duality_gap: Bound | None = None
    gradients: dict[str, GradientNorm] = Field(default_factory=dict)
    path: PathAngle | None = None
    measured: tuple[str, ...] = ()
    terms: dict[str, FirstAndBest] = Field(default_factory=dict)

    @property
    def equilibrium(self) -> Equilibrium | None:
        """What the adversaries found, once all have taken all their steps."""
        up, down, gap, played = self.best_discriminator, self.best_generator, self.duality_gap, self.played_duality_gap
        if up is None or down is None or gap is None or played is None:
            return None
        paying, is_unseen = self.best_paying_discriminator, self.held_out is not None
        return Equilibrium(up, down, gap, played, paying, self.images_at_once, is_unseen)

    @computed_field
    @property
    def rule(self) -> dict[str, float | int]:
        """The bounds behind the verdict."""
        return {
            "close_gap_below": CLOSE_GAP,
            "close_divergence_below": CLOSE_DIVERGENCE,
            "converged_late_gain": LITTLE,
            "standard_errors": NOISE,
            "late_gains_ahead": AHEAD,
            "close_steps_at_least": LEAST_STEPS,
            "worse_by": SLIPPED,
        }

    @computed_field
    @property
    def verdict(self) -> str | None:
        """On the game of the run, with its penalties."""
        return None if self.equilibrium is None else self.equilibrium.verdict

    @computed_field
    @property
    def verdict_without_penalties(self) -> str | None:
        """On Goodfellow's game."""
        return None if self.equilibrium is None else self.equilibrium.without_penalties.verdict

    @computed_field
    @property
    def value(self) -> GameValue | None:
        """Of the game between the run's players."""
        up = self.best_discriminator
        return None if up is None or self.verdict_not_known is not None else up.moments[0].judged

    @computed_field
    @property
    def divergence(self) -> Bound | None:
        """Jensen-Shannon divergence of fakes and data, in nats, of as many images as are seen at once."""
        return None if self.best_discriminator is None else seen_divergence(self.best_discriminator)

    @computed_field
    @property
    def played_divergence(self) -> Bound | None:
        """What discriminators that pay the run's penalties see of it."""
        return None if self.equilibrium is None else self.equilibrium.played_divergence


def lines(found: EquilibriumResult) -> list[str]:
    """Returns what was found and what it means, a line for each thing."""
    lines = _verdict_lines(found)
    lines += [_opinion_sentence(found.told)] if found.told else []
    lines += [
        f"Gradient of the {player}: norm {each.norm:.3g}, {each.ratio:.1f} times what sampling noise alone would give."
        for player, each in found.gradients.items()
    ]
    return [*lines, _path_sentence(found)]


def title(found: EquilibriumResult) -> str:
    """Returns two short lines: the verdict on the run, and the bounds beneath it."""
    name, whole, bounds = found.settings.run.resolve().name, found.equilibrium, []
    if whole is not None:
        bounds.append(f"duality gap of V {whole.gap.value:.3f} or more")
    if found.divergence is not None:
        of = "" if found.images_at_once == 1 else f" of sets of {found.images_at_once} images"
        bounds.append(f"Jensen-Shannon divergence{of} {found.divergence.value:.3f} nats or more")
    return f"{name}: {NOT_KNOWN if whole is None else whole.headline}\n{', '.join(bounds)}"


def _verdict_lines(found: EquilibriumResult) -> list[str]:
    if found.equilibrium is not None:
        return found.equilibrium.sentences()
    lines = [] if found.verdict_not_known is None else [f"Verdict: not known ({found.verdict_not_known})."]
    if found.divergence is not None:
        lines.append(divergence_sentence(found.divergence, found.images_at_once))
    return lines


def _opinion_sentence(told: Mapping[str, Opinion]) -> str:
    parts = [f"{100 * each.accuracy:.1f} % of {kind} ({each.mean_logit:+.2f})" for kind, each in told.items()]
    text = f"D is right on (mean logit): {', '.join(parts)}."
    if "held out" not in told:
        return f"{text} No images were held out, so whether D knows its training images by heart is not known."
    gap = told["training"].accuracy - told["held out"].accuracy
    error = math.hypot(told["training"].accuracy_error, told["held out"].accuracy_error)
    seen = "more than chance" if gap > NOISE * error else "no more than chance"
    return f"{text} On training images it is better by {100 * gap:+.1f} +- {100 * error:.1f} points: {seen}."


def _path_sentence(found: EquilibriumResult) -> str:
    path = found.path
    if path is None:
        return f"Path angle: not known, {found.path_not_known or 'not measured'}."
    reading = "changes sign at the end: attraction" if path.switches else "does not change sign from - to + there"
    return (
        f"Path angle: cosine {path.before:+.3f} at 0.9, {path.end:+.3f} at the end and {path.beyond:+.3f} at 1.1 of a "
        f"path of length {path.length:.3g}; it {reading} (half the "
        f"rise: {path.attraction:+.3f}; bump, for rotation: {path.bump:+.3f})."
    )
