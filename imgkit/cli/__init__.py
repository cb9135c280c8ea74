"""The command line: the only code that imports typer or rich, prints, or exits."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from imgkit import __version__
from imgkit.cli.output import emit_failure, say, tell_error
from imgkit.errors import ImgkitError

if TYPE_CHECKING:
    from types import FrameType, TracebackType

USAGE, TROUBLE, INTERRUPTED, TERMINATED, BROKEN_PIPE = 2, 3, 130, 143, 141


class Terminated(BaseException):
    """SIGTERM arrived."""


def main() -> int:
    """Run one command; return its exit code (docs/cli.md)."""
    sys.excepthook = _internal_error
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    return code


def _run() -> int:
    words = sys.argv[1:]
    if words == ["--version"]:  # asked by every script: not worth loading a command line for
        say(f"imgkit {__version__}")
        return 0
    import click

    from imgkit.cli.app import build_app
    from imgkit.cli.options import with_sudo

    try:
        result = build_app(words)(standalone_mode=False)
    except ImgkitError as error:
        return _fail(error.kind, error.message, with_sudo(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "imgkit"
        return _fail("usage", _sentence(error.format_message()), f"{command} --help", USAGE)
    except click.ClickException as error:
        return _fail("usage", _sentence(error.format_message()), None, USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", "interrupted (SIGINT); what was begun was undone", None, INTERRUPTED)
    except Terminated:
        return _fail("terminated", "terminated (SIGTERM); what was begun was undone", None, TERMINATED)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _fail("os", f"{error.strerror or error}{where}", None, TROUBLE)
    return result if isinstance(result, int) else 0


def _sentence(text: str) -> str:
    """Click writes `Missing argument 'IMAGE'.`; ours begin small and have no full stop."""
    text = " ".join(text.split()).removesuffix(".")
    return text[:1].lower() + text[1:]


def _fail(kind: str, message: str, hint: str | None, code: int) -> int:
    if _wants_json():
        emit_failure(kind, message, hint)
    tell_error(message, hint)
    if os.environ.get("IMGKIT_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    return code


def _wants_json() -> bool:
    arguments = sys.argv[1:]
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    return "--json" in arguments or "--jsonl" in arguments


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Terminated


def _internal_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A defect of imgkit: one line and exit 3. Python would exit 1, which says that the evidence differs."""
    message = f"internal error: {kind.__name__}: {error}"
    with contextlib.suppress(OSError):
        if _wants_json():
            emit_failure("internal", message, None)
        tell_error(
            message, "this is a defect of imgkit; run it again with IMGKIT_DEBUG=1 and report what it prints"
        )
        if os.environ.get("IMGKIT_DEBUG") == "1":
            sys.__excepthook__(kind, error, trace)
        sys.stderr.flush()
    os._exit(TROUBLE)
