"""How well the weights of several ages know held-out images, and which of them a run's prior has.

The record is a line for each age. The checkpoint of the best age is kept beside the last ones.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Self, TypeVar

from pydantic import model_validator

from genprior.errors import GenpriorError
from genprior.runs.checkpoint import Checkpoint, Counters, load_checkpoint, load_counters, trained_checkpoint
from genprior.runs.lined_files import are_whole, read_lines
from genprior.runs.run_folder import Run
from genprior.settings import Model, Number, Weights

CLEARLY = 2.0  # standard errors
C = TypeVar("C", bound=Counters)


class ScoredAge(Model):
    """How well the averaged weights of an age restored held-out images, or how probable they found them.

    Attributes:
        step, images_seen, seconds: Of training until then.
        psnr: Of each restored image in dB; images and damage are the same at every age. Empty: not measured.
        bits_per_dim: Of each image, where the family is judged by its density. Empty: it is not.
        took: Seconds that it took.
    """

    step: int
    images_seen: int
    seconds: float
    psnr: tuple[Number, ...] = ()
    bits_per_dim: tuple[Number, ...] = ()
    took: float

    @model_validator(mode="after")
    def _is_measured(self) -> Self:
        if bool(self.psnr) == bool(self.bits_per_dim):
            raise ValueError("an age has either psnr or bits_per_dim")
        return self

    @property
    def merits(self) -> tuple[float, ...]:
        """Of each image, the larger the better: its PSNR, or minus its bits per dimension."""
        return tuple(-bits for bits in self.bits_per_dim) or self.psnr

    @property
    def mean(self) -> float:
        """The mean merit."""
        return fmean(self.merits)

    @property
    def in_words(self) -> str:
        """The mean with its unit."""
        return f"{-self.mean:.3f} bits/dim" if self.bits_per_dim else f"{self.mean:.2f} dB"

    def above(self, other: "ScoredAge") -> str:
        """Returns by how much this age is better than another of the same images, with the standard error."""
        digits, unit = (3, "bits/dim") if self.bits_per_dim else (2, "dB")
        difference, error = advantage(self.merits, other.merits)
        return f"{difference:.{digits}f} ± {error:.{digits}f} {unit} better than those after {other.images_seen:,}"


def advantage(better: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Returns by how much scores are above others of the same images, at least 2, and the standard error of that.

    Example:
        >>> advantage([22.0, 25.0], [21.0, 24.0])
        (1.0, 0.0)
    """
    differences = [mine - theirs for mine, theirs in zip(better, other, strict=True)]
    return fmean(differences), stdev(differences) / math.sqrt(len(differences))


def scored_ages(run: Run) -> list[ScoredAge]:
    """Returns the ages whose weights were scored, youngest first; none, with a warning, where the file was altered."""
    if run.scores.is_file() and not are_whole(run.scores):
        warnings.warn(f"{run.scores} was altered, and is left out: the last weights are used", stacklevel=2)
        return []
    return read_lines(run.scores, ScoredAge.model_validate)


def best_of(ages: Sequence[ScoredAge]) -> ScoredAge | None:
    """Returns the age with the largest mean; None where there is none that is finite."""
    finite = [age for age in ages if math.isfinite(age.mean)]
    return max(finite, key=lambda age: age.mean, default=None)


def impatience(ages: Sequence[ScoredAge], patience: int | None) -> str | None:
    """Returns why training ends before its budget does; None: it goes on.

    Arguments:
        ages: Youngest first.
        patience: Images without a better score; None: any number.
    """
    best = best_of(ages)
    if patience is None or best is None or ages[-1].images_seen - best.images_seen < patience:
        return None
    what = "the density of held-out images" if best.bits_per_dim else "held-out restoration"
    return (
        f"{what} has not become better than {best.in_words} since {best.images_seen:,} images; "
        f"stopped at {ages[-1].images_seen:,}"
    )


def used_age(run: Run, weights: Weights = "auto") -> ScoredAge | None:
    """Returns the age whose weights are used; None: those of the last checkpoint.

    Raises:
        GenpriorError: The best are wanted, and none were ever scored.
    """
    ages = scored_ages(run)
    best = best_of(ages)
    if best is None and weights == "best":
        raise GenpriorError(
            f"the weights of {run.path} were never scored: training was short, or no images are held out",
            argument="weights",
        )
    if best is None or weights == "last":
        return None
    return best if weights == "best" or _is_clear(best, ages[-1]) else None


def used_checkpoint(run: Run, weights: Weights = "auto") -> Checkpoint:
    """Returns the checkpoint whose weights are used, with a warning for each damaged one.

    Raises:
        GenpriorError: There is none, or the best are wanted and are not there.
    """
    return _best(run, weights, load_checkpoint) or trained_checkpoint(run.checkpoints)


def used_counters(run: Run, weights: Weights = "auto") -> Counters | None:
    """Returns the counters of `used_checkpoint`; None where a run has no checkpoint."""
    return _best(run, weights, load_counters) or load_counters(run.checkpoints)[0]


def weights_in_words(run: Run) -> str | None:
    """Returns which weights are used and why, in a line; None where none were ever scored."""
    ages = scored_ages(run)
    best = best_of(ages)
    if best is None:
        return None
    last, verb = ages[-1], "predict" if best.bits_per_dim else "restore"
    if best is last:
        return f"the last, which {verb} held-out images best: {last.in_words} after {last.images_seen:,} images"
    by = f"{best.above(last)}, image by image"
    if _is_clear(best, last):
        return f"the best: after {best.images_seen:,} images {best.in_words} on held-out images, {by}"
    return f"the last; those after {best.images_seen:,} images {verb} held-out images {by}, which may be chance"


def _is_clear(best: ScoredAge, last: ScoredAge) -> bool:
    difference, error = advantage(best.merits, last.merits)
    return not math.isfinite(last.mean) or difference > CLEARLY * error


def _best(run: Run, weights: Weights, load: Callable[[Path], tuple[C | None, list[str]]]) -> C | None:
    """The kept checkpoint of the best age; None where the last one is used."""
    age = used_age(run, weights)
    if age is None:
        return None
    try:
        kept, refused = load(run.best)
    except GenpriorError as error:
        kept, refused = None, [error.message]
    if kept is not None and kept.step == age.step:
        return kept
    message = "; ".join([f"the weights after {age.images_seen:,} images are not there", *refused])
    if weights == "best":
        raise GenpriorError(message, argument="weights")
    warnings.warn(f"{message}; the last ones are used", stacklevel=4)
    return None
