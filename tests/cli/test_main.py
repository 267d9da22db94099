"""How every command ends: one line, and a status that a script can use."""

import argparse
import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from written_runs import write_six_runs

from fastflow_lite.cli import main as cli

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fastflow_lite.cli"]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            KeyboardInterrupt(),
            130,
            "fastflow-lite table: interrupted; complete files stay, and the same command goes on",
        ),
        (OSError(errno.ENOSPC, "No space left", "a.csv"), 1, "fastflow-lite table: [Errno 28] No space left: 'a.csv'"),
    ],
)
def test_a_command_ends_with_one_line(
    error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("fastflow_lite.cli.table.read_records", fail)
    assert cli.main(["table", "."]) == status
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_reader_that_goes_is_no_error(tmp_path: Path) -> None:
    runs = write_six_runs(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "table", runs], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("first_line", [False, True])
def test_ctrl_c_in_training_is_one_line(category: Path, tmp_path: Path, first_line: bool) -> None:
    options = [
        "--dataset",
        category,
        "--image-size",
        "64",
        "--backbone",
        "resnet18",
        "--weights",
        "bundled",
        "--steps",
        "1",
        "--recipe",
        "v0.1",
        "--epochs",
        "500",
        "--out",
        tmp_path / "out",
    ]
    training = subprocess.Popen(
        [*COMMAND, "train", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's `&` has it ignored
    )  # fmt: skip
    assert training.stdout is not None
    if first_line:
        assert ", weights " in training.stdout.readline()
        assert training.stdout.readline().startswith("epoch 1/500")
    else:
        time.sleep(1)  # the libraries are being loaded
    training.send_signal(signal.SIGINT)
    _, errors = training.communicate(timeout=60)
    # Python ends by the signal itself where the interruption passed through code of an extension that was being loaded.
    # A shell shows either as 130.
    assert training.returncode in (130, -signal.SIGINT) and len(errors.splitlines()) == 1, errors
    assert errors.startswith("fastflow-lite train: interrupted")


def test_no_home_is_needed_when_folders_are_given(
    category: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("HOME", raising=False)
    options = ["--dataset", category, "--image-size", "32", "--backbone", "resnet18", "--weights", "bundled"]
    options += ["--recipe", "v0.1", "--steps", "1", "--epochs", "1", "--out", tmp_path / "out"]
    assert cli.main(["train", *map(str, options)]) == 0


def commands_of_pages() -> list[str]:
    """Return every line with a command in the code blocks of both READMEs and docs/."""
    pages = [ROOT / "README.md", ROOT / "fastflow_lite" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [block for page in pages for block in page.read_text("utf-8").split("```")[1::2]]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.match(r"fastflow-lite [\w-]+ ", line)]  # and no message of one


@pytest.mark.parametrize("line", commands_of_pages())
def test_the_commands_of_the_pages_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, *argv = shlex.split(line.removesuffix("&").partition(" | ")[0], comments=True)
    module = import_module(cli.COMMANDS[argv[0]][0])
    monkeypatch.setattr(module, "run", lambda args: 0)
    assert cli.main(argv) == 0


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_is_given_in_a_test(name: str) -> None:
    parser = argparse.ArgumentParser()
    import_module(cli.COMMANDS[name][0]).arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    texts = "".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert not {option for option in options - {"--help"} if not re.search(f'"{option}[ "]', texts)}
