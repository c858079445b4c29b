"""Settings and results: what is refused, what a command line is told, and what JSON holds."""

import math
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from genprior.errors import GenpriorError
from genprior.settings import Flag, Number, Result, RunFolder, Settings, Threads, validated
from genprior.specs import Spec, Table


class Measured(Settings):
    """Settings of a made-up experiment."""

    run: RunFolder
    steps: Annotated[int, Field(ge=1, description="How many.")] = 3
    loss: Annotated[Spec, Field(description="Which:"), Table("genprior.restoration.fidelity", "FIDELITIES")] = (
        Spec.parse("l2")
    )
    searched: Annotated[str, Field(description="How:"), Table("genprior.restoration.search_settings", "SEARCHES")] = (
        "default"
    )
    colour: Annotated[Literal["red", "blue"], Field(description="One of:")] = "red"
    parts: Annotated[tuple[str, ...], Field(description="Repeatable.")] = ()
    exact: Annotated[bool, Field(description="Whether.")] = False
    threads: Threads = None


class Found(Result):
    """What it finds."""

    settings: Measured
    value: Number


def test_each_field_is_told_with_its_kind_and_help() -> None:
    found = {each.name: each for each in Measured.settings()}
    assert found["run"].kind is type(Path()) or found["run"].kind is Path
    assert found["run"].is_required
    assert found["run"].flag.metavar == "RUN"
    assert (found["steps"].kind, found["steps"].default) == (int, 3)
    assert found["loss"].kind is str
    assert found["loss"].help.startswith("Which: l2, l1:smooth=0.01")
    assert found["colour"].help == "One of: red, blue."
    assert found["parts"].is_many
    assert found["exact"].kind is bool
    assert found["threads"].flag == Flag(is_outcome=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"run": "r", "steps": 0}, "steps: input should be greater than or equal to 1, got 0"),
        ({"run": "r", "steps": True}, "steps: input should be a valid integer, .*, got 'true'"),
        ({"run": "r", "threads": True}, "threads: .* got 'true'"),
        ({"run": "r", "step": 1}, "step: unknown config key, did you mean 'steps'"),
        ({}, "run: is needed"),
        ({"run": "r", "loss": 3}, "loss: expected a name"),
        ({"run": "r", "searched": "fsat"}, "searched: unknown searched 'fsat', did you mean 'fast'"),
    ],
)
def test_bad_values_are_one_line_about_the_field(values: dict[str, object], message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        validated(Measured, values)


def test_threads_do_not_decide_the_outcome() -> None:
    one = validated(Measured, {"run": "r", "threads": 1})
    assert one.same_outcome(validated(Measured, {"run": "r", "threads": 2}))
    assert not one.same_outcome(validated(Measured, {"run": "r", "steps": 2}))


def test_results_come_back_from_json_with_null_for_what_is_not_finite() -> None:
    found = Found(settings=validated(Measured, {"run": "r"}), value=math.nan)
    text = found.model_dump_json()
    assert '"value":null' in text
    again = Found.model_validate_json(text)
    assert math.isnan(again.value)
    assert again.settings == found.settings
    assert again.version == 1
