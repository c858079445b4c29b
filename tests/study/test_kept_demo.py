"""A part of the demo is studied anew and set beside the demo that is kept: nothing differs beyond chance."""

from pathlib import Path

from genprior.progress import result_of
from genprior.runs.experiment import carry_out, read_result
from genprior.study.study_experiment import EXPERIMENTS
from genprior.study.study_record import StudyResult
from genprior.study.study_settings import StudySettings

KEPT = Path(__file__).with_name("kept_demo.json")  # CONTRIBUTING.md says how it is made anew
PART = ("ambiguous", "probabilities")  # two trainings; all of their numbers have errors


def test_a_part_of_the_demo_is_what_it_was(tmp_path: Path) -> None:
    asked = StudySettings(data="digits", out=tmp_path / "demo", statement=PART, against=KEPT, jobs=1)
    found: StudyResult = result_of(carry_out(EXPERIMENTS["study"], asked))
    assert found.comparison is not None
    assert found.comparison.verdicts == ()
    assert {each.statement for each in found.comparison.numbers} == set(PART)
    assert [each for each in found.comparison.numbers if each.is_beyond_chance is not False] == []


def test_the_kept_demo_is_whole() -> None:
    kept = read_result(KEPT, StudyResult)
    assert kept is not None
    assert kept.is_complete
    assert (kept.settings.data, kept.settings.size, kept.settings.seed) == ("digits", "demo", 0)
