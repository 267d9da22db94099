"""The GPUs that workers get."""

import os
from pathlib import Path

import pytest

from fastflow_lite.batch.cluster import gpus


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a script stands in for nvidia-smi")
def test_every_gpu_or_slice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = "  MIG 1g Device 0: (UUID: MIG-2)\n  MIG 1g Device 1: (UUID: MIG-3)"
    listed = f"GPU 0: A (UUID: GPU-1)\n{slices}\nGPU 1: A (UUID: GPU-4)"
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<END\n{listed}\nEND\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ["MIG-2", "MIG-3", "GPU-4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert gpus() == ["1", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []
