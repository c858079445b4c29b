"""What a run is, in words."""

from collections import deque
from pathlib import Path

from genprior.runs.best_weights import impatience, scored_ages, weights_in_words
from genprior.runs.checkpoint import Counters, load_counters
from genprior.runs.run_events import Setback, read_events
from genprior.runs.run_folder import Environment, Run, open_run, read_environment
from genprior.runs.step_log import ill_names, record_fault
from genprior.runs.step_rows import Row, each_row

AVERAGED = 50  # steps behind each of the last numbers: a single step is noise


def summary(path: Path) -> dict[str, object]:
    """Returns facts of a run and its last numbers, by name.

    Raises:
        GenpriorError: No run, or all its checkpoints are damaged.
    """
    run = open_run(path)
    environment = read_environment(run)
    counters, refused = load_counters(run.checkpoints)
    channels, height, width = environment.image_shape
    where = f"{run.config.arithmetic} on {environment.device}"
    facts: dict[str, object] = {
        "run": path,
        "family": f"{run.config.title}, preset {run.config.preset}",
        "data": f"{run.config.data}: {environment.images:,} images of {channels}x{height}x{width}",
        "arithmetic": f"{where}, {_threads(run, environment, counters)} threads",
        "seed": run.config.seed,
    }
    origin = run.config.forked_from
    facts |= {} if origin is None else {origin.how: origin.in_words()}
    facts |= {"state": "not begun"} if counters is None else _how_far(run, environment, counters)
    used = weights_in_words(run)
    facts |= {} if used is None else {"weights": used}
    facts |= {f"refused {number}": line for number, line in enumerate(refused, 1)}
    facts |= _events(run)
    fault = None if counters is None else record_fault(run, each_row(run.steps), counters.step, counters.log)
    if fault is not None:
        facts["record"] = f"damaged: {fault}"
    rows = list(deque(each_row(run.steps), AVERAGED))
    ill = [row["step"] for row in rows if ill_names(row)]
    if ill:
        facts["state"] = f"stopped by values that are not finite at step {ill[0]}"
    return facts | _numbers(rows, run.config.facts(environment.image_shape))


def _threads(run: Run, environment: Environment, counters: Counters | None) -> int | None:
    """The number of CPU threads that the run was last trained with."""
    recorded = None if counters is None else counters.threads
    return run.config.threads or recorded or environment.threads


def _how_far(run: Run, environment: Environment, counters: Counters) -> dict[str, object]:
    budget, seen = run.config.budget(), counters.images_seen
    is_finished = budget.share(seen, counters.seconds, environment.images) >= 1
    text = budget.text(environment.images)
    reason = impatience(scored_ages(run), run.config.patience)
    unfinished = f"not finished; budget {text}" if reason is None else f"stopped early: {reason}"
    return {
        "state": f"finished ({text})" if is_finished else unfinished,
        "progress": (
            f"{seen:,} images = {seen / environment.images:.2f} epochs, {counters.step:,} steps, "
            f"{counters.seconds / 60:.1f} minutes"
        ),
    }


def _events(run: Run) -> dict[str, object]:
    setbacks: list[str] = []
    alarms: list[str] = []
    for event in read_events(run):
        if isinstance(event, Setback):
            what = ", ".join(event.not_finite)
            setbacks.append(f"step {event.step} not finite ({what}), {event.event} at {event.back_to}")
        else:
            alarms.append(event.message)
    numbered = {f"setback {n}": line for n, line in enumerate(setbacks, 1)}
    return {**numbered, **{f"alarm {n}": line for n, line in enumerate(alarms, 1)}}


def _numbers(rows: list[Row], beside: dict[str, str]) -> dict[str, object]:
    """The means of what stands in rows, each with what must stand beside it."""
    facts: dict[str, object] = {}
    for name in [name for row in rows[-1:] for name in row if name not in ("step", "images_seen", "not_finite")]:
        values = [row[name] for row in rows if row.get(name) is not None]
        mean = f"{sum(values) / len(values):.4g}" if values else "not finite"
        facts[name] = f"{mean} ({beside[name]})" if name in beside else mean
    if facts:
        facts["(numbers)"] = f"means over the last {len(rows)} steps"
    return facts
