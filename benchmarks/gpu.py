"""The whole method on a GPU, checked in eight minutes: correctness, training, speed, the paper's table 5, the tests.

    python benchmarks/gpu.py [--parts a b c d e] [--data FOLDER] [--weights FILE] [--out FOLDER] [--minutes 8]
    python benchmarks/gpu.py --show [--out FOLDER]
    python benchmarks/gpu.py --pack FOLDER [--weights FILE]
    python benchmarks/gpu.py --tiny --device cpu --out FOLDER

Needs torch, torchvision, timm, numpy, scipy, scikit-learn, pillow, safetensors and tqdm, and no network; part e needs
pytest. Nothing has to be installed: the package is taken from the tree that this file lies in. `--pack` writes what
`--data` takes: bottle and screw of MVTec AD at 256 pixels, from FASTFLOW_LITE_DATA, at most 60 MB with the weights.

The parts run in the order of their worth, each in a process of its own that is ended at its limit, a share of the
minutes that are left. Each row is written to gpu.json when it is measured, so what is done is kept when the command is
killed. A part that fails or takes too long records that, and the next one runs. The tables are made from the records.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpu_parts.command import main

if __name__ == "__main__":
    main()
