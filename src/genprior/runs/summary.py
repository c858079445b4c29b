"""What a run is, in words."""

from pathlib import Path

from genprior.runs.budget import Budget
from genprior.runs.checkpoint import load_checkpoint
from genprior.runs.environment import read_environment
from genprior.runs.run_folder import open_run
from genprior.runs.step_log import ALARMS, non_finite_names, read_events, read_rows

AVERAGED = 50  # steps behind each of the last numbers: a single step is noise


def summary(path: Path) -> dict[str, object]:
    """Returns facts of a run and its last numbers, by name.

    Raises:
        GenpriorError: No run, or all its checkpoints are damaged.
    """
    run = open_run(path)
    config, environment = run.config, read_environment(run)
    checkpoint, refused = load_checkpoint(run.checkpoints)
    images = environment["images"]
    channels, height, width = environment["image_shape"]
    facts: dict[str, object] = {
        "run": path,
        "family": f"{config.title}, preset {config.preset}",
        "data": f"{config.data}: {images:,} images of {channels}x{height}x{width}",
        "arithmetic": f"{config.precision} on {environment['device']}, {config.threads} threads",
        "seed": config.seed,
    }
    if checkpoint is not None:
        seen, budget = checkpoint.images_seen, Budget(config, images, checkpoint.seconds)
        facts["state"] = f"finished ({budget})" if budget.fraction(seen) >= 1 else f"not finished; budget {budget}"
        facts["progress"] = (
            f"{seen:,} images = {seen / images:.2f} epochs, {checkpoint.step:,} steps, "
            f"{checkpoint.seconds / 60:.1f} minutes"
        )
    facts |= {f"refused {number}": line for number, line in enumerate(refused, 1)}
    events = read_events(run)
    for number, event in enumerate((e for e in events if e["event"] not in ALARMS), 1):
        what = ", ".join(event["not_finite"])
        facts[f"setback {number}"] = f"step {event['step']} not finite ({what}), {event['event']} at {event['back_to']}"
    facts |= {f"alarm {n}": e["message"] for n, e in enumerate((e for e in events if e["event"] in ALARMS), 1)}
    rows = read_rows(run.steps)[-AVERAGED:]
    ill = [row["step"] for row in rows if row.get("not_finite") or non_finite_names(_without_null(row))]
    if ill:
        facts["state"] = f"stopped by values that are not finite at step {ill[0]}"
    beside = config.facts(environment["image_shape"])
    names = [name for name in rows[-1] if name not in ("step", "images_seen", "not_finite")] if rows else []
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        told = f"{sum(values) / len(values):.4g}" if values else "not finite"
        facts[name] = f"{told} ({beside[name]})" if name in beside else told
    if names:
        facts["(numbers)"] = f"means over the last {len(rows)} steps"
    return facts


def _without_null(row: dict[str, object]) -> dict[str, float]:
    return {k: v for k, v in row.items() if isinstance(v, int | float)}
