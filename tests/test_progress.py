"""Progress as each reader gets it: a bar that leaves only lines behind where a person watches, else lines."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from tiny import PAPERMILL

from fastflow_lite.progress import Count, Progress

TRAIN = """
import time
from fastflow_lite.progress import Count, Progress
with Progress(epochs=2, steps=5) as progress:
    for epoch in range(2):
        for step in range(5):
            time.sleep(0.05)
            progress.step(epoch, lambda: f"{step} bits/dim")
        progress.end_epoch(epoch, "4 bits/dim")
print("after")
"""
LINES = ["epoch 1/2  4 bits/dim  N s left", "epoch 2/2  4 bits/dim  0 s left", "after"]


def screen(text: str) -> list[str]:
    """What is left on a screen, line by line: a carriage return goes back, what follows overwrites."""
    shown = []
    for line in text.replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        shown.append("".join(cells).rstrip())
    return [re.sub(r"epoch 1(.*)  \d s left", r"epoch 1\1  N s left", line) for line in shown if line]


def assert_bar(text: str) -> None:
    assert re.search(r"epoch 1/2  \d bits/dim: +\d+%\|.*\| \d+/10 \[", text), text
    assert "\r" in text and "\x1b[" not in text, "only a carriage return: no other escape works in every reader"
    assert screen(text) == LINES


def assert_lines(text: str) -> None:
    assert "\r" not in text and "%|" not in text, text
    assert screen(text) == LINES


def in_terminal(term: str = "xterm", **environment: str) -> str:
    """What the code prints in a terminal of its own."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # a new one has no columns, so tqdm would draw nothing
    run = subprocess.Popen(
        [sys.executable, "-c", TRAIN], stdout=theirs, stderr=theirs, env=os.environ | {"TERM": term} | environment
    )
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(ours, 4096):
            seen += part
    os.close(ours)
    assert run.wait(60) == 0, seen
    return seen.decode()


def test_a_terminal_gets_a_bar() -> None:
    assert_bar(in_terminal().replace("\r\n", "\n"))


def test_a_terminal_without_cursor_gets_lines() -> None:
    assert_lines(in_terminal(term="dumb").replace("\r\n", "\n"))


def test_who_asks_for_lines_gets_lines() -> None:
    assert_lines(in_terminal(FASTFLOW_LITE_PLAIN="1").replace("\r\n", "\n"))


def test_a_pipe_gets_lines() -> None:
    done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True)
    assert_lines(done.stdout)
    assert not done.stderr


@pytest.fixture(scope="module")
def kernel() -> Iterator[BlockingKernelClient]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(60)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def printed(kernel: BlockingKernelClient, allow_stdin: bool) -> str:
    """What a cell with the code sends to its output, as streams; anything else it sends is a failure."""
    said: list[str] = []

    def keep(message: dict) -> None:
        if message["msg_type"] == "stream":
            assert message["content"]["name"] == "stdout", "red in a notebook"
            said.append(message["content"]["text"])
        else:
            assert message["msg_type"] in ("status", "execute_input"), message["content"]

    kernel.execute_interactive(TRAIN, allow_stdin=allow_stdin, output_hook=keep, timeout=60)
    return "".join(said)


def test_a_live_notebook_gets_a_bar(kernel: BlockingKernelClient) -> None:
    """JupyterLab and VS Code execute cells with `allow_stdin`; tests/browser looks at Lab itself."""
    assert_bar(printed(kernel, allow_stdin=True))


def test_a_notebook_that_nobody_watches_gets_lines(kernel: BlockingKernelClient) -> None:
    assert_lines(printed(kernel, allow_stdin=False))


def test_papermill_logs_lines_and_keeps_them(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TRAIN)])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    command = [sys.executable, "-c", PAPERMILL, "--no-progress-bar", "--log-output", "-k", "python3"]
    done = subprocess.run([*command, tmp_path / "a.ipynb", tmp_path / "b.ipynb"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log = done.stdout + done.stderr
    assert all(re.search(rf"epoch {k}/2  4 bits/dim  \d s left", log) for k in (1, 2)) and "%|" not in log
    outputs = nbformat.read(tmp_path / "b.ipynb", as_version=4).cells[-1].outputs
    assert_lines("".join(output.text for output in outputs))


def test_plain_progress_is_one_line_an_epoch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTFLOW_LITE_PLAIN", "1")
    with Progress(epochs=3, steps=2, done=1) as bar:
        for epoch in (1, 2):
            for _ in range(2):
                bar.step(epoch, lambda: "1.0")
            bar.end_epoch(epoch, "1.000 bits/dim")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["2/3", "3/3"]
    assert lines[-1].endswith("0 s left")
    assert "\r" not in "".join(lines)


def test_the_state_is_described_no_more_often_than_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastflow_lite.progress.is_live", lambda: True)
    clock, described = [100.0], []
    monkeypatch.setattr("fastflow_lite.progress.time.monotonic", lambda: clock[0])
    with Progress(epochs=1, steps=100) as progress:
        for step in range(100):
            clock[0] += 0.01
            progress.step(0, lambda: described.append(step) or "text")  # noqa: B023  (called before the next round)
    assert 9 <= len(described) <= 11
    assert described[0] == 0


def test_images_are_counted_in_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, *(4.0 * k for k in range(1, 7))])
    with Count(6, clock=lambda: next(times)) as count:
        for _ in range(6):
            count.step()
        count.write("a.png", sys.stdout)
    shown, errors = capsys.readouterr()
    assert shown == "a.png\n"
    assert errors == "3 of 6 images, 0.2 images/s, 12 s left\n"


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_images_are_counted_in_a_bar_on_standard_error() -> None:
    code = "import sys, time; from fastflow_lite.progress import Count\nwith Count(5) as count:\n"
    code += " for k in range(5): time.sleep(.15); count.step(); count.write(f'image {k}', sys.stdout)\n"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    )
    text = os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)
    assert done.stdout.decode().splitlines() == [f"image {k}" for k in range(5)]
    assert re.search(r"\d/5 \[00:00<00:00, +[\d.]+ images/s\]", text), text
