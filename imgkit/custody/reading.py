"""Reading a log while others may append to it: line 1, the lines, and the acts that no outcome has closed yet."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

from imgkit.custody.clock import boot_id
from imgkit.custody.durable import told
from imgkit.custody.enclosures import FOLDER as ENCLOSURES
from imgkit.custody.record import LINE_LIMIT, decode, decode_document, is_json, printable
from imgkit.custody.schema import OPENING_TYPES, is_newer, validate
from imgkit.custody.session import process_start
from imgkit.errors import CustodyError
from imgkit.linux.files import acting_as, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from imgkit.custody.session import Session
    from imgkit.linux.files import Identity

# `op` and `phase` are neighbours in our encoding; asking the bytes costs a tenth of decoding every line
_OP = re.compile(rb'"op":"([0-9a-f-]{36})","phase":"(intent|outcome)"')
_BUFFER = 1 << 20  # bytes read at a time


def lines_of(path: str, identity: Identity | None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line with LF) of every whole line there is now.

    Raises:
        CustodyError: The log cannot be read.
    """
    with acting_as(identity), told(f"read custody log {path!r}"):
        file = open_regular(path, buffering=_BUFFER)
    offset = 0
    with file:
        while True:
            with told(f"read custody log {path!r}"):
                line = file.readline()
            if not line.endswith(b"\n"):
                return
            yield offset, line
            offset += len(line)


def read_records(path: str, *, identity: Identity | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a log in order; torn lines are left out, and so is a last line that is being written.

    Raises:
        CustodyError: The log cannot be read; code BAD_LINE: a line is JSON, but not as imgkit writes it.
    """
    for _offset, line in lines_of(path, identity):
        try:
            record = decode(line)
        except CustodyError:
            if is_json(line):
                raise
            continue
        yield record


def read_opening(path: str) -> dict[str, Any]:
    """Return line 1 of a log.

    Raises:
        CustodyError: No log, not readable, damaged, or written by a newer imgkit.
    """
    with told(f"open custody log {path!r}"), open_regular(path) as file:
        line = file.read(LINE_LIMIT)
    head, newline, _rest = line.partition(b"\n")
    try:
        opening = decode(head + newline)
    except CustodyError as error:
        raise CustodyError(f"{path!r} does not begin as a custody log", code="BAD_LINE") from error
    if is_newer(opening):
        raise CustodyError(
            f"custody log {path!r} was written by a newer imgkit", hint="use that version, or a later one"
        )
    if opening.get("type") not in OPENING_TYPES or opening.get("seq") != 1 or validate(opening):
        raise CustodyError(f"{path!r} does not begin as a custody log", code="SCHEMA")
    return opening


def enclosed_list(
    log: str, reference: Mapping[str, Any], *, identity: Identity | None = None
) -> list[dict[str, Any]]:
    """Return the list that a record of the log at a path names by digest, from enclosures/ beside it.

    Raises:
        CustodyError: It is not there (withheld), or code ENCLOSURE_CHANGED: it is not what the record names.
    """
    name = os.path.basename(str(reference["enclosure"]))
    path = os.path.join(os.path.dirname(log), ENCLOSURES, name)
    with acting_as(identity), told(f"read enclosure {path!r}"):
        file = open_regular(path)
    with file, told(f"read enclosure {path!r}"):
        document = file.read()
    if hashlib.sha256(document).hexdigest() != reference["sha256"]:
        raise CustodyError(
            f"enclosure {path!r} does not hold the bytes its record names", code="ENCLOSURE_CHANGED"
        )
    value = decode_document(document)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def open_intents(lines: Iterable[tuple[int, bytes]]) -> tuple[list[dict[str, Any]], int]:
    """Return the intents without outcome or op.reconciled, and the byte up to which the log was read.

    Raises:
        CustodyError: A line that matters is damaged.
    """
    waiting: dict[bytes, bytes] = {}
    end = 0
    for offset, line in lines:
        end = offset + len(line)
        for op, phase in _OP.findall(line):
            if phase == b"intent":
                waiting[op] = line
            else:
                waiting.pop(op, None)
        if b'"type":"op.reconciled"' in line:
            waiting.pop(str(decode(line)["data"]["op"]).encode(), None)
    return [decode(line) for line in waiting.values()], end


def runs(
    intent: Mapping[str, Any], session: Session, lines: Callable[[], Iterator[tuple[int, bytes]]]
) -> bool:
    """Whether the run that wrote the intent may still be at work: its lock says so, else its process.

    Raises:
        CustodyError: The state folder or the log cannot be read.
    """
    if intent["session"] == session.uuid:
        return True
    held = session.state.session_runs(intent["session"])
    if held is not None:
        return held
    env = _environment_of(intent["session"], lines())
    if env.get("host") != os.uname().nodename:
        return True  # another host's run, or one whose host is not recorded: only that host can tell
    if intent["time"]["boot_id"] != boot_id():
        return False
    if env.get("state") == printable(session.state.path):
        return False  # it ended and took its file away, or was killed and its file was swept
    start = process_start(env["pid"]) if "pid" in env else None
    return start is not None and start == env.get("started")


def _environment_of(session: str, lines: Iterable[tuple[int, bytes]]) -> dict[str, Any]:
    for _offset, line in lines:
        if session.encode() in line and b'"env":' in line:
            record = decode(line)
            if record["session"] == session and "env" in record:
                return dict(record["env"])
    return {}
