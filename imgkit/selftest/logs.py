"""A custody log, and each way to tamper with it: the verifier has to name what was done.

The log is written by the writer and tampered with as bytes. Where a forger repairs the chain, only this host's memory of
the head finds it, so those logs are verified with it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.log import CustodyLog
from imgkit.custody.record import decode, encode, line_hash
from imgkit.custody.session import Actor, Session
from imgkit.custody.state import StateFolder
from imgkit.custody.verify import verify_log
from imgkit.selftest.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imgkit.custody.verify import Verification

_ZEROS = "0" * 64
_RECORDS = 4  # pairs of intent and outcome
_OTHER_LOG = "00000000-0000-4000-8000-000000000000"

Lines = list[bytes]


@dataclass(frozen=True, slots=True)
class Tampering:
    """What is done to the lines, and the codes of which one at least has to be reported.

    Attributes:
        name: Names the answer.
        lines: From the true lines to the forged ones.
        codes: Each of these has to be found.
        memory: Whether the verifier is given this host's memory of the head.
    """

    name: str
    lines: Callable[[Lines], Lines]
    codes: frozenset[str]
    memory: bool = False


def ask_logs(known: Mapping[str, Any], folder: str) -> Iterator[Answer]:  # noqa: ARG001  (every part is asked alike)
    """Write a log, verify it, and verify every forgery of it."""
    state = StateFolder(os.path.join(folder, "state"))
    case = os.path.join(folder, "case")
    _write_log(case, state)
    path = os.path.join(case, "custody.jsonl")
    yield _true_log(verify_log(path, state=state))
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    for tampering in TAMPERINGS:
        yield _forgery(tampering, lines, os.path.join(folder, tampering.name), state)


def _write_log(case: str, state: StateFolder) -> None:
    actor = Actor("imgkit selftest", "selftest@localhost")
    with Session(actor, state) as session:
        log = CustodyLog.create(case, session)
        for number in range(_RECORDS):
            digests = {"sha256": f"{number:064x}"}
            intent = log.intent("evidence.hashed", {"of": "media", "algorithms": ["sha256"]}, exhibit="EX1")
            log.outcome(intent, "ok", {"of": "media", "digests": digests})


def _true_log(found: Verification) -> Answer:
    wrong = sorted({finding.code for finding in found.findings if finding.severity == "FAIL"})
    detail = f"{found.lines} lines" + (f", but {', '.join(wrong)}" if wrong else ", nothing wrong")
    return Answer("log.true", ok=not wrong, detail=detail)


def _forgery(tampering: Tampering, lines: Lines, folder: str, state: StateFolder) -> Answer:
    os.mkdir(folder)
    path = os.path.join(folder, "custody.jsonl")
    with open(path, "wb") as file:
        file.write(b"".join(tampering.lines(lines)))
    found = {finding.code for finding in verify_log(path, state=state if tampering.memory else None).findings}
    missing = tampering.codes - found
    detail = ", ".join(sorted(tampering.codes))
    if missing:
        detail = f"not found: {', '.join(sorted(missing))}; found: {', '.join(sorted(found)) or 'nothing'}"
    return Answer(f"log.{tampering.name}", ok=not missing, detail=detail)


def _chained(records: Sequence[Mapping[str, Any]]) -> Lines:
    """The lines of records, numbered and chained anew: what a forger with imgkit's source would write."""
    lines: Lines = []
    before = _ZEROS
    for number, record in enumerate(records, 1):
        lines.append(encode({**record, "seq": number, "prev": before}))
        before = line_hash(lines[-1])
    return lines


def _changed(lines: Lines, number: int, **fields: Any) -> list[dict[str, Any]]:
    records = [decode(line) for line in lines]
    records[number - 1] |= fields
    return records


def _edit(lines: Lines) -> Lines:
    return [*lines[:3], encode(_changed(lines, 4, reason="another reason")[3]), *lines[4:]]


def _edit_and_chain(lines: Lines) -> Lines:
    return _chained(_changed(lines, 4, reason="another reason"))


def _swap(lines: Lines) -> Lines:
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


def _insert(lines: Lines) -> Lines:
    return [*lines[:4], lines[3], *lines[4:]]


def _remove(lines: Lines) -> Lines:
    return [*lines[:3], *lines[4:]]


def _remove_and_chain(lines: Lines) -> Lines:
    return _chained([decode(line) for line in [*lines[:3], *lines[5:]]])


def _cut_tail(lines: Lines) -> Lines:
    return lines[:-2]


def _tear_tail(lines: Lines) -> Lines:
    return [*lines[:-1], lines[-1][:-20]]


def _duplicate_key(lines: Lines) -> Lines:
    return [*lines[:3], lines[3].replace(b'"v":1', b'"v":1,"v":1'), *lines[4:]]


def _other_spacing(lines: Lines) -> Lines:
    return [*lines[:3], lines[3].replace(b'"v":1', b'"v": 1'), *lines[4:]]


def _foreign_line(lines: Lines) -> Lines:
    return _chained(_changed(lines, 4, log=_OTHER_LOG))


def _drop_intent(lines: Lines) -> Lines:
    return _chained([decode(line) for line in [*lines[:3], *lines[4:]]])


def _set_clock_back(lines: Lines) -> Lines:
    time = decode(lines[-1])["time"]
    return _chained(_changed(lines, len(lines), time=time | {"utc": "2001-01-01T00:00:00.000000Z"}))


def _leave_out_field(lines: Lines) -> Lines:
    records = [decode(line) for line in lines]
    del records[3]["actor"]
    return _chained(records)


# Line 1 opens the log; 2, 4, 6 and 8 are intents; 3, 5, 7 and 9 their outcomes.
TAMPERINGS = (
    Tampering("edit", _edit, frozenset({"CHAIN_BREAK"})),
    Tampering("edit-and-chain", _edit_and_chain, frozenset({"FORK"}), memory=True),
    Tampering("swap", _swap, frozenset({"CHAIN_BREAK", "SEQ"})),
    Tampering("insert", _insert, frozenset({"CHAIN_BREAK", "SEQ"})),
    Tampering("remove", _remove, frozenset({"CHAIN_BREAK", "SEQ"})),
    Tampering("remove-and-chain", _remove_and_chain, frozenset({"ROLLBACK"}), memory=True),
    Tampering("cut-tail", _cut_tail, frozenset({"ROLLBACK"}), memory=True),
    Tampering("tear-tail", _tear_tail, frozenset({"TORN_TAIL"})),
    Tampering("duplicate-key", _duplicate_key, frozenset({"BAD_LINE"})),
    Tampering("other-spacing", _other_spacing, frozenset({"BAD_LINE"})),
    Tampering("foreign-line", _foreign_line, frozenset({"FOREIGN_LOG"})),
    Tampering("outcome-without-intent", _drop_intent, frozenset({"OUTCOME_NO_INTENT"})),
    Tampering("clock-set-back", _set_clock_back, frozenset({"CLOCK_STEP"})),
    Tampering("field-left-out", _leave_out_field, frozenset({"SCHEMA"})),
)
