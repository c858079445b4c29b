"""Experiments save after each stage, resume where they were ended, and replace nothing unasked."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from genprior.errors import GenpriorError
from genprior.progress import Stage, Task, result_of
from genprior.runs.experiment import Experiment, carry_out, part_of, read_result
from genprior.settings import Flag, Result, Settings


class Counting(Settings):
    """How far is counted."""

    out: Annotated[Path, Field(description="File.")]
    to: Annotated[int, Field(description="Last number.")] = 3
    slowly: Annotated[bool, Field(description="Whether."), Flag(is_outcome=False)] = False


class Counted(Result):
    """The numbers so far."""

    settings: Counting
    numbers: tuple[int, ...]


WORKED: list[int] = []


def _count(settings: Counting, kept: Counted | None) -> Task[Counted]:
    numbers = () if kept is None else kept.numbers
    for number in range(len(numbers) + 1, settings.to + 1):
        WORKED.append(number)
        numbers = (*numbers, number)
        found = Counted(settings=settings, numbers=numbers, is_complete=False)
        yield Stage(number / settings.to, str(number), found=found)
    return Counted(settings=settings, numbers=numbers)


COUNT = Experiment("Counts.", Counting, Counted, lambda settings: settings.out, _count, lambda result: [])


@pytest.fixture(autouse=True)
def _nothing_worked() -> None:
    WORKED.clear()


def _stopped(settings: Counting, after: int, experiment: Experiment[Counting, Counted] = COUNT) -> None:
    task = carry_out(experiment, settings)
    for _ in range(after):
        next(task)
    task.close()


def test_what_ends_an_experiment_loses_the_stage_at_hand_alone(tmp_path: Path) -> None:
    settings = Counting(out=tmp_path / "n.json")
    _stopped(settings, 2)
    kept = read_result(part_of(settings.out), Counted)
    assert kept is not None
    assert kept.numbers == (1, 2)
    assert not kept.is_complete
    assert not settings.out.exists()  # nobody takes a part for the whole
    assert result_of(carry_out(COUNT, settings.model_copy(update={"slowly": True}))).numbers == (1, 2, 3)
    assert WORKED == [1, 2, 3]
    whole = read_result(settings.out, Counted)
    assert whole is not None
    assert whole.is_complete
    assert list(tmp_path.iterdir()) == [settings.out]


def test_a_finished_result_is_replaced_on_demand_alone(tmp_path: Path) -> None:
    settings = Counting(out=tmp_path / "n.json")
    result_of(carry_out(COUNT, settings))
    with pytest.raises(GenpriorError, match=r"n.json exists; replace it with --overwrite"):
        result_of(carry_out(COUNT, settings))
    result_of(carry_out(COUNT, settings, overwrite=True))
    assert WORKED == [1, 2, 3, 1, 2, 3]


def test_an_unfinished_result_of_other_settings_is_not_mixed_in(tmp_path: Path) -> None:
    _stopped(Counting(out=tmp_path / "n.json"), 1)
    with pytest.raises(
        GenpriorError, match=r"n.part.json is an unfinished result of other settings; replace it with --overwrite"
    ):
        result_of(carry_out(COUNT, Counting(out=tmp_path / "n.json", to=4)))


def test_damaged_results_are_not_replaced_unasked(tmp_path: Path) -> None:
    settings = Counting(out=tmp_path / "n.json")
    settings.out.write_text("{")
    assert read_result(settings.out, Counted) is None
    with pytest.raises(GenpriorError, match="exists; replace it"):
        result_of(carry_out(COUNT, settings))


def test_a_derived_result_is_made_anew_but_for_what_was_interrupted(tmp_path: Path) -> None:
    derived = Experiment("Counts.", Counting, Counted, COUNT.file, _count, COUNT.lines, is_derived=True)
    settings = Counting(out=tmp_path / "n.json")
    for _ in range(2):
        result_of(carry_out(derived, settings))
    assert WORKED == [1, 2, 3, 1, 2, 3]
    whole = settings.out.read_text()
    _stopped(settings, 2, derived)
    assert settings.out.read_text() == whole  # it stays until the new one is whole
    WORKED.clear()
    assert result_of(carry_out(derived, settings)).numbers == (1, 2, 3)
    assert WORKED == [3]
    _stopped(settings, 1, derived)
    assert result_of(carry_out(derived, Counting(out=settings.out, to=4))).numbers == (1, 2, 3, 4)


def test_a_result_of_a_later_form_is_neither_read_nor_continued(tmp_path: Path) -> None:
    settings = Counting(out=tmp_path / "n.json")
    _stopped(settings, 2)
    part = part_of(settings.out)
    part.write_text(part.read_text().replace('"version": 1', '"version": 2'))
    assert read_result(part, Counted) is None
    with pytest.raises(GenpriorError, match="unfinished result of another form; replace it with --overwrite"):
        result_of(carry_out(COUNT, settings))
