"""The grammar that takes seconds to import is missing only while the libraries of notebooks are imported."""

import importlib
import sys
from types import ModuleType

import pytest

from fastflow_lite.batch.quick_import import GRAMMAR, without_grammar


def test_the_grammar_is_missing_inside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, GRAMMAR, raising=False)  # the tests themselves do without it
    with without_grammar(), pytest.raises(ImportError):
        importlib.import_module(GRAMMAR)
    assert GRAMMAR not in sys.modules


def test_a_grammar_that_was_imported_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    grammar = ModuleType(GRAMMAR)
    monkeypatch.setitem(sys.modules, GRAMMAR, grammar)
    with without_grammar():
        assert importlib.import_module(GRAMMAR) is grammar
    assert sys.modules[GRAMMAR] is grammar
