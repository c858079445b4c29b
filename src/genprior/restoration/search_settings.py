"""How latents are searched for. `SEARCHES`, at the end, is the place to add a preset."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.search_methods import LBFGS, Adam, Method

FEWEST_LEVELS = 8  # of noise, that images are drawn through
SURVIVORS = 4  # for each candidate wanted
ESTIMATES = {
    "mean": "the mean of the draws, which has the smallest expected squared error",
    "median": "their median in each pixel, which has the smallest expected absolute error",
    "map": "the most likely image that a search finds",
}


@dataclass(frozen=True)
class SearchSettings:
    """How latents are searched for.

    Attributes:
        method: What goes down.
        starts: Searches for each image, at least 1; None: 1 where the prior's encoder gives a start, else 8. At least
            8 for each candidate where several are wanted; images that come out badly get 8 more.
        iterations: Evaluations that a search may have once it competes with no other, at least 1; before that it has
            ten for each halving of the searches of its image.
        tolerance: A search has converged when ten evaluations lowered its objective by less than this share.
        energy_weight: Weight of the prior's energy beside the data term, at least 0; None: from the noise.
        candidates: Distinct solutions wanted for each image, at least 1.
        beyond: Whether results leave the prior's range where that leaves more than noise: a deviation with few edges.
        encoder: Whether the prior's encoder gives the first start, where it has one.
        rough: Whether the search runs in the prior's rougher number format, where it has one; results are judged in
            float32 all the same, but may then differ more with the images searched for beside them.
        second_try: Whether images that came out badly are searched for once more, from fresh starts.
        first: Number of the first image, at least 0: image i's starts are drawn from (seed, first + i) alone.
        draws: Draws of the posterior for each image, at least 0. Where there are any, candidates are kinds of draws,
            with their probabilities.
        estimate: Which image is the restored one, an entry of `ESTIMATES`; None: "mean" where there are draws, else
            what the prior's solver gives, the mean of a closed form and the most likely image of a search.
        levels: Of noise that a draw of images comes down through, where a prior's images are drawn by guided denoising,
            at least 8; each takes 1 + `rounds` evaluations of its network.
        rounds: Of conjugate gradients by which a measurement corrects such a draw at each level, at least 1.
    """

    method: Callable[[Tensor, Tensor, Tensor, Tensor | None], Method] = LBFGS
    starts: int | None = None
    iterations: int = 40
    tolerance: float = 1e-3
    energy_weight: float | None = None
    candidates: int = 1
    beyond: bool = False
    encoder: bool = True
    rough: bool = False
    second_try: bool = True
    first: int = 0
    draws: int = 0
    levels: int = 24
    rounds: int = 2
    estimate: str | None = None

    @property
    def survivors(self) -> int:
        """Searches of an image that are never dropped: the best ones often end in the same solution."""
        return 1 if self.candidates == 1 else SURVIVORS * self.candidates

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("starts", "iterations", "candidates", "rounds")}
        others = ("first", self.first, 0), ("levels", self.levels, FEWEST_LEVELS)
        for name, value, least in [*((name, value, 1) for name, value in counts.items()), *others]:
            if value is not None and (type(value) is not int or value < least):
                raise GenpriorError(f"expected a whole number of at least {least}, got {value!r}", argument=name)
        if self.energy_weight is not None and not 0 <= self.energy_weight < float("inf"):
            raise GenpriorError(f"expected a number of at least 0, got {self.energy_weight}", argument="energy_weight")
        if not self.tolerance >= 0:
            raise GenpriorError(f"expected a number of at least 0, got {self.tolerance}", argument="tolerance")
        self._check_draws()

    def _check_draws(self) -> None:
        if type(self.draws) is not int or self.draws < 0 or self.draws == 1:
            raise GenpriorError(
                f"expected 0 for none, or a whole number of at least 2, got {self.draws!r}", argument="draws"
            )
        if self.estimate is not None and self.estimate not in ESTIMATES:
            raise GenpriorError(f"expected one of {', '.join(ESTIMATES)}, got {self.estimate!r}", argument="estimate")
        if self.estimate in ("mean", "median") and not self.draws:
            raise GenpriorError(
                f"the {self.estimate} is taken over draws; give some with draws, such as 64", argument="estimate"
            )
        if self.draws and self.energy_weight:
            raise GenpriorError("draws weigh the energy as the noise does; give one of both", argument="energy_weight")
        if self.draws and self.beyond:
            raise GenpriorError("draws stay in the prior's range; give one of draws and beyond", argument="draws")


SEARCHES: dict[str, SearchSettings] = {
    "default": SearchSettings(),
    # Half the time at a slightly larger error; for a prior with an encoder.
    "fast": SearchSettings(iterations=28, rough=True, levels=12),
    # Where minutes do not matter.
    "thorough": SearchSettings(starts=16, iterations=300, levels=40, rounds=4),
    # The study: one random z, 1000 steps of Adam at learning rate 0.01, no energy.
    "study": SearchSettings(
        method=partial(Adam, learning_rate=0.01),
        starts=1,
        iterations=1000,
        tolerance=0.0,
        energy_weight=0.0,
        encoder=False,
        second_try=False,
    ),
}
