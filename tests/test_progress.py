"""Tasks yield stages and return what they found; a line shows how far they are."""

import time

import pytest

from genprior import progress
from genprior.progress import Stage, Task, primed, result_of, show, within


def _task(fail: bool = False) -> Task[str]:
    if fail:
        raise ValueError("bad input")
    yield Stage(0.0, "begun", notes=("a note",))
    yield Stage(0.5, "half", alarm="look here")
    yield Stage(1.0, "done")
    return "found"


def test_a_task_is_shown_and_its_result_returned(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(_task()) == "found"
    output = capsys.readouterr()
    assert output.out.splitlines() == ["a note", "  0 %  begun", "100 %  done"]
    assert output.err == "genprior: look here\n"


def test_silence_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> Task[str]:
        yield Stage(0.5, "half")
        end = time.monotonic() + 60
        while "nothing new" not in (told := capsys.readouterr().out):
            assert time.monotonic() < end, "nobody tells"
            heard.append(told)
            time.sleep(0.01)
        heard.append(told)
        return "found"

    heard: list[str] = []
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0)
    assert show(slow()) == "found"
    assert "".join(heard).splitlines()[:2] == [" 50 %  half", " 50 %  half  nothing new for 0:00"]


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(_task(), quiet=True) == result_of(_task()) == "found"
    assert capsys.readouterr() == ("", "")


def test_a_primed_task_has_met_bad_input_and_lost_no_stage() -> None:
    with pytest.raises(ValueError, match="bad input"):
        primed(_task(fail=True))
    assert [stage.what for stage in primed(_task())] == ["begun", "half", "done"]


def test_a_primed_task_may_have_no_stage() -> None:
    def ended() -> Task[str]:
        return "found"
        yield

    assert result_of(primed(ended())) == "found"


def test_an_interruption_carries_the_last_words() -> None:
    def interrupted() -> Task[str]:
        yield Stage(0.5, "half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        show(interrupted())
    assert raised.value.__notes__ == ["half"]


def test_a_task_within_another_fills_its_share() -> None:
    def whole() -> Task[str]:
        return (yield from within(_task(), 0.2, 0.4, "part: "))

    stages = list(whole())
    assert [round(stage.fraction, 3) for stage in stages] == [0.2, 0.3, 0.4]
    assert stages[1].what == "part: half"
    assert result_of(within(_task(), 0, 1)) == "found"


def test_a_part_may_go_through_less_than_all_of_its_own_progress() -> None:
    def stages(of: Task[str], own: tuple[float, float]) -> list[float]:
        return [round(stage.fraction, 3) for stage in within(of, 0.2, 0.4, own=own)]

    assert stages(_task(), (0, 0.5)) == [0.2, 0.4, 0.4]
    assert stages(_task(), (0.5, 1)) == [0.2, 0.2, 0.4]


def test_a_part_ends_exactly_where_the_next_begins() -> None:
    begin, end = 0.3, 0.9
    assert begin + (end - begin) != end  # what rounding would make of it
    assert list(within(_task(), begin, end))[-1].fraction == end
