"""The committed schematics are what the code draws."""

from __future__ import annotations

from pathlib import Path

import draw_schematics


def test_committed_files_are_what_the_code_draws() -> None:
    assert draw_schematics.main(["--check"]) is None


def test_a_changed_and_a_missing_file_are_named(tmp_path: Path) -> None:
    assert draw_schematics.main([], tmp_path) is None
    (tmp_path / "coupling.svg").write_text("<svg/>")
    (tmp_path / "course.svg").unlink()
    complaint = draw_schematics.main(["--check"], tmp_path)
    assert complaint is not None and complaint.count("\n") == 1
    assert complaint.startswith("coupling.svg is not what") and "course.svg" in complaint
