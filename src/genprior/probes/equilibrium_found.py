"""What the probe of equilibrium found, as strict JSON and in words."""

from dataclasses import asdict, dataclass, field
from typing import Any

from genprior.diagnosis.duality import LITTLE, NOISE, SLIPPED, Moment, Response, Terms
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
from genprior.diagnosis.game_field import GradientNorm, PathAngle
from genprior.diagnosis.telling import Told
from genprior.settings import strict

RULE = {
    "close_gap_below": CLOSE_GAP,
    "close_divergence_below": CLOSE_DIVERGENCE,
    "converged_late_gain": LITTLE,
    "standard_errors": NOISE,
    "late_gains_ahead": AHEAD,
    "close_steps_at_least": LEAST_STEPS,
    "worse_by": SLIPPED,
}


@dataclass
class Found:
    """What was measured so far; None or empty: not yet, or it cannot be known.

    Attributes:
        told: What the discriminator says, by the kind of images.
        up, down: Adversaries as far as they are: of the discriminator, of the generator.
        paying: Discriminators that pay the run's penalties; None also where it has none.
        gradients: By player.
        path: From the earlier players to the last ones.
        at_once, is_unseen: As for `Equilibrium`.
        finished: Names of what is measured to its end; the last of all is "path".
    """

    told: dict[str, Told] = field(default_factory=dict)
    up: Response | None = None
    down: Response | None = None
    paying: Response | None = None
    gradients: dict[str, GradientNorm] = field(default_factory=dict)
    path: PathAngle | None = None
    at_once: int = 1
    is_unseen: bool = True
    finished: list[str] = field(default_factory=list)

    @property
    def equilibrium(self) -> Equilibrium | None:
        """What the adversaries found, once all have taken all their steps."""
        if self.up is None or self.down is None or "G'" not in self.finished:
            return None
        return Equilibrium(self.up, self.down, self.paying, self.at_once, self.is_unseen)

    @property
    def is_complete(self) -> bool:
        """Whether all is measured."""
        return "path" in self.finished


def facts(found: Found, no_path: str | None, no_verdict: str | None = None) -> dict[str, Any]:
    """Returns numbers for strict JSON.

    Arguments:
        found: What was measured.
        no_path: Why there is no path angle; None: there is one.
        no_verdict: Why there is no value of the game, and no verdict; None: there is one.
    """
    up = found.up
    table = {
        "complete": found.is_complete,
        **_verdicts(found.equilibrium),
        "verdict_not_known": no_verdict,
        "rule": RULE,
        "images_at_once": found.at_once,
        "value": None if up is None or no_verdict is not None else _value(up.moments[0].judged),
        "divergence": None if up is None or "D'" not in found.finished else asdict(seen_divergence(up)),
        "best_discriminator": None if up is None else _response(up),
        "best_generator": None if found.down is None else _response(found.down),
        "best_paying_discriminator": None if found.paying is None else _response(found.paying),
        "told": {kind: asdict(each) | {"accuracy_error": each.accuracy_error} for kind, each in found.told.items()},
        "gradients": {player: asdict(each) | {"ratio": each.ratio} for player, each in found.gradients.items()},
        "path": {"not_known": no_path} if found.path is None else _path(found.path),
    }
    strictly: dict[str, Any] = strict(table)
    return strictly


def paragraph(found: Found, no_path: str | None, no_verdict: str | None = None) -> str:
    """Returns what was found and what it means, a line for each thing; arguments as for `facts`."""
    lines = _verdict_lines(found, no_verdict)
    lines += [_told_sentence(found.told)] if found.told else []
    lines += [_gradient_sentence(player, each) for player, each in found.gradients.items()]
    return "\n".join([*lines, _path_sentence(found.path, no_path)])


def title(found: Found, name: str) -> str:
    """Returns two short lines: the verdict on the run of that name, and the bounds beneath it."""
    whole, bounds = found.equilibrium, []
    if whole is not None:
        bounds.append(f"duality gap of V {whole.gap.value:.3f} or more")
    if found.up is not None:
        of = "" if found.at_once == 1 else f" of sets of {found.at_once} images"
        bounds.append(f"Jensen-Shannon divergence{of} {seen_divergence(found.up).value:.3f} nats or more")
    return f"{name}: {NOT_KNOWN if whole is None else whole.headline}\n{', '.join(bounds)}"


def _verdicts(whole: Equilibrium | None) -> dict[str, Any]:
    return {
        "verdict": None if whole is None else whole.verdict,
        "verdict_without_penalties": None if whole is None else whole.without_penalties.verdict,
        "duality_gap": None if whole is None else asdict(whole.gap),
        "played_duality_gap": None if whole is None else asdict(whole.played_gap),
        "played_divergence": None if whole is None else asdict(whole.played_divergence),
    }


def _verdict_lines(found: Found, no_verdict: str | None) -> list[str]:
    if found.equilibrium is not None:
        return found.equilibrium.sentences()
    lines = [] if no_verdict is None else [f"Verdict: not known ({no_verdict})."]
    if found.up is not None and "D'" in found.finished:
        lines.append(divergence_sentence(seen_divergence(found.up), found.at_once))
    return lines


def _value(terms: Terms) -> dict[str, float]:
    return {"value": terms.value, "standard_error": terms.standard_error}


def _response(response: Response) -> dict[str, Any]:
    return {
        "best_step": response.best.step,
        **_value(response.best.judged),
        "gain": response.gain,
        "late_gain": response.late_gain,
        "converged": response.has_converged,
        "failed": response.has_failed,
        "overfitted": response.has_overfitted,
        "moments": [_moment(each) for each in response.moments],
    }


def _moment(moment: Moment) -> dict[str, Any]:
    samples = {"fit": moment.fit, "validation": moment.validation, "judged": moment.judged}
    return {"step": moment.step} | {name: _value(terms) for name, terms in samples.items()}


def _path(path: PathAngle) -> dict[str, Any]:
    if not path.is_whole:
        return asdict(path)
    return asdict(path) | {"attraction": path.attraction, "bump": path.bump, "switches": path.switches}


def _told_sentence(told: dict[str, Told]) -> str:
    parts = [f"{100 * each.accuracy:.1f} % of {kind} ({each.mean_logit:+.2f})" for kind, each in told.items()]
    text = f"D is right on (mean logit): {', '.join(parts)}."
    if "held out" not in told:
        return f"{text} No images were held out, so whether D knows its training images by heart is not known."
    gap = told["training"].accuracy - told["held out"].accuracy
    error = (told["training"].accuracy_error ** 2 + told["held out"].accuracy_error ** 2) ** 0.5
    seen = "more than chance" if gap > NOISE * error else "no more than chance"
    return f"{text} On training images it is better by {100 * gap:+.1f} +- {100 * error:.1f} points: {seen}."


def _gradient_sentence(player: str, each: GradientNorm) -> str:
    return (
        f"Gradient of the {player}: norm {each.norm:.3g}, {each.ratio:.1f} times what sampling noise alone would give."
    )


def _path_sentence(path: PathAngle | None, no_path: str | None) -> str:
    if path is None or not path.is_whole:
        return f"Path angle: not known, {no_path or 'not measured'}."
    reading = "changes sign at the end: attraction" if path.switches else "does not change sign from - to + there"
    return (
        f"Path angle: cosine {path.before:+.3f} at 0.9, {path.end:+.3f} at the end and {path.beyond:+.3f} at 1.1 of a "
        f"path of length {path.length:.3g}; it {reading} (half the "
        f"rise: {path.attraction:+.3f}; bump, for rotation: {path.bump:+.3f})."
    )
