"""User errors: one line, the argument's name, and the nearest known name."""

import pickle

import pytest

from genprior.errors import GenpriorError, suggestion


def test_an_error_is_a_value_error_of_one_line() -> None:
    error = GenpriorError("expected 1, got 2")
    assert isinstance(error, ValueError)
    assert (str(error), error.message, error.argument) == ("expected 1, got 2", "expected 1, got 2", None)


def test_the_argument_stands_before_the_message_and_apart_from_it() -> None:
    error = GenpriorError("expected 1, got 2", argument="size")
    assert (str(error), error.message, error.argument) == ("size: expected 1, got 2", "expected 1, got 2", "size")


@pytest.mark.parametrize("argument", [None, "size"])
def test_an_error_survives_its_way_from_another_process(argument: str | None) -> None:
    error = GenpriorError("expected 1, got 2", argument=argument)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.message, copy.argument) == (str(error), error.message, error.argument)


@pytest.mark.parametrize("name", ["mnits", "MNIST", "mnist ", "nmist"])
def test_the_nearest_known_name_is_suggested(name: str) -> None:
    assert suggestion(name, ["kmnist", "digits", "mnist"]).startswith("did you mean 'mnist'? ")


def test_far_names_suggest_nothing_and_all_known_ones_are_listed_in_order() -> None:
    assert suggestion("xyz", ["mnist", "digits"]) == "Known: digits, mnist"


def test_known_names_may_come_from_any_iterable() -> None:
    assert suggestion("a", iter({"b": 1})) == "Known: b"
