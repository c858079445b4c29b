"""Tries families on a part of the budget, and goes on with the one that restores held-out images best."""

import math
import shutil
from pathlib import Path
from typing import Any

import torch

from genprior.data import Dataset
from genprior.data.held_out import Split
from genprior.errors import GenpriorError, NotFiniteError
from genprior.families import RunConfig, parse_config
from genprior.families.run_config import largest_power
from genprior.progress import Stage, Task, within
from genprior.runs.best_weights import CLEARLY, advantage, scored_ages
from genprior.runs.checkpoint import load_counters
from genprior.runs.execute import TrainingOutcome, execute
from genprior.runs.experiment import part_of
from genprior.runs.prepare import PreparedRun, new_run, refuse_among_images, resumed_run
from genprior.runs.run_folder import (
    AUTO,
    CONFIG,
    LOCK,
    TRIED,
    Run,
    clear_run,
    is_free,
    locked,
    open_run,
    read_environment,
    refuse_foreign,
)
from genprior.runs.suggestion import LEAST_TRIED
from genprior.runs.trained_prior import load_prior
from genprior.scoring.auto_results import MINUTES, TRIES, AutoSettings, AutoTraining, TriedFamily

SHARE = 1 / 3  # of the budget that all tries take together
LEAST_SECONDS = 5.0  # of a try
CHECKPOINT_SECONDS = 20.0  # what an interruption loses at most
CHECKED = 256  # images on which networks are built to see whether they can be
PICTURED = 64


def train_auto(settings: AutoSettings, kept: AutoTraining | None = None) -> Task[AutoTraining]:
    """Trains each family for an equal part of a third of the budget, and the best of them to its end.

    A try is the beginning of a run with the whole budget, paused and scored: the best one goes on as if it had never
    been paused, and moves from its folder in `tries` to the run's own. The others stay there.

    Arguments:
        settings: What is tried, on what, and how long.
        kept: What an interrupted training of these settings has left.

    Raises:
        GenpriorError: A folder that holds something else, bad data, too few images, too small a budget, or nothing that
            can be trained on images of this shape: before the first stage.
    """
    _check_folder(settings.out, kept)
    refuse_among_images(settings.out, settings.data)
    split = parse_config({**settings.images(), "family": "glo"}).load_split()
    held_out = _checked_images(split)
    configs, left_out = _configs(settings, split.learned)
    found = kept or AutoTraining(settings=settings, is_complete=False)
    if kept is None and settings.out.exists():
        with locked(Run(settings.out, next(iter(configs.values())))):
            refuse_foreign(settings.out)
            clear_run(settings.out)
            (settings.out / CONFIG).unlink(missing_ok=True)
    each, until = SHARE / len(configs), _until(len(configs))
    note = f"{len(split.learned):,} images to learn, {held_out:,} held out"
    yield Stage(0.0, "images", (note, *left_out), found=found)
    for i, (name, config) in enumerate(configs.items()):
        if i >= len(found.tries):
            trying = _tried(name, config, settings.out / TRIED / name, until)
            tried = yield from within(trying, i * each, (i + 1) * each, f"{name}: ", own=(0.0, until))
            found = found.model_copy(update={"tries": (*found.tries, tried)})
            yield Stage((i + 1) * each, str(tried), (str(tried),), found=found)
    if not found.winner:
        found = _decided(found)
        yield Stage(SHARE, found.reason, (found.reason,), found=found)
    _move(settings.out / TRIED / found.winner, settings.out)
    yield from within(_continued(settings.out), SHARE, 1.0, f"{found.winner}: ", own=(until, 1.0))
    counters, _ = load_counters(settings.out / "checkpoint")
    assert counters is not None, "the winner was trained"
    done = {"images_seen": counters.images_seen, "minutes": counters.seconds / 60, "is_complete": True}
    return found.model_copy(update=done)


def draw_auto(settings: AutoSettings, found: AutoTraining) -> dict[str, Path]:
    """Draws real images and samples of the run that was chosen, and returns the file."""
    from genprior.plotting.sample_figures import write_real_and_generated

    run = open_run(settings.out)
    path = run.figures / "samples.png"
    write_real_and_generated(run.config.load_data().some(PICTURED), load_prior(run.path).sample(PICTURED), path)
    return {"real and generated": path}


def _check_folder(out: Path, kept: AutoTraining | None) -> None:
    if out == Path() or (out.exists() and not out.is_dir()):
        raise GenpriorError(f"expected the name of a folder, got '{out}'", argument="out")
    is_ours = (out / AUTO).exists() or part_of(out / AUTO).exists()
    if kept is None and not is_ours and not is_free(out):
        raise GenpriorError(f"{out} exists and holds no automatic training; choose another folder", argument="out")


def _checked_images(split: Split) -> int:
    """Returns how many images are held out."""
    held_out = split.load_held_out()
    if split.learned.is_points:
        raise GenpriorError("restores images, these are points; train a gan on them", argument="data")
    if held_out is None or len(held_out) < 2 or len(split.learned) < LEAST_TRIED:
        count = 0 if held_out is None else len(held_out)
        raise GenpriorError(
            f"at least {LEAST_TRIED} images to learn and 2 held out are needed, {split.learned.name} gives "
            f"{len(split.learned)} and {count}",
            argument="data",
        )
    return len(held_out)


def _configs(settings: AutoSettings, data: Dataset) -> tuple[dict[str, RunConfig], list[str]]:
    """Settings of a whole run of each family that can be trained on such images, and a line for each other one."""
    part = data.part(torch.arange(min(CHECKED, len(data))))
    possible: dict[str, dict[str, Any]] = {}
    left_out = []
    for name in settings.tried:
        own = _own_settings(settings, name, data)
        try:
            config = parse_config(own)
            config.build(part).check(part)
        except GenpriorError as error:
            left_out.append(f"{name} is not tried: {error.message}")
        else:
            possible[name] = own
    if not possible:
        raise GenpriorError("; ".join(left_out), argument="data")
    budget = _budget(settings, len(possible), max(own.get("batch_size", 1) for own in possible.values()))
    return {name: parse_config(own | budget) for name, own in possible.items()}, left_out


def _own_settings(settings: AutoSettings, name: str, data: Dataset) -> dict[str, Any]:
    """Settings of a family for these images; few images fill smaller batches, and are told apart by fewer numbers."""
    values = {
        **settings.images(),
        "seed": settings.seed,
        "threads": settings.threads,
        "checkpoint_seconds": CHECKPOINT_SECONDS,
        "family": name,
        **TRIES[name](data.image_shape, len(data)),
    }
    usual = parse_config(values).model_dump()["batch_size"]
    most = largest_power(len(data))
    return values if usual is None else values | {"batch_size": min(usual, most)}


def _until(count: int) -> float:
    """The share of a run's budget at which its try ends, for so many tries: all but the others' tries is its budget."""
    return SHARE / count / _share_of_run(count)


def _share_of_run(count: int) -> float:
    return SHARE / count + 1 - SHARE


def _budget(settings: AutoSettings, count: int, batch_size: int) -> dict[str, float | int]:
    """The budget of a whole run, for so many tries with batches of at most so many images.

    Raises:
        GenpriorError: Too small a one.
    """
    images = settings.images_seen
    if images is not None:
        if images * SHARE / count < batch_size:
            raise GenpriorError(
                f"{images:,} images leave {int(images * SHARE / count)} for each of {count} tries; give at least "
                f"{math.ceil(batch_size * count / SHARE):,}",
                argument="images_seen",
            )
        return {"images_seen": round(images * _share_of_run(count))}
    minutes = settings.minutes or MINUTES
    seconds = 60 * minutes * SHARE / count
    if seconds < LEAST_SECONDS:
        least = LEAST_SECONDS * count / (60 * SHARE)
        raise GenpriorError(
            f"{minutes:g} minutes leave {seconds:.1g} seconds for each of {count} tries; give at least {least:.2g}",
            argument="minutes",
        )
    return {"minutes": round(minutes * _share_of_run(count), 3)}


def _tried(name: str, config: RunConfig, path: Path, until: float) -> Task[TriedFamily]:
    """Trains a run to a share of its budget, from where it stands, and returns how well it restores then."""
    if (path / CONFIG).is_file():
        prepared = resumed_run(path, {})
    else:
        shutil.rmtree(path, ignore_errors=True)  # killed while the run was made
        prepared = new_run(path, config)
    ended = yield from _trained(prepared, until)
    ages = scored_ages(prepared.run)
    if ended.outcome == "non-finite" or not ages or not math.isfinite(ages[-1].mean):
        return TriedFamily(name=name, failed="values that are not finite")
    last = ages[-1]
    return TriedFamily(name=name, images_seen=last.images_seen, minutes=last.seconds / 60, psnr=last.psnr)


def _trained(prepared: PreparedRun, until: float = 1.0) -> Task[TrainingOutcome]:
    return execute(prepared.run, prepared.learner, prepared.data, held_out=prepared.held_out, until=until)


def _decided(found: AutoTraining) -> AutoTraining:
    """The winner, and why it is that."""
    ranked = sorted(found.tries, key=lambda tried: tried.mean, reverse=True)
    best, others = ranked[0], [tried for tried in ranked[1:] if tried.psnr]
    if not best.psnr:
        raise NotFiniteError("; ".join(map(str, ranked)))
    reason = f"{', '.join(map(str, ranked))}: goes on with {best.name}"
    if others:
        above, error = advantage(best.psnr, others[0].psnr)
        chance = "" if above > CLEARLY * error else ", which may be chance"
        reason += f", {above:.2f} ± {error:.2f} dB above {others[0].name} on {len(best.psnr)} held-out images{chance}"
    return found.model_copy(update={"winner": best.name, "reason": reason})


def _move(source: Path, out: Path) -> None:
    """Moves all files of a run, its config last: a folder with a config holds all of them."""
    if not source.exists():
        return
    for path in sorted(source.iterdir(), key=lambda path: path.name == CONFIG):
        if path.name != LOCK:
            path.rename(out / path.name)
    shutil.rmtree(source)


def _continued(out: Path) -> Task[None]:
    """Trains the winner to the end of its budget, from where it stands."""
    run = open_run(out)
    counters, _ = load_counters(run.checkpoints)
    images = read_environment(run).images
    if counters is None or run.config.budget().share(counters.images_seen, counters.seconds, images) < 1:
        ended = yield from _trained(resumed_run(out, {}))
        if ended.outcome == "non-finite":
            raise NotFiniteError(f"{out} stopped: step {ended.row['step']} has values that are not finite")
