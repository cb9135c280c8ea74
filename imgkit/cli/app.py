"""The commands, each loaded when it is called: a command that reads nothing of another's does not pay for it."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from imgkit import __version__
from imgkit.cli.output import say

# command -> the module that has it; in the order of --help
COMMANDS = {
    "info": "evidence",
    "hash": "digests",
    "verify": "digests",
    "partitions": "evidence",
    "attach": "attach",
    "detach": "attach",
    "mount": "attach",
    "unmount": "attach",
    "status": "attach",
    "expose": "expose",
    "unexpose": "expose",
    "case": "case",
    "log": "log",
    "doctor": "host",
    "selftest": "host",
    "demo": "host",
}


def build_app(words: list[str]) -> typer.Typer:
    """Return the command line: with the command that `words` call, or with all of them where they call none.

    Args:
        words: The arguments after the program's name.
    """
    app = typer.Typer(
        name="imgkit",
        help="Verify, inspect, attach and mount disk images as evidence: read-only, read back, recorded.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    called = words[0] if words else ""
    for name in [called] if called in COMMANDS else COMMANDS:
        _add(app, name)
    return app


def _add(app: typer.Typer, name: str) -> None:
    part: Any = import_module(f"imgkit.cli.{COMMANDS[name]}")
    if hasattr(part, "app"):
        app.add_typer(part.app, name=name)
        return
    function, example = part.COMMANDS[name]
    app.command(name, epilog=f"Example: {example}")(function)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"imgkit {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has printed it
