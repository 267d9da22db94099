"""Kernels for notebooks that start at once: copies of a process in which the libraries of notebooks are imported.

As a script this is that process. Each message to its socket describes a kernel, each answer is a process id.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

if TYPE_CHECKING:
    from nbformat import NotebookNode

LIBRARIES = (
    "fastflow_lite.course", "fastflow_lite.detection", "ipykernel.kernelapp", "ipywidgets", "matplotlib.pyplot",
    "matplotlib.backends.backend_agg", "pandas", "scipy.ndimage", "sklearn.metrics", "torch._dynamo",  # for optimizers
)  # fmt: skip
CAN_COPY = hasattr(os, "fork") and sys.platform != "darwin"  # macOS ends a copy that uses the system's own libraries
DOTS = 40  # an inch of a figure, in place of 160: a quarter of the time of a notebook went into its pixels
MESSAGE = 65_536  # bytes, more than any has
OUTPUTS = ("display_data", "error", "execute_result", "stream")


class Kernels:
    """Starts kernels, each in a process of its own.

    The processes of a test run that name the same `place` share the original; it ends when the last of them leaves.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._original: socket.socket | None = None

    @contextmanager
    def start(self, folder: Path, settings: dict[str, str]) -> Iterator[BlockingKernelClient]:
        """Give the client of a new kernel that runs in `folder`, with `settings` added to its environment variables."""
        file, _ = write_connection_file(str(folder / "connection.json"))
        pid = self._copy(file, folder, settings)
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels(hb=False)  # one that is late by a second would count as dead
        try:
            client.wait_for_ready(timeout=300)
            yield client
        finally:
            client.stop_channels()
            os.kill(pid, signal.SIGTERM)

    def close(self) -> None:
        """Leave the process whose copies the kernels are."""
        if self._original is not None:
            self._original.close()

    def _copy(self, file: str, folder: Path, settings: dict[str, str]) -> int:
        if not CAN_COPY:
            launch = [sys.executable, "-m", "ipykernel_launcher", "-f", file]
            return subprocess.Popen(launch, cwd=folder, env=os.environ | settings).pid
        if self._original is None:
            self._original = self._reach()
        self._original.send(json.dumps([file, str(folder), settings]).encode())
        return int(self._original.recv(MESSAGE))  # the first one comes after the imports

    def _reach(self) -> socket.socket:
        """Connect to the original, which the first process to come starts."""
        import fcntl  # Windows has none

        original = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        original.settimeout(300)
        with open(f"{self._place}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if original.connect_ex(str(self._place)):
                self._place.unlink(missing_ok=True)  # of an original that has ended
                nothing = subprocess.DEVNULL
                begun = subprocess.Popen([sys.executable, __file__, self._place], stdin=nothing, stdout=nothing)
                while original.connect_ex(str(self._place)):
                    assert begun.poll() is None, "the process of kernels ended before it listened"
                    time.sleep(0.05)
        return original


def execute(client: BlockingKernelClient, source: str) -> list[NotebookNode]:
    """Execute a cell as Jupyter does, without input from the keyboard, and return its outputs."""
    from nbformat.v4 import output_from_msg  # two seconds that the script does not need

    messages: list[dict[str, str]] = []
    client.execute_interactive(source, allow_stdin=False, output_hook=messages.append, timeout=300)
    return [output_from_msg(message) for message in messages if message["msg_type"] in OUTPUTS]


def main(place: str) -> None:
    """Import the libraries, then become the kernel of each message, in a copy of this process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(place)
        server.listen()
        prepare()
        asking = [server.accept()[0]]
        while asking:
            for one in select.select([server, *asking], [], [])[0]:
                if one is server:
                    asking.append(server.accept()[0])
                elif message := one.recv(MESSAGE):
                    pid = os.fork()
                    if not pid:
                        become_kernel(*json.loads(message))
                    one.send(str(pid).encode())
                else:
                    asking.remove(one)


def prepare() -> None:
    """Import the libraries, and leave out of the drawing of figures what the tests of figures look at."""
    del sys.path[0]  # the folder of this script, which a kernel does not search
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from fastflow_lite.backbones import import_timm
    from fastflow_lite.figures import pictures, style

    for name in LIBRARIES:
        importlib.import_module(name)
    import_timm()
    loops: Any = importlib.import_module("fastflow_lite.figures.loops")  # the package does not export it
    pictures.DRAWN = loops.SHOWN = style.SETTINGS["savefig.dpi"] = DOTS
    # A tenth of the time went into the search for the places of panels.
    ConstrainedLayoutEngine.execute = lambda *_: None  # type: ignore[method-assign]
    gc.freeze()  # no copy looks through these objects for cycles, and so writes to their pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing is left of a kernel that has ended


def become_kernel(file: str, folder: str, settings: dict[str, str]) -> None:
    """Run the kernel of a connection file until this process ends, its own messages in `kernel.log`."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.update(settings)
    with open(os.devnull) as nothing, open("kernel.log", "w", encoding="utf-8") as log:
        for number, stream in enumerate((nothing, log, log)):
            os.dup2(stream.fileno(), number)
    warnings.resetwarnings()
    warnings.simplefilter("default")
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance(["-f", file, f"--IPKernelApp.parent_handle={os.getppid()}"])
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
