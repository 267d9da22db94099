"""One family of errors, and the checks of arguments that raise them. Each message names the cause and the remedy."""

from __future__ import annotations

import math
import numbers
import operator
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's controls, direction marks, surrogates, ends of line


def printable(text: str) -> str:
    r"""Return `text` with what a terminal obeys or a file cannot hold as escapes; ends of line and tabs stay.

    Names of files and columns come from elsewhere. They may hold escape codes, or bytes that are no UTF-8.

    >>> print(printable("a\x1b[31m \udcff é"))
    a\x1b[31m \udcff é
    """
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in UNPRINTABLE else c.encode("unicode_escape").decode()
        for c in text
    )


def no_formula(value: Any) -> Any:
    """Return a cell of a CSV file, with `'` before a text that a spreadsheet would compute.

    Spreadsheets take what begins with `=`, `+`, `-`, `@`, a tab or a return for a formula, which can start programs and
    send data.

    >>> no_formula("=1+1.png"), no_formula("a.png"), no_formula(-1)
    ("'=1+1.png", 'a.png', -1)
    """
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return f"'{value}" if is_formula else value


class FastFlowError(Exception):
    """Base class of every error that this package raises on purpose. Its message is `printable`."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ArgumentError(FastFlowError, ValueError):
    """An argument has a value that it cannot have. The message has its name, the value and the choices."""


class ParameterError(ArgumentError):
    """A parameter of a notebook has a value that it cannot have."""


class DataError(FastFlowError, ValueError):
    """A data set, an image, a mask or a feature map cannot be used."""


class WeightsError(FastFlowError, ValueError):
    """Weights cannot be found, read or fitted to the network."""


class CheckpointError(FastFlowError, ValueError):
    """A saved model or a training checkpoint is damaged or belongs to another run."""


class NotTrainedError(FastFlowError, RuntimeError):
    """A model that was never trained is asked for anomaly scores."""


class ExportError(FastFlowError, RuntimeError):
    """An exported program gives other results than its detector."""


class DivergedError(FastFlowError, FloatingPointError):
    """A loss or an anomaly map is not finite."""


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return `value` if it is one of `choices`, else raise ArgumentError."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_whole(name: str, value: Any, least: int) -> int:
    """Return `value` as an int if it is a whole number of at least `least`, else raise ArgumentError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def check_number(name: str, value: Any, *, above: float | None = None, least: float | None = None) -> float:
    """Return `value` as a float if it is finite and within the bounds, else raise ArgumentError."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (above is not None and value <= above) or (least is not None and value < least):
        bound = f" above {above:g}" if above is not None else f" of at least {least:g}" if least is not None else ""
        raise ArgumentError(f"{name} must be a finite number{bound}, got {value!r}")
    return float(value)


def no_file(path: Path, pattern: str) -> str:
    """Return why there is no file at `path`: it is missing, or a folder, whose first file of `pattern` may be meant."""
    if not path.is_dir():
        return f"{path} does not exist"
    inside = "".join(f" such as {file}" for file in sorted(path.glob(pattern))[:1])
    return f"{path} is a folder: a file{inside} is expected"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the name of its class if it has no text."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__
