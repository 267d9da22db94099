"""What a learner's notebook needs: minutes, and peak memory of its kernel, for every notebook of the course.

    python benchmarks/classroom.py [--fast] [NOTEBOOK ...]

Each notebook runs in a kernel of its own, one after the other, with as many threads as torch takes. "Own" memory is
what ends with the kernel (its unique set); the rest is libraries, which kernels on one machine share. Both are read
ten times a second. Records: results/classroom.json.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import psutil
from harness import RESULTS, keep, markdown, provenance
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MIB = 2**20


class Watch(threading.Thread):
    """The highest resident and unique memory of a process, children included, until `over` is set."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.over, self.peak = psutil.Process(pid), threading.Event(), [0, 0]

    def run(self) -> None:
        while not self.over.wait(0.1):
            try:
                family = [self.process, *self.process.children(recursive=True)]
                found = [process.memory_full_info() for process in family]
            except psutil.NoSuchProcess:
                continue
            now = sum(one.rss for one in found), sum(one.uss for one in found)
            self.peak = [max(pair) for pair in zip(self.peak, now, strict=True)]


def measure(path: Path, folder: str) -> dict[str, Any]:
    """One whole run of a notebook, its files in `folder`."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=3600, kernel_name="python3")
    start = time.perf_counter()
    with client.setup_kernel(cwd=folder):
        kernel = client.km and client.km.provisioner
        assert isinstance(kernel, LocalProvisioner) and kernel.process is not None, (
            "the kernel is a process started here"
        )
        watch = Watch(kernel.process.pid)
        watch.start()
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        watch.over.set()
        watch.join()
    resident, own = (peak / MIB for peak in watch.peak)
    return {"seconds": time.perf_counter() - start, "resident_mib": resident, "own_mib": own}


def row(name: str, found: dict[str, Any]) -> dict[str, str]:
    memory = {"resident, MiB": f"{found['resident_mib']:.0f}", "own, MiB": f"{found['own_mib']:.0f}"}
    return {"notebook": name, "seconds": f"{found['seconds']:.0f}"} | memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(NOTEBOOKS.glob("*.ipynb")))
    parser.add_argument("--fast", action="store_true", help="the short form of each")
    args = parser.parse_args()
    os.environ["FASTFLOW_LITE_FAST"] = "1" if args.fast else "0"
    kind, made, runs = "fast" if args.fast else "full", provenance(), {}
    for path in args.notebooks:
        with TemporaryDirectory() as folder:
            runs[path.stem] = measure(path, folder)
        print(row(path.stem, runs[path.stem]), flush=True)
        keep("classroom", {kind: made | {"notebooks": runs}})
    print(markdown([row(*item) for item in runs.items()]), f"\nrecord: {RESULTS.name}/classroom.json", sep="\n")


if __name__ == "__main__":
    main()
