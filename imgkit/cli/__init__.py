"""The command line: the only code that imports typer or rich, prints, or exits."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from imgkit import __version__
from imgkit.cli.ending import ignore_signals
from imgkit.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, TERMINATED, TROUBLE, USAGE
from imgkit.cli.output import emit_failure, flush, has_emitted, say, tell_error
from imgkit.cli.streams import forget_output, prepare_streams
from imgkit.errors import ImgkitError, UsageError

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class Terminated(BaseException):
    """SIGTERM arrived."""


def main() -> int:
    """Run one command; return its exit code (docs/cli.md)."""
    sys.excepthook = _last_resort
    prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _run()
        flush()
    except ImgkitError as error:
        code = _fail(error.kind, error.message, _hint_of(error), error.exit_code)
    except KeyboardInterrupt:
        code = _fail("interrupted", "interrupted (SIGINT); nothing is left half done", None, INTERRUPTED)
    except Terminated:
        code = _fail("terminated", "terminated (SIGTERM); nothing is left half done", None, TERMINATED)
    except BrokenPipeError:
        code = BROKEN_PIPE
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        code = _fail("os", f"{error.strerror or error}{where}", None, TROUBLE)
    ignore_signals()  # the code is decided; the interpreter would still die of them while it cleans up
    forget_output()
    return code


def _run() -> int:
    words = sys.argv[1:]
    if words == ["--version"]:  # asked by every script: not worth loading a command line for
        say(f"imgkit {__version__}")
        return 0
    if not sys.stdout.isatty():  # whatever FORCE_COLOR and GITHUB_ACTIONS say: a pipe gets plain lines
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    import click
    from typer.main import get_command

    from imgkit.cli.app import build_app

    app = build_app(words)
    if "_IMGKIT_COMPLETE" in os.environ:  # the shell asks what could come next; typer answers and exits
        app()
    try:
        # Not app(): it would turn a broken pipe into exit 1, and an interrupt into an exit without a word.
        with get_command(app).make_context("imgkit", words) as context:
            result = context.command.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:  # rich, where nobody reads the help any more; nothing else in there exits
        raise BrokenPipeError from ended
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "imgkit"
        raise UsageError(_sentence(error.format_message()), hint=f"{command} --help") from error
    except click.ClickException as error:
        raise UsageError(_sentence(error.format_message())) from error
    except (click.Abort, EOFError) as error:  # a question was answered with Ctrl-C or Ctrl-D
        raise KeyboardInterrupt from error
    return result if isinstance(result, int) else 0


def _sentence(text: str) -> str:
    """Click writes `Missing argument 'IMAGE'.`; ours begin small and have no full stop."""
    text = " ".join(text.split()).removesuffix(".")
    return text[:1].lower() + text[1:]


def _hint_of(error: ImgkitError) -> str | None:
    from imgkit.cli.sudo_hint import with_sudo

    return with_sudo(error)


def _fail(kind: str, message: str, hint: str | None, code: int) -> int:
    if _wants_json() and not has_emitted():
        # Where standard output is what failed, standard error still says so.
        with contextlib.suppress(OSError, ImgkitError):
            emit_failure(kind, message, hint)
    tell_error(message, hint)
    if os.environ.get("IMGKIT_DEBUG") == "1" and sys.exception() is not None:
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
    raise Terminated("stopped by SIGTERM")


def _last_resort(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A defect of imgkit: one line and exit 3. Python would exit 1, which says that the evidence differs."""
    if issubclass(kind, KeyboardInterrupt | Terminated):  # a second signal, while the first was being told
        os._exit(INTERRUPTED if issubclass(kind, KeyboardInterrupt) else TERMINATED)
    with contextlib.suppress(OSError):
        _fail(
            "internal",
            f"internal error: {kind.__name__}: {error}",
            "this is a defect of imgkit; run it again with IMGKIT_DEBUG=1 and report what it prints",
            TROUBLE,
        )
        if os.environ.get("IMGKIT_DEBUG") == "1":
            sys.__excepthook__(kind, error, trace)
        sys.stderr.flush()
    os._exit(TROUBLE)
