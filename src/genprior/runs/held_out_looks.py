"""Looks at held-out images while a run trains: how well its weights know them, and whether training is over."""

import time

import torch
from torch import Tensor

from genprior.data import Dataset
from genprior.evaluation.comparison import restored
from genprior.families import RunConfig
from genprior.models.image_flow import bits_per_dim
from genprior.priors.contracts import LatentPrior
from genprior.restoration.operators import OPERATORS
from genprior.restoration.search_settings import SearchSettings
from genprior.runs.best_weights import ScoredAge, best_of, impatience, scored_ages
from genprior.runs.checkpoint import Checkpoint, Counters, save_checkpoint
from genprior.runs.lined_files import write_lines
from genprior.runs.run_folder import Run
from genprior.runs.trained_prior import in_float32
from genprior.specs import Spec

IMAGES, LEAST = 16, 2
IMAGES_FOR_DENSITY = 256  # one costs less than in training
DAMAGE = (("denoise", 0.1), ("inpaint:random=0.8", 0.02))  # operators, and standard deviations of the noise
QUICK = SearchSettings(starts=2, iterations=20, second_try=False)
REST = 20  # times as long as a look takes, until the next one
LEAST_SECONDS = 60.0  # from one look to the next
FIRST_SECONDS = 120.0  # of training before the first look: a shorter run has none


class HeldOutLooks:
    """Scores of the averaged weights at some ages of a run, of which the best checkpoint is kept.

    A look restores 16 held-out images; of a family that is judged by its density it measures that of up to 256. It
    leaves training as it is: it draws from no generator of training, and its networks are its own. Looks are made where
    a checkpoint was saved: after so many images, where the run's settings say so; else from two minutes on, as often as
    takes a twentieth of the time. Where there were looks, the end of the budget is looked at, too.

    Arguments:
        run: What is trained.
        held_out: Images that it never learns; None: nothing is looked at.
        until: Share of the budget at which training pauses, in (0, 1]; a pause before the end is looked at.
    """

    def __init__(self, run: Run, held_out: Dataset | None, until: float) -> None:
        every = run.config.score_every
        is_seen = held_out is not None and not held_out.is_points and len(held_out) >= LEAST and every != 0
        count = IMAGES_FOR_DENSITY if run.config.JUDGED_BY_DENSITY else IMAGES
        self.x: Tensor | None = held_out.some(count) if held_out is not None and is_seen else None
        self.run, self.every, self.until = run, every, until
        self.ages: list[ScoredAge] = []

    @property
    def reason(self) -> str | None:
        """Why training ends before its budget does; None: it goes on."""
        return impatience(self.ages, self.run.config.patience)

    def begin(self, start: Counters) -> None:
        """Forgets looks at a future that was lost, and those that measured something else, as an older version did."""
        whole, is_density = scored_ages(self.run), self.run.config.JUDGED_BY_DENSITY
        self.ages = [age for age in whole if age.step <= start.step and bool(age.bits_per_dim) == is_density]
        if len(self.ages) < len(whole):
            self._write()

    def is_due(self, images_seen: int, seconds: float, progress: float) -> bool:
        """Whether the weights of an age are to be looked at.

        Arguments:
            images_seen, seconds, progress: Of training so far.
        """
        last = self.ages[-1] if self.ages else None
        if self.x is None or (last is not None and last.images_seen == images_seen):
            return False
        if progress >= self.until and (last is not None or self.every is not None or self.until < 1):
            return True
        if self.every is not None:
            return images_seen // self.every > (0 if last is None else last.images_seen // self.every)
        if last is None:
            return seconds >= FIRST_SECONDS
        return seconds - last.seconds >= max(LEAST_SECONDS, REST * last.took)

    def look(self, at: Checkpoint) -> None:
        """Scores the weights of a checkpoint, and keeps it where they are the best so far.

        Raises:
            OSError: Disk full, for example; training can be resumed.
        """
        assert self.x is not None, "a look is due only where there are images"
        began, psnr, bits = time.perf_counter(), (), ()
        if self.run.config.JUDGED_BY_DENSITY:
            bits = tuple(held_out_bits(self.run.config, at, self.x).tolist())
        else:
            with in_float32():
                prior = self.run.config.prior(at.tensors, _shape(self.x), average=True)
            psnr = tuple(held_out_score(prior, self.x).tolist())
        took = time.perf_counter() - began
        age = ScoredAge(
            step=at.step, images_seen=at.images_seen, seconds=at.seconds, psnr=psnr, bits_per_dim=bits, took=took
        )
        if best_of([*self.ages, age]) is age:
            save_checkpoint(self.run.best, at)
        self.ages.append(age)
        self._write()

    def _write(self) -> None:
        write_lines(self.run.scores, self.ages)


def held_out_score(prior: LatentPrior, x: Tensor) -> Tensor:
    """Returns the PSNR (B,) in dB of restored images, the mean over two kinds of damage, which are always the same.

    Noise of 0.1 tells how near the prior comes to an image that it has not learned, 80 % of missing pixels what it
    knows of such images. The search is a short one.

    Arguments:
        prior: Any.
        x: (B, C, H, W) in [0, 1].
    """
    each = []
    for text, sigma in DAMAGE:
        operator = Spec.parse(text).build(OPERATORS, "operator", image_shape=_shape(x), seed=0)
        each.append(restored(prior, x, operator, sigma, settings=QUICK).psnr)
    return torch.stack(each).mean(0)


def held_out_bits(config: RunConfig, at: Checkpoint, x: Tensor) -> Tensor:
    """Returns the bits per dimension (B,) of 8-bit images, with noise below the last bit that never changes.

    Arguments:
        config: Of a family that has a density.
        at: What it has learned.
        x: (B, C, H, W), multiples of 1/255 in [0, 1].
    """
    with in_float32():
        found = config.log_probability(at.tensors, _shape(x), x)
    assert found is not None, "a family that is judged by its density has one"
    return bits_per_dim(found.nats, x[0].numel())


def _shape(x: Tensor) -> tuple[int, int, int]:
    return (x.shape[1], x.shape[2], x.shape[3])
