"""Cells stand under each other, whatever is in them."""

from genprior.runs.experiment import aligned


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([["", "a", "longer"], ["row", "wider", "b"]]) == ["     a      longer", "row  wider  b"]


def test_text_is_shown_as_it_is() -> None:
    long = "x" * 500
    assert aligned([["[bold]", long], [":smile:", "[/]"]]) == [f"[bold]   {long}", ":smile:  [/]"]


def test_wide_characters_take_two_places() -> None:
    assert aligned([["数", "b"], ["abc", "d"]]) == ["数   b", "abc  d"]
