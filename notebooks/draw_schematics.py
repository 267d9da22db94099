"""The schematics of the course as files that README and the notebooks' README show.

python notebooks/draw_schematics.py             write notebooks/images/*.svg
python notebooks/draw_schematics.py --check     change nothing; exit 1 and name the files that differ
"""

from __future__ import annotations

import sys
from pathlib import Path

from fastflow_lite.figures import course_map, method_schematics, schematics

HERE = Path(__file__).parent
DRAWINGS = {
    "coupling": schematics.coupling,
    "step": schematics.step,
    "stack": schematics.stack,
    "method": method_schematics.method,
    "receptive_field": method_schematics.receptive_field,
    "threshold": method_schematics.threshold,
    "course": course_map.course,
}


def main(arguments: list[str] | None = None, folder: Path = HERE / "images") -> str | None:
    """Write or check the files of `folder`; the complaint, or None, as sys.exit takes them."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    complaints = []
    for name, draw in DRAWINGS.items():
        path, svg = folder / f"{name}.svg", draw().svg().encode()
        if not check:
            path.write_bytes(svg)
        elif not path.is_file() or path.read_bytes() != svg:
            complaints.append(f"{path.name} is not what the code draws: python notebooks/draw_schematics.py")
    return "\n".join(complaints) or None


if __name__ == "__main__":
    sys.exit(main())
