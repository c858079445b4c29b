"""Two studies side by side: verdicts that differ, and numbers that differ beyond chance. Imports no torch."""

import math
import re

from genprior.settings import size_text
from genprior.study.study_record import ComparedNumber, StudyComparison, StudyResult
from genprior.study.study_results import NORMAL, StudyNumber, student_t

COUNTED = re.compile(r" \([^)]* images\)")  # what a title says of how many, and not of what


def compared(ours: StudyResult, theirs: StudyResult) -> StudyComparison:
    """Returns this study beside another, statement by statement and number by number."""
    others = {each.name: each for each in theirs.statements}
    verdicts, numbers, unmatched = [], [], 0
    for own in ours.statements:
        other = others.get(own.name)
        if other is None:
            unmatched += len(own.finding.numbers)
            continue
        if own.finding.outcome != other.finding.outcome:
            verdicts.append((own.name, own.finding.outcome, other.finding.outcome))
        known = {_what(number): number for number in other.finding.numbers}
        both = [(number, known[_what(number)]) for number in own.finding.numbers if _what(number) in known]
        unmatched += len(own.finding.numbers) - len(both)
        numbers += [
            ComparedNumber(
                statement=own.name,
                title=number.title,
                ours=number.text,
                theirs=their.text,
                is_beyond_chance=differs(number, their),
            )
            for number, their in both
        ]
    return StudyComparison(
        other=_told(theirs),
        verdicts=tuple(verdicts),
        numbers=tuple(numbers),
        unmatched=unmatched,
        is_of_one_seed=1 in (len(ours.settings.seeds), len(theirs.settings.seeds)),
    )


def differs(one: StudyNumber, other: StudyNumber) -> bool | None:
    """Returns whether two numbers differ by more than chance; None where an error is not known and they differ.

    The chance of training has Student's t with the degrees of freedom of Welch (1947), that of images the normal
    distribution, as in an interval. Where a study has one seed, it is the chance of images alone.
    """
    if one.values == other.values:
        return False
    if not math.isfinite(math.hypot(one.error, other.error)):
        return None
    between = [(each.between**2, len(each.values) - 1) for each in (one, other) if each.between is not None]
    squares = sum(square for square, _ in between)
    spread = sum(square**2 / degrees for square, degrees in between)
    over_seeds = student_t(squares**2 / spread) * math.sqrt(squares) if spread else 0.0
    over_images = NORMAL * math.hypot(*(each.within or 0.0 for each in (one, other)))
    return abs(one.mean - other.mean) > math.hypot(over_seeds, over_images)


def _what(number: StudyNumber) -> str:
    """What a number is, whatever the images were on which it was measured."""
    return COUNTED.sub("", number.title)


def _told(study: StudyResult) -> str:
    """Which study, in words."""
    settings, made = study.settings, f", by {study.made}" if study.made else ""
    return f"{settings.data}, {settings.size}, {settings.seeds_text}, {size_text(settings.pixels)} pixels{made}"
