"""An encoder for the generator of a run: trained in about a minute, kept in the run's folder."""

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.families import FAMILIES, RunConfig
from genprior.hardware import keep_freed_memory, resolve_device, resolve_precision
from genprior.models.folding import folded
from genprior.models.latent_encoder import Encoder
from genprior.models.players import latent_size_of
from genprior.runs.checkpoint import load_state
from genprior.runs.environment import read_environment, refuse_other_data
from genprior.runs.execute import Progress
from genprior.runs.run_folder import Run, locked, misfit, open_run, write_json
from genprior.runs.step_log import Row, rows_of
from genprior.runs.tensors import save_tensors
from genprior.seeding import initialised
from genprior.training.distillation import Distillation
from genprior.training.loop import Step, train

WEIGHTS, TABLE = "encoder.safetensors", "encoder.json"
MINUTES = 1.0
HELD_OUT = 1000  # images, or a tenth of the data where that is fewer
STEPS_A_LOOK = 10  # between two looks at the record, and so between two yields
AT_ONCE = 256


@dataclass(frozen=True)
class EncoderBudget:
    """How long an encoder is trained: a number of images where there is one, else minutes."""

    minutes: float
    images: int | None

    def used(self, images_seen: int, seconds: float) -> float:
        """Returns the share that is used, in [0, 1]."""
        share = images_seen / self.images if self.images is not None else seconds / (60 * self.minutes)
        return min(1.0, share)


def load_generator(run: Run, *, average: bool = True) -> nn.Module:
    """Returns what makes images of standard normal latents in a run, in float32 on the CPU.

    Arguments:
        run: The run.
        average: Use the moving average of the weights; False: the weights as they were at the last step.

    Raises:
        GenpriorError: No whole checkpoint, a config that does not fit it, or a family that has no such generator.
    """
    state = load_state(run.checkpoints)
    try:
        generator = run.config.generator(state, read_environment(run)["image_shape"], average)
    except (RuntimeError, KeyError) as error:
        raise misfit(run) from error
    if generator is None:
        have = [name for name, config in FAMILIES.items() if config.generator is not RunConfig.generator]
        raise GenpriorError(
            f"{run.path} is a {run.config.title}, which leads from images to latents by itself; encoders are for "
            f"{', '.join(have)}",
            argument="run",
        )
    return generator


def load_encoder(run: Run, generator: nn.Module) -> Encoder | None:
    """Returns the encoder in a run's folder, in evaluation mode; None where there is none, or none for these weights.

    Arguments:
        run: The run.
        generator: As `load_generator` returns it, with the average of its weights: an encoder fits no others.

    Raises:
        GenpriorError: The encoder's file is damaged.
    """
    file = run.path / WEIGHTS
    if not file.exists():
        return None
    try:
        table, state = _read(file)
        made_for = table["generator_sha256"]
        channels, height, width = table["image_shape"]
        encoder = Encoder((channels, height, width), table["latent_size"], table["width"])
        encoder.load_state_dict(state)
    except Exception as error:  # safetensors has errors of its own, and what a damaged header holds may be anything
        reason = str(error).partition("\n")[0]
        raise GenpriorError(
            f"{file} is damaged ({reason}); train it anew: genprior train encoder {run.path} --overwrite",
            argument="run",
        ) from error
    if made_for != weights_sha256(generator.state_dict()):
        warnings.warn(
            f"{file} belongs to other weights of the generator and is not used; train it anew: "
            f"genprior train encoder {run.path} --overwrite",
            stacklevel=3,
        )
        return None
    return encoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def weights_sha256(state: dict[str, Tensor]) -> str:
    """Returns a SHA-256 over names, types, shapes and values of tensors, whatever their order and memory layout."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def train_encoder(
    run_path: Path,
    *,
    minutes: float = MINUTES,
    images_seen: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Trains an encoder for the averaged generator of a run, yields how far it is, and saves it into the run's folder.

    The last images of the run's data, a thousand of them or a tenth, are held out: the row of the last progress has
    `held_out_error`, the mean squared error of G(E(x)) on them, undamaged. Whatever ends training before its budget
    does, an encoder that was there before stays as it was.

    Arguments:
        run_path: Folder of the run.
        minutes: Budget of training.
        images_seen: Budget in images; the same seed then gives the same encoder. It takes the place of `minutes`.
        seed: Any integer.
        threads: CPU threads; None: as they are.
        overwrite: Replace the encoder that is there.
        should_stop: Asked after each step; True ends training, and nothing is saved.

    Raises:
        GenpriorError: No run, no checkpoint, an encoder that is there, a budget out of range, other data than the
            run's, or another process that trains the run.
    """
    run = open_run(run_path)
    if (run.path / WEIGHTS).exists() and not overwrite:
        raise GenpriorError(f"{run.path} has an encoder; replace it with --overwrite", argument="run")
    budget = _checked_budget(minutes, images_seen)
    generator = load_generator(run)
    data = _run_data(run)
    if threads is not None:
        torch.set_num_threads(threads)
    keep_freed_memory()
    table = {"generator_sha256": weights_sha256(generator.state_dict()), "seed": seed}
    return _train(run, _distillation(run, generator, seed), data, budget, table, should_stop)


