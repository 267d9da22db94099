"""The command `fastflow-lite` as `python -m fastflow_lite.cli`."""

from __future__ import annotations

import sys

from fastflow_lite.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
