"""How far a run may go: a number of images, or of minutes."""

import time

from genprior.families import RunConfig


class Budget:
    """What a run may use, and what it has used.

    Arguments:
        config: With one of `images_seen`, `epochs` and `minutes`.
        images: Images in the data set.
        seconds_before: Time that earlier stretches of the run took.
    """

    def __init__(self, config: RunConfig, images: int, seconds_before: float = 0.0) -> None:
        self.images = config.images_seen
        if config.epochs is not None:
            self.images = max(1, round(config.epochs * images))
        self.minutes = config.minutes
        self._began = time.monotonic() - seconds_before

    @property
    def seconds(self) -> float:
        """Time used by all stretches of the run together."""
        return time.monotonic() - self._began

    def fraction(self, images_seen: int) -> float:
        """Returns the share that is used, in [0, 1]."""
        used = self.seconds / (60 * self.minutes) if self.minutes else images_seen / (self.images or 1)
        return min(1.0, used)

    def __str__(self) -> str:
        return f"{self.images:,} images" if self.images is not None else f"{self.minutes:g} minutes"
