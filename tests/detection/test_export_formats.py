"""What is missing for a format is named."""

import pytest

from fastflow_lite.detection import export_formats
from fastflow_lite.errors import ArgumentError


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_formats, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"onnx needs onnx, .*: pip install 'fastflow-lite\[export\]'"):
        export_formats.format_of("m.onnx")
    with pytest.raises(ImportError, match=r"openvino needs openvino, .*: pip install 'fastflow-lite\[openvino\]'"):
        export_formats.format_of("M.XML")
    assert export_formats.format_of("m.pt2").name == "torch"  # torch is always there


def test_another_name_of_a_format_is_refused() -> None:
    with pytest.raises(ArgumentError, match="format must be one of 'onnx', 'torch', 'openvino', got 'tflite'"):
        export_formats.format_named("tflite")
