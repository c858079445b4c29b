"""What is measured of two players to see how far they are from an equilibrium: numbers, and what follows from them.

Imports no torch.
"""

import math

from pydantic import computed_field

from genprior.settings import Model, Number

NOISE = 2.0  # standard errors; a gain below them is none
LITTLE = 1e-3  # nats; nor is one below this
SLIPPED = 0.05  # nats; what has become worse by more than this has become worse
NEAR = 0.1  # distance from 1, the end of a path, at which both sides are compared


class GameValue(Model):
    """A value of the game, in nats, and its standard error; nan where it is not known."""

    value: Number
    standard_error: Number


class ResponseMoment(Model):
    """An adversary on its way.

    Attributes:
        step: Of the adversary; 0: the player itself.
        fit: Value on what it learns from.
        validation: Value by which the best step is chosen.
        judged: Value that is reported.
    """

    step: int
    fit: GameValue
    validation: GameValue
    judged: GameValue


class Response(Model):
    """An adversary trained against the player that stands still.

    Attributes:
        rises: Whether it raises the value (a discriminator) or lowers it (a generator).
        moments: In the order of steps, the first of step 0.
        late_noise: Standard error of `late_gain`; nan: not known.
    """

    rises: bool
    moments: tuple[ResponseMoment, ...]
    late_noise: Number = math.nan

    @property
    def best(self) -> ResponseMoment:
        """The moment with the best value on the samples for validation; the judged ones have no say."""
        return max(self.moments, key=self._merit)

    @property
    def best_early(self) -> ResponseMoment:
        """The best before the last fifth of the steps."""
        early = [moment for moment in self.moments if 5 * moment.step <= 4 * self.moments[-1].step]
        return max(early, key=self._merit)

    @computed_field
    @property
    def best_step(self) -> int:
        """The step of the best moment."""
        return self.best.step

    @computed_field
    @property
    def value(self) -> Number:
        """The value that is reported: that of the best moment on judged samples."""
        return self.best.judged.value

    @computed_field
    @property
    def standard_error(self) -> Number:
        """Of the value."""
        return self.best.judged.standard_error

    @computed_field
    @property
    def gain(self) -> Number:
        """By how much the best step betters the player itself on the samples for validation, at least 0."""
        return self._merit(self.best) - self._merit(self.moments[0])

    @computed_field
    @property
    def late_gain(self) -> Number:
        """What the last fifth of the steps added to it."""
        return self._merit(self.best) - self._merit(self.best_early)

    @computed_field
    @property
    def converged(self) -> bool:
        """Whether the late gain is no more than noise or `LITTLE`; never if it failed."""
        noise = NOISE * self.late_noise
        return not self.failed and self.late_gain <= max(LITTLE, noise if math.isfinite(noise) else 0.0)

    @computed_field
    @property
    def failed(self) -> bool:
        """Whether it ends worse than the player itself on what it learns from, by `SLIPPED`: the optimiser lost it."""
        return self._fit_merit(self.moments[-1]) < self._fit_merit(self.moments[0]) - SLIPPED

    @computed_field
    @property
    def overfitted(self) -> bool:
        """Whether it ends worse than its best step by more than `SLIPPED`, and on what it learns from better."""
        last, best = self.moments[-1], self.best
        is_worse = self._merit(last) < self._merit(best) - SLIPPED
        return is_worse and self._fit_merit(last) > self._fit_merit(best)

    def _merit(self, moment: ResponseMoment) -> float:
        return self._good(moment.validation.value)

    def _fit_merit(self, moment: ResponseMoment) -> float:
        return self._good(moment.fit.value)

    def _good(self, value: float) -> float:
        return (value if self.rises else -value) if math.isfinite(value) else -math.inf


class Bound(Model):
    """A number that adversaries found, and how much more there may be.

    Attributes:
        value: What they reached; nan: it is not finite.
        standard_error: Of it; nan: not known.
        ahead: What twice the steps might add; 0 where they have converged.
    """

    value: Number
    standard_error: Number
    ahead: Number

    @property
    def noise(self) -> float:
        """What may be chance; infinite where that is not known."""
        return NOISE * self.standard_error if math.isfinite(self.standard_error) else math.inf

    def is_above(self, most: float) -> bool:
        """Whether it is above a number, chance apart."""
        return self.value - self.noise > most

    def stays_below(self, most: float) -> bool:
        """Whether it would stay below a number, chance apart, with twice the steps."""
        return self.value + self.noise + self.ahead < most


class Opinion(Model):
    """What a discriminator says of one kind of images.

    Attributes:
        logits: How many.
        accuracy: Share of logits on the right side, in [0, 1].
        mean_logit: Their mean.
        standard_error: Of the mean logit; nan for a single one.
    """

    logits: int
    accuracy: Number
    mean_logit: Number
    standard_error: Number

    @computed_field
    @property
    def accuracy_error(self) -> Number:
        """Standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.logits)


class GradientNorm(Model):
    """A gradient that is known from batches.

    Attributes:
        norm: Of its mean over the batches.
        noise: Norm that this mean would have if the true gradient were 0: root of the summed variances of the mean.
    """

    norm: Number
    noise: Number

    @computed_field
    @property
    def ratio(self) -> Number:
        """Norm over noise; about 1: there is nothing but noise."""
        return self.norm / self.noise if self.noise > 0 else math.inf


class PathAngle(Model):
    """The field along the straight line from earlier weights w to later ones w', and beyond them.

    Berard et al. 2019 (https://arxiv.org/abs/1906.04848), section 4. Where w' attracts, the cosine changes sign from
    below 0 to above it at alpha = 1; where the field turns around a point beside the line, it has a bump there.

    Attributes:
        alphas: Places w_alpha = alpha w' + (1 - alpha) w; 0.9, 1 and 1.1 are among them.
        cosines: Between v(w_alpha) and w' - w; nan where v is 0.
        norms: Of v(w_alpha).
        length: |w' - w|.
    """

    alphas: tuple[float, ...]
    cosines: tuple[Number, ...]
    norms: tuple[Number, ...]
    length: Number

    @property
    def before(self) -> float:
        """The cosine at alpha = 0.9."""
        return self._at(1 - NEAR)

    @property
    def end(self) -> float:
        """The cosine at alpha = 1."""
        return self._at(1)

    @property
    def beyond(self) -> float:
        """The cosine at alpha = 1.1."""
        return self._at(1 + NEAR)

    @computed_field
    @property
    def attraction(self) -> Number:
        """Half the rise of the cosine from alpha = 0.9 to 1.1, in [-1, 1]; 1: a pure potential, lowest at w'."""
        return (self.beyond - self.before) / 2

    @computed_field
    @property
    def bump(self) -> Number:
        """The cosine at the end less its mean at alpha = 0.9 and 1.1; 0: nothing turns around a point near by."""
        return self.end - (self.beyond + self.before) / 2

    @computed_field
    @property
    def switches(self) -> bool:
        """Whether the cosine is below 0 just before the end of the path, and above it just beyond."""
        return self.before < 0 < self.beyond

    def _at(self, alpha: float) -> float:
        return next(c for a, c in zip(self.alphas, self.cosines, strict=True) if math.isclose(a, alpha))
