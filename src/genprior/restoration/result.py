"""What inverting or restoring images gives, files that hold it, and what is to be thought of it in plain words."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.stored_files import loads
from genprior.writing import save_tensors

GOOD = "good fit"
RANGE = "prior cannot represent it"
STUCK = "starts disagree"
OVERFITTED = "noise over-fitted"
NOT_MIXED = "not mixed"
NOT_JUDGED = "not judged"
VERDICTS = {
    GOOD: "the residual is no larger than the noise and what such a prior usually leaves",
    RANGE: "every start ended at about the same large residual: the image lies outside the prior's range",
    STUCK: "starts ended at different large residuals, or there was one only: more of them may help",
    OVERFITTED: "the residual is smaller than the noise: give more weight to the energy",
    NOT_JUDGED: "how strong the noise is, is not known, so the residual cannot be told from noise",
    NOT_MIXED: "populations of draws disagree: mean, deviation and probabilities are not to be trusted",
}
ADVICE = {  # what to do, by verdict
    GOOD: "Use it, and look at the deviation and the candidates for what is still unsure.",
    RANGE: "Train longer, on more images like this one, or compare with a run of another family.",
    STUCK: "Search from more starts (--starts 16, or --preset thorough), and look at all candidates.",
    OVERFITTED: "Take fine details for noise: say how strong it is, or give a larger --energy-weight without draws.",
    NOT_JUDGED: "Judge by eye beside the damaged image, or say how strong the noise is where you know it.",
    NOT_MIXED: "Ask for more draws, and until then use the pictures alone, without deviation and probabilities.",
}
RANGE_TOLERANCE = 0.1  # root mean square of a residual, in units of y, that a good prior may leave on clean images
TEXTS = ("stopped", "verdicts")
OF_DRAWS = ("draws", "probabilities", "r_hat", "effective")  # not in files where there are no draws
KEY, GROUPS = "genprior", "groups"
DISAGREEMENT = 1.25  # ratio of residuals from which two starts did not end in the same place


@dataclass(frozen=True)
class Restoration:
    """B restored images and how they were found.

    Attributes:
        images: x (B, C, H, W), the restored images.
        latents: z (B, k) of what was found first. `images` are their decodings, or lie beyond the prior's range where
            that was asked for, or are the mean or median of draws. k is 0 where images are found without them (flow
            matching); `invert` finds latents.
        misfit: Data term (B,), summed over measurements: how far the restored image's measurement is from y.
        error: Root of the mean squared residual (B,), in the units of y.
        energy: Of the latents (B,), in nats; lower is more plausible. NaN where there are none.
        weight: Weight (B,) that the energy had beside the data term.
        starts: Starts that were tried (B,), int64.
        iterations: Evaluations of the start that won (B,), int64.
        stopped: Why the search ended, B of "converged", "iterations", "stalled"; or how an image was found without a
            search, such as "closed form" or "exact".
        verdicts: B of the `VERDICTS`.
        candidates: All distinct solutions (B, K, C, H, W), best first; the first are `images`. Of draws those that
            stand for many others, the most probable kind first.
        candidate_latents: Their latents (B, K, k).
        candidate_counts: How many of the K there are (B,), int64; the places after them repeat the best.
        draws: Of the posterior (B, S, C, H, W); S is 0 where none were asked for.
        probabilities: Of the candidates (B, K), shares of the draws; NaN where there are none.
        r_hat: Potential scale reduction (B,), 1 where populations of draws agree. NaN where there are none: without
            draws, or where each was made by itself (flow matching, Glow), so that none of them can disagree.
        effective: Independent draws that the S are worth (B,); NaN where there are none.
    """

    images: Tensor
    latents: Tensor
    misfit: Tensor
    error: Tensor
    energy: Tensor
    weight: Tensor
    starts: Tensor
    iterations: Tensor
    stopped: tuple[str, ...]
    verdicts: tuple[str, ...]
    candidates: Tensor
    candidate_latents: Tensor
    candidate_counts: Tensor
    draws: Tensor
    probabilities: Tensor
    r_hat: Tensor
    effective: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def spread(self) -> Tensor:
        """Returns the standard deviation over each image's candidates, pixel by pixel (B, C, H, W); 0 for one alone."""
        places = torch.arange(self.candidates.shape[1], device=self.candidates.device)
        there = (places[None] < self.candidate_counts[:, None]).to(self.candidates.dtype)[:, :, None, None, None]
        count = there.sum(1)
        mean = (self.candidates * there).sum(1) / count
        return (((self.candidates - mean[:, None]).square() * there).sum(1) / count).sqrt()

    def deviation(self) -> Tensor:
        """Returns the standard deviation over draws (B, C, H, W); over candidates where there are no draws."""
        return self.draws.std(1) if self.draws.shape[1] else self.spread()

    def interval(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Returns the bounds (B, C, H, W) between which a pixel lies with a probability, by quantiles of the draws.

        Arguments:
            level: The probability, above 0 and below 1.

        Raises:
            GenpriorError: Another level, or no draws.
        """
        if not 0 < level < 1:
            raise GenpriorError(f"expected a probability above 0 and below 1, got {level}", argument="level")
        if not self.draws.shape[1]:
            raise GenpriorError("there are no draws to take an interval of; restore with draws", argument="draws")
        low, high = (torch.quantile(self.draws.float(), each, dim=1) for each in ((1 - level) / 2, (1 + level) / 2))
        return low, high

    def taken(self, rows: Sequence[int]) -> "Restoration":
        """Returns the restoration of some of the images, by their places."""
        return Restoration(**{f.name: _taken(getattr(self, f.name), rows) for f in fields(self)})

    def save(self, path: Path) -> None:
        """Writes one safetensors file, whole or not at all; errors as `written` has them."""
        save_restorations([self], path)

    @classmethod
    def load(cls, path: Path) -> "Restoration":
        """Returns what `save` wrote.

        Raises:
            GenpriorError: No such file, it is damaged or something else, or it holds images of several sizes.
        """
        found = load_restorations(path)
        if len(found) != 1:
            raise GenpriorError(f"{path} holds images of several sizes: load_restorations gives them in groups")
        return found[0]

    @classmethod
    def joined(cls, parts: Sequence["Restoration"]) -> "Restoration":
        """Returns several restorations, at least one, as one."""
        values = {f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(cls)}
        return cls(**values)


def without_draws(candidates: Tensor) -> dict[str, Tensor]:
    """Returns the fields of a `Restoration` about draws where there are none, for candidates (B, K, C, H, W)."""
    count, most, *shape = candidates.shape
    unknown = torch.full((count,), torch.nan, device=candidates.device)
    return {
        "draws": candidates.new_empty(count, 0, *shape),
        "probabilities": unknown[:, None].repeat(1, most),
        "r_hat": unknown,
        "effective": unknown.clone(),
    }


def _taken(value: Any, rows: Sequence[int]) -> Any:  # noqa: ANN401 - tensors or texts, as the field has them
    return value[list(rows)] if isinstance(value, Tensor) else tuple(value[i] for i in rows)


def _joined(values: list[Any]) -> Any:  # noqa: ANN401 - tensors or texts, as the field has them
    if isinstance(values[0], Tensor):
        return torch.cat(values)
    return tuple(text for value in values for text in value)


def is_poor(error: Tensor, noise_level: Tensor | None) -> Tensor:
    """Returns whether residuals (B,), root mean square, are larger than noise and a good prior explain."""
    if noise_level is None:  # a residual alone cannot tell noise from what the prior lacks
        return ~torch.isfinite(error)
    return ~(error.square() <= noise_level**2 + RANGE_TOLERANCE**2)


def verdicts(
    error: Tensor, ratio: Tensor, counts: Tensor, parameters: Tensor, noise_level: Tensor | None
) -> tuple[str, ...]:
    """Returns one of `VERDICTS` for each image.

    Arguments:
        error: Root mean square (B,) of the residual.
        ratio: Larger over smaller (B,) of the residuals that two independent tries ended with; NaN after one try.
        counts: Number of measurements (B,).
        parameters: Numbers that explain each image (B,); k of them explain up to k measurements of mere noise.
        noise_level: Standard deviation of the noise (B,), or None where it is not known.
    """
    poor = is_poor(error, noise_level)
    disagree = poor & ~(ratio <= DISAGREEMENT)
    fitted, fitting = torch.zeros_like(poor), NOT_JUDGED if noise_level is None else GOOD
    if noise_level is not None:
        free = (counts - parameters).clamp_min(0)
        # Chi-square with `free` degrees of freedom, three standard deviations below its mean.
        least = (free - 3 * (2 * free).sqrt()).clamp_min(0)
        fitted = error.square() * counts < noise_level**2 * least
    return tuple(
        STUCK if d else RANGE if p else OVERFITTED if f else fitting
        for d, p, f in zip(disagree.tolist(), poor.tolist(), fitted.tolist(), strict=True)
    )


def save_restorations(groups: Sequence[Restoration], path: Path) -> None:
    """Writes one safetensors file, whole or not at all; errors as `written` has them.

    Arguments:
        groups: At least one; the images of a group have one size.
        path: Of the file.
    """
    tensors: dict[str, Tensor] = {}
    for place, group in enumerate(groups):
        tensors |= {_prefix(place, len(groups)) + name: value for name, value in _tensors(group).items()}
    texts: Any = [{name: getattr(group, name) for name in TEXTS} for group in groups]
    save_tensors(tensors, path, {KEY: json.dumps(texts[0] if len(groups) == 1 else {GROUPS: texts})})


def load_restorations(path: Path) -> list[Restoration]:
    """Returns what `save_restorations` wrote.

    Raises:
        GenpriorError: No such file, or it is damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told = loads((file.metadata() or {})[KEY])
            texts = told.get(GROUPS, [told])
            found = {name: _read(file, name) for name in file.keys()}  # noqa: SIM118
        return [_group(found, text, _prefix(place, len(texts))) for place, text in enumerate(texts)]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise GenpriorError(f"{path} holds no restoration: {error}") from None


def load_latents(path: Path) -> list[Tensor]:
    """Returns the latents (B, k) of each group in a file, and leaves the images on the disk."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        if "latents" in names:
            return [file.get_tensor("latents")]
        count = sum(name.endswith("/latents") for name in names)
        return [file.get_tensor(f"{_prefix(place, count)}latents") for place in range(count)]


def joined_runs(groups: Sequence[Restoration]) -> list[Restoration]:
    """Returns restorations in their order, neighbours of one size as one."""
    runs: list[list[Restoration]] = []
    for group in groups:
        is_alike = runs and runs[-1][-1].images.shape[1:] == group.images.shape[1:]
        if is_alike:
            runs[-1].append(group)
        else:
            runs.append([group])
    return [Restoration.joined(run) for run in runs]


def _read(file: Any, name: str) -> Tensor:  # noqa: ANN401 - an open file of safetensors
    try:
        found: Tensor = file.get_tensor(name)
    except (
        TypeError
    ) as error:  # which is how safetensors passes on that torch found no memory; the file is not at fault
        raise MemoryError(str(error)) from error
    return found


def _prefix(place: int, count: int) -> str:
    return "" if count == 1 else f"{place}/"


def _tensors(found: Restoration) -> dict[str, Tensor]:
    # Copies, as safetensors refuses tensors that share memory; row by row, as it refuses channels-last ones.
    tensors = {
        f.name: getattr(found, f.name).clone(memory_format=torch.contiguous_format)
        for f in fields(found)
        if f.name not in TEXTS and (found.draws.shape[1] or f.name not in OF_DRAWS)
    }
    if found.draws.shape[1]:
        tensors["draws"] = tensors["draws"].half()  # finer than 8 bits, and half of the room
    return tensors


def _group(tensors: dict[str, Tensor], texts: dict[str, Any], prefix: str) -> Restoration:
    there = [f.name for f in fields(Restoration) if f.name not in TEXTS]
    left_out = () if f"{prefix}draws" in tensors else OF_DRAWS
    values: dict[str, Any] = {name: tensors[prefix + name] for name in there if name not in left_out}
    values = without_draws(values["candidates"]) | values
    values |= {name: tuple(texts[name]) for name in TEXTS}
    values["draws"] = values["draws"].to(values["images"])
    return Restoration(**values)
