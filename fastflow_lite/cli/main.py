"""The command `fastflow-lite`: one subcommand a module, imported only when it is called."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from fastflow_lite import __version__
from fastflow_lite.errors import FastFlowError, printable

COMMANDS = {  # name: (module with `arguments(parser)` and `run(args) -> exit status`, help)
    "fetch": ("fastflow_lite.cli.fetch", "download a data set, check it, unpack it"),
    "train": ("fastflow_lite.cli.train", "train one model and judge it; with torchrun on several GPUs"),
    "predict": ("fastflow_lite.cli.predict", "judge images by a detector; a folder once, or as images come"),
    "drift": ("fastflow_lite.cli.drift", "whether a promised false alarm rate still holds, from a log"),
    "export": ("fastflow_lite.cli.export", "write a detector as a program for ONNX, torch or OpenVINO"),
    "inspect-data": ("fastflow_lite.cli.inspect_data", "what is understood of a folder, and what to look at in it"),
    "evaluate": ("fastflow_lite.cli.evaluate", "judge labeled test images and count what was decided wrongly"),
    "batch": ("fastflow_lite.cli.batch", "run a notebook over a grid of parameters"),
    "doctor": ("fastflow_lite.cli.doctor", "what a report of a fault needs: versions, device, weights, data"),
    "table": ("fastflow_lite.cli.table", "the result records below a folder as one table"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` (default: the command line) names and return its exit status.

    With one line on standard error the status is 2 for a FastFlowError, 1 for an OSError such as a full disk, 130 for
    Ctrl-C. It is 141 without any line when the reader of standard output has gone, as in `table ... | head`. A warning
    is one line too.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = " ".join(["fastflow-lite", *(name for name in argv[:1] if name in COMMANDS)])
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("default", UserWarning)
            warnings.showwarning = partial(_show_warning, command)
            status = _run(argv)
        sys.stdout.flush()  # here, where a reader that has gone is noticed, and not when Python ends
        return status
    except FastFlowError as error:
        return _end(f"{command}: {error}", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to write goes nowhere
        return 141
    except OSError as error:
        return _end(f"{command}: {error}", 1)
    except KeyboardInterrupt:
        return _end(f"{command}: interrupted; complete files stay, and the same command goes on", 130)


def _show_warning(command: str, message: Warning | str, *_: object, **__: object) -> None:
    """Write a warning as one line, without the line of code that it comes from."""
    print(printable(f"{command}: warning: {' '.join(str(message).split())}"), file=sys.stderr)


def _end(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status


def _run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="fastflow-lite", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in argv[:1]:
            import_module(module).arguments(command)
    args = parser.parse_args(argv)
    return import_module(COMMANDS[args.command][0]).run(args)


if __name__ == "__main__":
    sys.exit(main())
