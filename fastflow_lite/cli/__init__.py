"""The command `fastflow-lite`: a file for each subcommand, imported only when it is called.

A command reads its options, calls one function of another room and prints what came of it. It holds no logic of its
own.
"""

__all__ = ["main"]
