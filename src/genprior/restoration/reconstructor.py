"""A prior as a model of deepinv: `model(y, physics)`."""

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from genprior.priors.generator_prior import Prior
from genprior.restoration.fidelity import Fidelity
from genprior.restoration.restore import DEFAULT, restore
from genprior.restoration.search_settings import SearchSettings

if TYPE_CHECKING:
    from deepinv.physics import Physics


class PriorReconstructor(nn.Module):
    """Restores by a prior wherever deepinv takes a reconstruction model, its `Trainer` and `test` included.

    It computes where the prior does, and draws image i's starts by its place in the batch.

    Arguments:
        prior: A trained prior, or one of your own.
        settings: How to search.
        fidelity: The data term; default: what the operator and its noise suggest.
        noise_level: Standard deviation of the noise; default: that of the operator's noise model.
        seed: Any integer.
    """

    def __init__(
        self,
        prior: Prior,
        settings: SearchSettings = DEFAULT,
        *,
        fidelity: Fidelity | None = None,
        noise_level: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.prior, self.settings, self.seed = prior, settings, seed
        self.fidelity, self.noise_level = fidelity, noise_level

    def forward(self, y: Tensor, physics: "Physics", **_: Any) -> Tensor:  # noqa: ANN401 - deepinv's signature
        """Returns restored images x (B, C, H, W) of measurements y (B, ...)."""
        found = restore(
            self.prior,
            y,
            physics,
            self.settings,
            fidelity=self.fidelity,
            noise_level=self.noise_level,
            seed=self.seed,
        )
        return found.images
