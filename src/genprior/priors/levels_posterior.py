"""What posteriors under several levels of noise say together, where it is not known. Knows contracts and seeds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from genprior.priors.contracts import Posterior
from genprior.seeding import derived_generator


class LevelsPosterior(Posterior):
    """Images and a level of noise that explain measurements: the levels are drawn with the images.

    p(x | y) is the mean of p(x | y, level) over p(level | y), which goes with p(y | level) where all levels are alike.

    Arguments:
        parts: Posteriors of the same B measurements, one for each of L levels.
        evidence: log p(y | level) (B, L) in nats; of levels that cannot be, minus infinity.

    Attributes:
        levels: Probabilities (B, L) of the levels.
        log_evidence: log p(y) (B,) in nats.
        weights: Of the kinds of images (B, K).
        means: Of the kinds (K, B, C, H, W).
        mean: E[x | y] (B, C, H, W).
    """

    def __init__(self, parts: Sequence[Posterior], evidence: Tensor) -> None:
        self._parts = parts
        self.levels = torch.softmax(evidence, 1)
        self.log_evidence = evidence.logsumexp(1) - torch.isfinite(evidence).sum(1).to(evidence).log()
        self.weights, self.means = torch.zeros_like(parts[0].weights), torch.zeros_like(parts[0].means)
        for part, share in zip(parts, self.levels.T, strict=True):
            joint = share[:, None] * part.weights
            self.weights += joint
            self.means += joint.T[:, :, None, None, None] * part.means
        self.mean = self.means.sum(0)
        self.means /= self.weights.clamp_min(torch.finfo(self.weights.dtype).tiny).T[:, :, None, None, None]

    def draws(self, count: int, seed: int = 0, numbers: Sequence[int] | None = None) -> Tensor:
        """Returns x (B, count, C, H, W); those of measurement i depend on (seed, numbers[i]) alone."""
        who = list(numbers) if numbers is not None else list(range(len(self.mean)))
        generators = [derived_generator(seed, "level", i) for i in who]
        pairs = zip(self.levels.float().cpu(), generators, strict=True)
        chosen = torch.stack([torch.multinomial(own, count, True, generator=each) for own, each in pairs])
        x = self.mean[:, None].expand(-1, count, -1, -1, -1).clone()
        for level, part in enumerate(self._parts):
            is_own = (chosen == level).to(x.device)
            if bool(is_own.any()):
                x[is_own] = part.draws(count, seed, who)[is_own]
        return x
