"""Distillation of a trained generator into an encoder. Knows data and models, no names and no files."""

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.models.latent_encoder import Encoder
from genprior.training.loop import Batch
from genprior.training.optimisation import AdamSettings, Descent, annealed, grouped, joined
from genprior.training.processes import ON_CPU, Placement

NOISE = 0.5  # largest standard deviation
MISSING = 0.9  # largest share of random pixels


class Distillation:
    """An `Algorithm` that trains an encoder E to undo a frozen generator G, for whole and for damaged images.

    For a real image the loss is (|G(E(x)) - x|^2 / sigma^2 + |E(x)|^2) / k: where x is whole, its minimum is the most
    probable latent under a standard normal and noise of deviation sigma, found once for all images instead of by a
    search for each (as in Zhu et al. 2016, https://arxiv.org/abs/1609.03552, section 3.2, who have no second
    term). Pairs x = G(z), z ~ N(0, I), which never run out, join each update; as their latent is known,
    |E(x) - z|^2 takes the place of |E(x)|^2. E sees most images damaged, see `damaged`; the loss compares with the
    whole ones.

    The learning rate follows `annealed`.

    Arguments:
        encoder: What learns; float32.
        generator: z (B, k) -> x (B, C, H, W); it is frozen and put in evaluation mode in place.
        batch_size: Real images in an update.
        pairs: Generated images in an update.
        learning_rate: Adam's largest.
        sigma: How far G(E(x)) may be from x, in the units of x.
        placement: Device and arithmetic of the networks, bfloat16 or float32; losses are float32. One process.
    """

    def __init__(
        self,
        encoder: Encoder,
        generator: nn.Module,
        *,
        batch_size: int = 64,
        pairs: int = 16,
        learning_rate: float = 0.01,
        sigma: float = 0.09,
        placement: Placement = ON_CPU,
    ) -> None:
        self.dtype, self.device, self.processes = placement.dtype, placement.device, placement.processes
        self.encoder = encoder.to(self.device).to(memory_format=torch.channels_last)
        self.generator = generator.eval().requires_grad_(False).to(self.device)
        self.images_per_update, self.pairs = batch_size, pairs
        self.learning_rate, self.sigma = learning_rate, sigma
        self._descent = Descent(encoder, AdamSettings(learning_rate, beta1=0.9, beta2=0.99))

    def check(self, data: Dataset) -> None:
        """Raises `GenpriorError` where the images are not of the encoder's shape."""
        if data.image_shape != self.encoder.image_shape:
            raise GenpriorError(
                f"the encoder reads images of shape {self.encoder.image_shape}, {data.name} has {data.image_shape}",
                argument="data",
            )

    def update(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Updates the encoder once; see the class."""
        z = torch.randn(self.pairs, self.encoder.latent_size, generator=generator).to(self.device)
        with torch.no_grad():
            fake: Tensor = self.generator(z.to(self.dtype))
        real = batch.images.to(self.device, self.dtype)
        x = torch.cat([real, fake])
        codes: Tensor = self.encoder(*damaged(x, generator))
        misfit = (self.generator(codes).float() - x.float()).square().flatten(1)
        energy = codes[: len(real)].float().square().sum(1)
        latent_error = (codes[len(real) :].float() - z).square().sum(1)
        loss = (misfit.sum() / self.sigma**2 + energy.sum() + latent_error.sum()) / codes.numel()
        norm, bad = self._descent.step(loss, annealed(progress))
        return {
            "image_error": misfit[: len(real)].detach().mean(),
            "latent_error": latent_error.detach().sum() / max(1, z.numel()),
            "energy": 0.5 * energy.detach().mean(),
            "gradient_norm": norm,
            "non_finite_gradients": bad,
        }

    def average_weights(self, images_seen: int) -> None:
        """Does nothing: the falling learning rate averages enough."""

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors of the encoder and its optimiser; the generator never changes."""
        return joined({"encoder": self.encoder.state_dict(), "adam": self._descent.state_dict()})

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self.encoder.load_state_dict(grouped(state, "encoder"))
        self._descent.load_state_dict(grouped(state, "adam"))


def damaged(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns x with noise in it, and which of its pixels are known.

    Of six images three are whole, one lacks random pixels, one a box, and one a half; every other one is noisy. A
    single pixel stays as it is: nothing around it tells how noisy it is.

    Arguments:
        x: (B, C, H, W).
        generator: Source of all randomness.

    Returns:
        y (B, C, H, W), and known (B, 1, H, W), 1.0 or 0.0.
    """
    count, _, height, width = x.shape
    known = torch.ones(count, 1, height, width)
    if height * width > 1:
        known[3::6, 0] = _random_pixels(len(known[3::6]), height, width, generator)
        known[4::6, 0] = _outside_box(len(known[4::6]), height, width, generator)
        known[5::6, 0] = _half(len(known[5::6]), height, width, generator)
        # Runs of six, so that every kind of damage comes with noise and without.
        noisy = torch.arange(count) // 6 % 2 == 1
        sigma = NOISE * torch.rand(int(noisy.sum()), 1, 1, 1, generator=generator)
        noise = sigma * torch.randn(len(sigma), *x.shape[1:], generator=generator)
        x = x.clone()
        x[noisy] += noise.to(x.device, x.dtype)
    return x, known.to(x.device, x.dtype)


def _random_pixels(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    share = MISSING * torch.rand(count, 1, 1, generator=generator)
    return (torch.rand(count, height, width, generator=generator) >= share).float()


def _outside_box(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """1.0 outside a box of a quarter to three quarters of each side, centred in every other image."""
    sides = torch.tensor([height, width])
    sizes = (sides * (0.25 + 0.5 * torch.rand(count, 2, generator=generator))).round()
    place = torch.rand(count, 2, generator=generator)
    place[::2] = 0.5
    return _outside(((sides - sizes) * place).round(), sizes, height, width)


def _half(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """1.0 in the upper, lower, left or right half."""
    across, last = torch.randint(2, (2, count, 1), generator=generator).bool()
    sides = torch.tensor([height, width])
    along = torch.cat([across, ~across], 1)  # which of the two sides is halved
    halves = sides // 2
    return _outside(torch.where(along & last, sides - halves, 0), torch.where(along, halves, sides), height, width)


def _outside(first: Tensor, sizes: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W), 0.0 in a box whose first row and column are `first` (B, 2) and whose sides are `sizes` (B, 2)."""
    inside = [
        (torch.arange(side) >= first[:, i : i + 1]) & (torch.arange(side) < (first + sizes)[:, i : i + 1])
        for i, side in enumerate((height, width))
    ]
    return (~(inside[0][:, :, None] & inside[1][:, None, :])).float()
