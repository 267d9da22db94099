"""Execute one notebook. A worker starts this file as a script, in a new process for each run.

The task is one line of JSON on standard input, which stays open after it. When the worker closes the pipe or dies,
this process kills its kernel and exits, so that no run continues beside its retry.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from typing import NoReturn

from fastflow_lite.batch.quick_import import without_grammar

STDIN = 0


def main() -> None:
    """Read the task and execute its notebook in place."""
    with open(STDIN, "rb", buffering=0, closefd=False) as stdin:  # a buffer could not be shared with the thread
        task = json.loads(stdin.readline())
    threading.Thread(target=_exit_with_the_worker, daemon=True).start()
    with without_grammar():
        import papermill

    path = task["notebook"].replace("{", "{{").replace("}", "}}")  # papermill formats paths with the parameters
    papermill.execute_notebook(path, path, task["parameters"], kernel_name="python3", progress_bar=False)


def _exit_with_the_worker() -> NoReturn:
    """Exit, and kill the kernel, when the worker's pipe closes."""
    import psutil  # ipykernel and distributed both require it

    while os.read(STDIN, 1):
        pass
    for _ in range(3):  # repeated, because a kernel may be starting
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        time.sleep(0.05)
    os._exit(1)


if __name__ == "__main__":
    main()
