"""Hypothesis for the tests that draw their inputs. Where it is not installed, those tests are skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:

    class _Strategy:
        """Stands for any strategy while a file of tests is imported."""

        def __getattr__(self, name: str) -> _Strategy:
            return self

        def __call__(self, *_: object, **__: object) -> _Strategy:
            return self

        def __or__(self, other: object) -> _Strategy:
            return self

    st: Any = _Strategy()  # type: ignore[no-redef]

    @pytest.mark.skip(reason="hypothesis is not installed")
    def _skipped() -> None:
        """Stands for a test that draws its inputs."""

    def given(*_: object, **__: object) -> Callable[[object], object]:  # type: ignore[no-redef]
        return lambda _: _skipped

    def settings(*_: object, **__: object) -> Callable[[object], object]:  # type: ignore[no-redef]
        return lambda test: test
else:
    # The same examples in every run, and no deadline: this is no place to measure time.
    settings.register_profile(
        "repeatable",
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=40,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    settings.load_profile("repeatable")

__all__ = ["given", "settings", "st"]
