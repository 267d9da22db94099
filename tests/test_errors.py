"""The family of errors, and the checks of arguments."""

import math

import pytest

from fastflow_lite import errors
from fastflow_lite.errors import ArgumentError, DataError, FastFlowError, check_choice, check_number, check_whole


def test_errors_are_caught_at_once() -> None:
    assert issubclass(DataError, FastFlowError)
    assert issubclass(DataError, ValueError)


def test_every_error_is_of_the_family() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(found) > 7 and all(issubclass(kind, FastFlowError) for kind in found)


def test_arguments_are_returned_or_named_with_their_bounds() -> None:
    assert check_choice("map", "nll", ("nll", "energy")) == "nll"
    assert (check_whole("steps", 1, 1), check_number("lr", 1, above=0)) == (1, 1.0)
    with pytest.raises(ArgumentError, match="map must be one of 'nll', 'energy', got 3"):
        check_choice("map", 3, ("nll", "energy"))
    for value in (0, 1.5, True, "1", None):
        with pytest.raises(ArgumentError, match="steps must be a whole number of at least 1, got"):
            check_whole("steps", value, 1)
    for value in (0, -1.0, math.nan, math.inf, "1", True):
        with pytest.raises(ArgumentError, match="lr must be a finite number above 0, got"):
            check_number("lr", value, above=0)


@pytest.mark.hostile
def test_a_message_holds_nothing_that_a_terminal_obeys() -> None:
    error = DataError("image \x1b[2J\x07\u202e\x9b31m\udcff.png\nsecond line\tand é 画 🙂 cannot be read")
    assert str(error) == (r"image \x1b[2J\x07\u202e\x9b31m\udcff.png" + "\nsecond line\tand é 画 🙂 cannot be read")
    str(error).encode()
