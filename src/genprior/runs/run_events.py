"""What happened to a run beside its steps: alarms, setbacks, and a record that was damaged."""

from collections.abc import Sequence
from typing import Literal

from pydantic import TypeAdapter

from genprior.runs.lined_files import read_lines, write_lines
from genprior.runs.run_folder import Run
from genprior.settings import Model


class Alarm(Model):
    """A sign of ill training that began or ended.

    Attributes:
        event: Which of the two.
        step, images_seen: When it was seen.
        verdict: Name of the sign.
        message: What was seen, in a line.
    """

    event: Literal["alarm", "recovered"]
    step: int
    images_seen: int = 0
    verdict: str
    message: str


class Setback(Model):
    """A step with values that were not finite.

    Attributes:
        event: What was done: training went back to the last checkpoint, or stopped.
        step, images_seen: When it happened.
        not_finite: Names of the values.
        back_to: Step of the checkpoint.
        rate: Share of the learning rates that was left; None where training stopped.
    """

    event: Literal["rolled back", "stopped"]
    step: int
    images_seen: int = 0
    not_finite: tuple[str, ...]
    back_to: int
    rate: float | None = None


class Damage(Model):
    """What was wrong with the record when training was resumed, said for ever: the record is mended, not restored.

    Attributes:
        event: Which it is.
        step: Of the checkpoint from which training went on.
        message: What was wrong.
    """

    event: Literal["damaged"]
    step: int
    message: str


Event = Alarm | Setback | Damage

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def append_event(run: Run, event: Event) -> None:
    """Adds an event to the run's."""
    write_lines(run.events, [*read_events(run), event])


def replace_alarms(run: Run, alarms: Sequence[Alarm]) -> None:
    """Puts alarms in the place of those that stand in the run's events, in the order of their steps."""
    others = [event for event in read_events(run) if not isinstance(event, Alarm)]
    events: list[Event] = sorted([*others, *alarms], key=_step)
    write_lines(run.events, events)


def _step(event: Event) -> int:
    return event.step


def read_events(run: Run) -> list[Event]:
    """Returns the run's events, oldest first; lines that cannot be read are left out as in `read_rows`."""
    return read_lines(run.events, _EVENT.validate_python)


def told_damage(run: Run) -> str | None:
    """Returns what was wrong with a run's record when training was resumed first, or None."""
    found = next((event for event in read_events(run) if isinstance(event, Damage)), None)
    return None if found is None else f"the record was damaged already when training was resumed: {found.message}"
