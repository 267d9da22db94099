"""One notebook in one process: what a worker starts for each run, as a file, not as a module of the package.

Its job is one line of JSON on standard input, which stays open. When the worker at the other end is gone, however
it went, the line breaks, and this process takes its kernel down and leaves: no orphan goes on beside its retry.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

STDIN = 0


def main() -> None:
    """Read the job, execute the notebook in place."""
    with open(STDIN, "rb", buffering=0, closefd=False) as stdin:  # a buffer could not be shared with the thread
        job = json.loads(stdin.readline())
    threading.Thread(target=_leave_with_the_worker, daemon=True).start()
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # jsonschema does without it: a grammar of URLs, two seconds to import
    import papermill

    path = job["notebook"].replace("{", "{{").replace("}", "}}")  # papermill fills braces in paths
    papermill.execute_notebook(path, path, job["parameters"], kernel_name="python3", progress_bar=False)


def _leave_with_the_worker() -> NoReturn:
    import psutil  # of ipykernel and distributed alike

    while os.read(STDIN, 1):
        pass
    for _ in range(3):  # again: a kernel may have been about to start
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        time.sleep(0.05)
    os._exit(1)


if __name__ == "__main__":
    main()
