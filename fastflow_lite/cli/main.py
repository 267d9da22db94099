"""The command `fastflow-lite`: one subcommand a module, imported only when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from fastflow_lite import __version__
from fastflow_lite.errors import FastFlowError

COMMANDS = {  # name: (module with `arguments(parser)` and `run(args) -> exit status`, help)
    "fetch": ("fastflow_lite.cli.fetch", "download a data set, check it, unpack it"),
    "train": ("fastflow_lite.cli.train", "train one model and judge it; with torchrun on several GPUs"),
    "batch": ("fastflow_lite.cli.batch", "run a notebook over a grid of parameters"),
    "table": ("fastflow_lite.cli.table", "the result records below a folder as one table"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` (default: the command line) names and return its exit status.

    The status is 2, with one line on standard error, when the command raises a FastFlowError.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="fastflow-lite", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in argv[:1]:
            import_module(module).arguments(command)
    args = parser.parse_args(argv)
    try:
        return import_module(COMMANDS[args.command][0]).run(args)
    except FastFlowError as error:
        print(f"fastflow-lite {args.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
