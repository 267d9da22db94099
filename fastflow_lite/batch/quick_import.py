"""papermill and nbformat, imported in a quarter of the time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# jsonschema, with which nbformat checks notebooks, builds it for addresses of one format. No notebook has any.
GRAMMAR = "rfc3987_syntax"


@contextmanager
def without_grammar() -> Iterator[None]:
    """Let the imports inside find no grammar that takes two seconds; jsonschema works without it.

    >>> with without_grammar():
    ...     import nbformat
    """
    absent = GRAMMAR not in sys.modules
    if absent:
        sys.modules[GRAMMAR] = None  # type: ignore[assignment]  # makes an import fail
    try:
        yield
    finally:
        if absent:
            del sys.modules[GRAMMAR]
