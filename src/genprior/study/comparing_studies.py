"""Two studies side by side: verdicts that differ, and numbers that differ beyond chance. Imports no torch."""

import math

from genprior.study.study_record import ComparedNumber, StudyComparison, StudyResult
from genprior.study.study_results import StudyNumber

SURELY = 1.96  # standard errors of a difference, for 95 %


def compared(ours: StudyResult, theirs: StudyResult) -> StudyComparison:
    """Returns this study beside another, statement by statement and number by number."""
    others = {each.name: each for each in theirs.statements}
    verdicts, numbers = [], []
    for own in ours.statements:
        other = others.get(own.name)
        if other is None:
            continue
        if own.finding.outcome != other.finding.outcome:
            verdicts.append((own.name, own.finding.outcome, other.finding.outcome))
        known = {number.title: number for number in other.finding.numbers}
        numbers += [
            ComparedNumber(
                statement=own.name,
                title=number.title,
                ours=number.text,
                theirs=known[number.title].text,
                is_beyond_chance=differs(number, known[number.title]),
            )
            for number in own.finding.numbers
            if number.title in known
        ]
    size, seed = theirs.settings.size, theirs.settings.seed
    other_name = f"{theirs.settings.data}, {size}, seed {seed}"
    return StudyComparison(other=other_name, verdicts=tuple(verdicts), numbers=tuple(numbers))


def differs(one: StudyNumber, other: StudyNumber) -> bool | None:
    """Returns whether two numbers differ by more than chance; None where an error is not known and they differ."""
    if one.values == other.values:
        return False
    error = math.hypot(one.error, other.error)
    if not math.isfinite(error):
        return None
    return abs(one.mean - other.mean) > SURELY * error