def held_out(data: Dataset) -> tuple[Dataset, Dataset]:
    """Returns what an encoder learns from, and the images at the end that it never sees.

    Raises:
        GenpriorError: Fewer than two images.
    """
    count = max(1, min(HELD_OUT, len(data) // 10))
    if len(data) <= count:
        raise GenpriorError(f"at least 2 images are needed, {data.name} has {len(data)}", argument="data")
    first = len(data) - count
    return replace(data, images=data.images[:first], labels=None), replace(
        data, images=data.images[first:], labels=None
    )


def _checked_budget(minutes: float, images: int | None) -> EncoderBudget:
    if not (math.isfinite(minutes) and minutes > 0):
        raise GenpriorError(f"expected a number greater than 0, got {minutes}", argument="minutes")
    if images is not None and images < 1:
        raise GenpriorError(f"expected at least 1, got {images}", argument="images_seen")
    return EncoderBudget(minutes, images)


def _run_data(run: Run) -> Dataset:
    data = run.config.load_data()
    refuse_other_data(run, data, "data")
    return data


def _distillation(run: Run, generator: nn.Module, seed: int) -> Distillation:
    device = resolve_device("auto")
    narrow = run.config.precision in ("auto", "bf16") and resolve_precision("auto", device) == "bf16"
    shape = read_environment(run)["image_shape"]
    encoder = initialised(lambda: Encoder(shape, latent_size_of(generator)), seed, "encoder weights")
    frozen = folded(generator)
    return Distillation(encoder, frozen, dtype=torch.bfloat16 if narrow else torch.float32, device=device)


def _train(
    run: Run,
    algorithm: Distillation,
    data: Dataset,
    budget: EncoderBudget,
    table: dict[str, Any],
    should_stop: Callable[[], bool],
) -> Iterator[Progress]:
    learned, unseen = held_out(data)
    with locked(run):
        last = None
        for last in _watch(algorithm, learned, budget, table["seed"], should_stop):
            if last.outcome != "finished":
                yield last
        if last is None or last.outcome != "finished":
            return
        error = reconstruction_error(algorithm, unseen)
        if not math.isfinite(error):  # a step's record comes from before its update
            yield replace(last, outcome="non-finite", message=_non_finite_message(last.row["step"]))
            return
        encoder = algorithm.encoder
        table |= {
            "image_shape": encoder.image_shape,
            "latent_size": encoder.latent_size,
            "width": encoder.width,
            "batch_size": algorithm.images_per_update,
            "pairs": algorithm.pairs,
            "learning_rate": algorithm.learning_rate,
            "sigma": algorithm.sigma,
            "precision": str(algorithm.dtype).removeprefix("torch."),
            "images_seen": last.row["images_seen"],
            "seconds": round(last.seconds, 3),
            "held_out_images": len(unseen),
            "held_out_error": error,
        }
        _save(run, encoder, table)
    yield replace(last, row={**last.row, "held_out_error": error})


def _watch(
    algorithm: Distillation, data: Dataset, budget: EncoderBudget, seed: int, should_stop: Callable[[], bool]
) -> Iterator[Progress]:
    """Draws the steps, moves the used share of the budget, and looks at the records in blocks."""
    algorithm.encoder.train()
    began = block_began = time.perf_counter()
    pending: list[Step] = []
    for step in train(algorithm, data, seed=seed):
        pending.append(step)
        seconds = time.perf_counter() - began
        algorithm.used = budget.used(step.images_seen, seconds)
        outcome = "finished" if algorithm.used >= 1 else "interrupted" if should_stop() else None
        if outcome is None and len(pending) < STEPS_A_LOOK:
            continue
        row = rows_of(pending, algorithm.images_per_update, block_began)[-1]
        message = _ill(row)
        yield Progress(row, seconds, algorithm.used, outcome if message is None else "non-finite", message)
        if outcome is not None or message is not None:
            return
        pending, block_began = [], time.perf_counter()


def _ill(row: Row) -> str | None:
    if math.isfinite(row["image_error"] + row["latent_error"]) and not row["non_finite_gradients"]:
        return None
    return _non_finite_message(row["step"])


def _non_finite_message(step: int) -> str:
    return f"step {step} of the encoder has values that are not finite; nothing was saved"


@torch.no_grad()
def reconstruction_error(algorithm: Distillation, data: Dataset) -> float:
    """Returns the mean over all values of (G(E(x)) - x)^2, in float32, for whole images."""
    encoder, generator, device = algorithm.encoder.eval(), algorithm.generator, algorithm.device
    total = 0.0
    for indices in torch.split(torch.arange(len(data)), AT_ONCE):
        x = data.take(indices).to(device)
        total += float((generator(encoder.encode(x)) - x).square().sum(dtype=torch.float64))
    return total / data.images.numel()


def _save(run: Run, encoder: Encoder, table: dict[str, Any]) -> None:
    """Writes the encoder so that a kill at any instant leaves the old one or the new one.

    One file holds all that is ever read back, its table and checksum included; the table is written a second time for
    people to read.
    """
    state = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    text = json.dumps(table, sort_keys=True, allow_nan=False)
    save_tensors(state, run.path / WEIGHTS, {"table": text, "sha256": _checksum(text, state)})
    write_json(run.path / TABLE, table)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    if metadata["sha256"] != _checksum(metadata["table"], state):
        raise ValueError("its checksum is wrong")
    table: dict[str, Any] = json.loads(metadata["table"])
    return table, state


def _checksum(table: str, state: dict[str, Tensor]) -> str:
    return hashlib.sha256(f"{table}\n{weights_sha256(state)}".encode()).hexdigest()
