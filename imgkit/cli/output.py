"""What a command says: results to stdout, everything else to stderr; nothing out of an image unescaped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Never

from imgkit.custody.record import plain, printable
from imgkit.errors import HostError
from imgkit.linux.signals import signals_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self, TextIO

    from rich.progress import Progress as RichProgress

Document = dict[str, Any]
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


_emitted = False


def say(text: str = "", *, hang: int = 2) -> None:
    """A line of the result, escaped; on a terminal broken between words, `hang` columns in."""
    for line in _fitted(printable(text), sys.stdout, hang):
        _write(line)


def say_bytes(text: str) -> None:
    """A line whose bytes another program checks (a checksum line): as it is in a pipe, escaped on a terminal."""
    _write(printable(text) if sys.stdout.isatty() else text)


def notice(text: str) -> None:
    """A line beside the result. That nobody can be told of it any more stops no work."""
    with contextlib.suppress(OSError):
        for line in _fitted(printable(text), sys.stderr, 2):
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _fitted(line: str, stream: TextIO, hang: int) -> list[str]:
    """The line as it is in a pipe; a command in a hint stays whole, so that it can be copied."""
    if not stream.isatty() or line.startswith("hint: "):
        return [line]
    width = columns()
    if len(line) <= width:
        return [line]
    import textwrap

    text = line.lstrip()
    lead = " " * (len(line) - len(text))
    return textwrap.wrap(
        text,
        width,
        initial_indent=lead,
        subsequent_indent=lead + " " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size().columns


def emit(document: Document) -> None:
    """The one JSON document of `--json`, or one line of `--jsonl`."""
    global _emitted  # noqa: PLW0603  (a process has one standard output)
    text = json.dumps(_unicode(document), ensure_ascii=True, allow_nan=False)
    with signals_held():
        _emitted = True
        _write(text)
        flush()


def _unicode(value: Any) -> Any:
    """A document whose texts have no lone surrogates; null stays, for a reader looks for the key."""
    if isinstance(value, dict):
        return {key: _unicode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unicode(item) for item in value]
    return plain(value)


def has_emitted() -> bool:
    """Whether a document was printed: a failure after it prints no second one."""
    return _emitted


def flush() -> None:
    """Hand the lines over; only then somebody has them.

    Raises:
        BrokenPipeError: Nobody reads them.
        HostError: They cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        _cannot_write(error)


def _write(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
    except OSError as error:
        _cannot_write(error)


def _cannot_write(error: OSError) -> Never:
    if isinstance(error, BrokenPipeError):
        raise error
    raise HostError(f"cannot write the result: {error.strerror}") from error


def emit_failure(kind: str, message: str, hint: str | None) -> None:
    """The JSON document of any failure."""
    body: Document = {"kind": kind, "message": printable(message), "hint": printable(hint) if hint else None}
    emit({"schema": "imgkit.error.v1", "error": body})


def tell_error(message: str, hint: str | None) -> None:
    """One line that says what went wrong, and one that says what to do."""
    notice(f"imgkit: error: {message}")
    if hint:
        notice(f"hint: {hint}")


def is_terminal() -> bool:
    """Whether the result goes to a terminal that takes more than plain lines."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def human(size: int) -> str:
    """`32.0 MiB`: for people; exact bytes stand beside it."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(UNITS) - 1:  # noqa: PLR2004  (the step of binary units)
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


def ranges(numbers: Iterable[int]) -> str:
    """`1-3, 7`: ascending numbers, neighbours together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    narrow: Callable[[Sequence[str]], object] | None = None,
    narrow_headers: bool = False,
) -> None:
    """Columns: a rich table on a terminal, aligned plain lines in a pipe. Cells are escaped here.

    Args:
        headers: One word a column.
        rows: Text; every cell a string.
        right: Columns of numbers.
        narrow: Says one row in lines, where the terminal is narrower than the table.
        narrow_headers: There, the headers are said as a row, too.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in [list(headers), *cells]) for n in range(len(headers))]
    if is_terminal():
        if narrow is not None and sum(widths) + 2 * len(widths) - 2 > columns():
            for row in [headers, *cells] if narrow_headers else cells:
                narrow(row)
            return
        _rich_table(headers, cells, right)
        return
    for row in [list(headers), *cells]:
        parts = [text.rjust(widths[n]) if n in right else text.ljust(widths[n]) for n, text in enumerate(row)]
        say("  ".join(parts).rstrip())


def say_fact(row: Sequence[str]) -> None:
    """A row of two cells, a fact and its value, as lines."""
    say(f"{row[0]}  {row[1]}")


def _rich_table(headers: Sequence[str], cells: list[list[str]], right: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for number, header in enumerate(headers):
        shown.add_column(header, justify="right" if number in right else "left", overflow="fold")
    for row in cells:
        shown.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(shown)


class Progress:
    """Bytes done, on stderr: a bar on a terminal once a second has passed, JSON lines where asked for, else nothing.

    A context manager; call it with (done, total).
    """

    def __init__(self, title: str, *, style: str | None) -> None:
        self._title = title
        self._json = style == "json"
        self._bar = style != "json" and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._started = self._last = time.monotonic()
        self._shown: RichProgress | None = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Say how far it is; shown at most ten times a second."""
        now = time.monotonic()
        if not (self._json or self._bar) or now - self._last < (
            1.0 if self._json or self._shown is None else 0.1
        ):
            return
        self._last = now
        if self._json:
            rate = round(done / (now - self._started))
            left = round((total - done) / rate) if rate else None
            line = {"progress": self._title, "done": done, "total": total, "rate": rate, "seconds_left": left}
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()
            return
        if self._shown is None:
            with signals_held():  # else an interrupt could leave the terminal without a cursor
                self._shown = self._begin(total)
        self._shown.update(self._shown.task_ids[0], completed=done, total=total)

    def _begin(self, total: int) -> RichProgress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        shown = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        shown.add_task(printable(os.path.basename(self._title))[:20], total=total)
        shown.start()
        return shown

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            with signals_held():
                self._shown.stop()
