"""The hint of a command that lacks root: the whole command, with sudo, absolute paths and what sudo would drop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from imgkit.errors import ImgkitError

# What --help calls a value that is a path; of `TEXT|FILE` only the user knows.
_PATHS = frozenset({"A", "B", "BAG", "CASE", "DEVICE", "DIR", "FILE", "FOLDER", "IMAGE", "PATH"})


def with_sudo(error: ImgkitError) -> str | None:
    """The whole command with sudo and absolute paths, where root is what is missing; else the error's own hint."""
    if error.kind != "not-permitted" or os.geteuid() == 0:
        return error.hint
    import shlex

    words = _absolute(sys.argv[1:])
    for option, variable in (("--case", "IMGKIT_CASE"), ("--examiner", "IMGKIT_EXAMINER")):
        value = os.environ.get(variable) if words[:1] != ["status"] else None  # it takes neither
        if value and not any(
            word == option or word.startswith(f"{option}=") for word in words
        ):  # sudo drops variables
            words += [option, os.path.abspath(value) if option == "--case" else value]
    program = [os.path.abspath(sys.argv[0])]
    if os.path.basename(program[0]) == "__main__.py":
        program = [sys.executable, "-m", "imgkit"]
    return "sudo " + shlex.join([*program, *words])


def _absolute(words: list[str]) -> list[str]:
    """The words of a command with every path in them absolute, as the command itself tells paths from other values."""
    command, called = _command_of(words)
    options = {name: option for option in command.params if _takes_value(option) for name in option.opts}
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    shown, wanting = words[:called], None
    for word in words[called:]:
        name, equals, value = word.partition("=")
        if wanting is not None:
            shown.append(_shown(word, wanting))
            wanting = None
        elif word in options or word.startswith("-") or not arguments:
            shown.append(f"{name}={_shown(value, options[name])}" if equals and name in options else word)
            wanting = options.get(word)
        else:
            shown.append(_shown(word, arguments.pop(0) if len(arguments) > 1 else arguments[0]))
    return shown


def _command_of(words: list[str]) -> tuple[click.Command, int]:
    """The command that the words call, and how many of them say so."""
    import click
    from typer.main import get_command

    from imgkit.cli.app import build_app

    command: click.Command = get_command(build_app(words))
    called = 0
    while isinstance(command, click.Group):
        command = command.commands[words[called]]
        called += 1
    return command, called


def _takes_value(parameter: click.Parameter) -> bool:
    return parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)


def _shown(word: str, parameter: click.Parameter) -> str:
    kinds = (parameter.metavar or "").removesuffix("...").split("|")
    if not _PATHS.issuperset(kinds) or ("DEVICE" in kinds and _is_device_name(word)):
        return word
    return os.path.abspath(word)


def _is_device_name(word: str) -> bool:
    """`loop3`, as detach takes it."""
    return word.startswith("loop") and word[4:].isdecimal() and not os.path.lexists(word)
