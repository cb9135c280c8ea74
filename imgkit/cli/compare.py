"""log compare: two copies of a log."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.output import emit, say
from imgkit.custody.record import path_fields, printable

if TYPE_CHECKING:
    from imgkit.custody.compare import Copy, LogComparison

Document = dict[str, Any]


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Case folder or log file.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another copy.")],
    as_json: options.JsonOption = False,
) -> int:
    """Find the first difference of two copies; exit 1 unless one is the beginning of the other. Writes nothing."""
    from imgkit.custody.compare import compare_logs

    found = compare_logs(a, b)
    if as_json:
        emit(_document(found))
    else:
        _say(found)
    return found.exit_code


def _document(found: LogComparison) -> Document:
    return {
        "schema": "imgkit.log.compare.v1",
        "relation": found.relation,
        "shorter": found.shorter,
        "more": found.more if found.shorter else None,
        "a": _copy(found.a),
        "b": _copy(found.b),
        "common": {"lines": found.common, "bytes": found.common_bytes, "head": found.common_head},
        "difference": asdict(found.difference) if found.difference else None,
    }


def _copy(copy: Copy) -> Document:
    return {
        **path_fields(copy.path),
        "log": copy.log,
        "lines": copy.lines,
        "bytes": copy.bytes,
        "head": copy.head,
        "rest": copy.rest,
    }


def _say(found: LogComparison) -> None:
    for name, copy in (("A", found.a), ("B", found.b)):
        rest = f", and {copy.rest} of a line that is cut off" if copy.rest else ""
        say(f"{name}       {printable(copy.path)}")
        say(f"        {copy.lines} lines, {copy.bytes} bytes{rest}, head {copy.head}")
    say(f"common  {found.common} lines, {found.common_bytes} bytes, head {found.common_head}")
    if found.difference is not None:
        say(f"first difference: line {found.difference.line}")
        for item in found.difference.fields:
            say(f"  {item.field}")
            say(f"    A: {_value(item.a)}", hang=7)
            say(f"    B: {_value(item.b)}", hang=7)
        for remark in found.difference.remarks:
            say(f"  {printable(remark)}")
    say(f"verdict: {_verdict(found)}")


def _value(text: str | None) -> str:
    return "(not there)" if text is None else text


def _verdict(found: LogComparison) -> str:
    if found.relation == "same":
        return "the same, byte for byte"
    if found.relation == "prefix":
        short, long = ("A", "B") if found.shorter == "a" else ("B", "A")
        more = (
            f"{found.more} line{'s' if found.more != 1 else ''} more"
            if found.more
            else "more of its last line"
        )
        return f"{short} is the beginning of {long}, which has {more}"
    if found.relation == "other-log":
        return f"DIFFERENT LOGS: {found.a.log} and {found.b.log}"
    return f"FORKED: they differ from line {found.common + 1} on"
