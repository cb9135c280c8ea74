"""A facts sheet as plain text: what the log records of who did what, for whoever drafts a certificate or a statement.

Short sentences, each with the line of the log that says so, and no conclusion. Digests stand whole on lines of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from imgkit.custody.record import printable
from imgkit.reports.facts.exhibits import exhibits
from imgkit.reports.facts.sentences import at, correction, count, few, head, say, whole
from imgkit.reports.telling import told
from imgkit.reports.values import in_words, mapping, text
from imgkit.reports.wording import UNSHOWN, covered, is_digest, outside, severity_rank, title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgkit.custody.verify import LogFinding
    from imgkit.reports.view import Act, CaseView, Correction, Enclosed, Session

NAME = "facts"
_UNREAD = 200  # line numbers that are listed
_CUSTODY = {
    "custody.transferred": "handed over",
    "custody.received": "received",
    "custody.stored": "stored",
    "custody.disposed": "disposed of",
}


def write(case: CaseView, out: BinaryIO) -> None:
    """Write the sheet."""
    parts = (_scope, _verification, _people, exhibits, _custody, _statements, _unfinished, _not_proved)
    for number, part in enumerate(parts):
        if number:
            out.write(b"\n")
        out.writelines(f"{line}\n".encode() for line in part(case))


def _scope(case: CaseView) -> Iterator[str]:
    yield "FACTS SHEET"
    yield "==========="
    yield from say(f"Case: {case.name}")
    for key, said in case.case:
        yield from say(f"{key}: {said}", 1)
    yield f"Custody log: {printable(case.log) or 'it states no uuid'}"
    yield f"Made of: {case.covered} ({case.bytes:,} bytes)"
    yield f"Head (SHA-256 of line {case.lines:,}): {case.head}"
    yield f"Times of the records: {case.first or 'none'} to {case.last or 'none'}"
    yield ""
    yield from say(
        "This sheet repeats what the log records, and draws no conclusion. The number in brackets is the line of the log "
        "that says so. Times are in UTC, by the clock of the host that wrote the line."
    )


def _verification(case: CaseView) -> Iterator[str]:
    yield from head("Verification of the log")
    yield f"Result: {case.verdict}"
    if case.verdict == "FAILED":
        yield from say("Until that is explained, nothing in this sheet is shown to be what was recorded.")
    yield from say(outside(case))
    yield from few([_finding(found) for found in sorted(case.findings, key=severity_rank)])
    if not case.findings:
        yield "  No findings."
    for line in case.unread[:_UNREAD]:
        yield from say(
            f"Line {line} is no record that this version can read: this sheet has nothing of it.", 1
        )
    if case.proved:
        yield "Shown by the verification:"
    for sentence in case.proved:
        yield from say(f"- {sentence}", 1)
    if case.coverage:
        yield "What stands behind the lines:"
    for one in case.coverage:
        yield from say(f"- {covered(one)}", 1)


def _finding(found: LogFinding) -> Iterator[str]:
    place = f" {at([found.line])}" if found.line else ""
    return say(f"{found.severity} {found.code}: {found.message}{place}", 1)


def _not_proved(case: CaseView) -> Iterator[str]:
    yield from head("Not proved")
    for sentence in case.not_proved:
        yield from say(f"- {sentence}", 1)


def _people(case: CaseView) -> Iterator[str]:
    yield from head("People and tools, as recorded")
    by_person: dict[str, list[int]] = {}
    by_tool: dict[str, list[int]] = {}
    for act in case.acts:
        by_person.setdefault(str(act.actor), []).append(act.line)
        by_tool.setdefault(_installation(act.session), []).append(act.line)
    for name, lines in by_person.items():
        yield from say(f"{name}: {count(len(lines), 'entry', 'entries')}, {_span(lines)}.")
    for name, lines in by_tool.items():
        yield from say(f"{name}: {count(len(lines), 'entry', 'entries')}, {_span(lines)}.")
    for act in case.acts:
        if act.type in ("tool.selftest", "tool.changed"):
            yield from say(
                f"{act.type} on {act.when}: {in_words(act.data) or 'nothing stated'}. {at(act.lines)}"
            )


def _installation(session: Session) -> str:
    if not session.tool:
        return "Tool not stated"
    further = [f"python {session.python}" if session.python else ""]
    further += [f"{key} {version}" for key, version in session.libraries]
    further.append(f"kernel {session.kernel}" if session.kernel else "")
    further.append(f"host {session.host}" if session.host else "")
    further.append(f"SHA-256 of its list of files {session.record_sha256}" if session.record_sha256 else "")
    return f"Tool {session.tool} ({', '.join(filter(None, further))})"


def _span(lines: Sequence[int]) -> str:
    return f"line {lines[0]:,}" if len(lines) == 1 else f"from line {lines[0]:,} to line {lines[-1]:,}"


def _custody(case: CaseView) -> Iterator[str]:
    yield from head("Custody")
    if not case.possession:
        yield "No hand-over, storage or disposal is recorded."
    for act in case.possession:
        yield from _step(act)


def _step(act: Act) -> Iterator[str]:
    """One step: who, whom, what of it; then what it says of each exhibit."""
    about = ", ".join(act.exhibits) or "an exhibit that has no number here"
    named = {"from": "from", "to": "by" if act.type == "custody.received" else "to"}
    people = "".join(f" {word} {_named(act.data[key])}" for key, word in named.items() if key in act.data)
    word = _CUSTODY.get(act.type, act.type)
    yield from say(f"{about}: {word}{people}, recorded by {act.actor} on {act.when}. {at(act.lines)}")
    yield from _details((name, value) for name, value in told(act) if name not in ("from", "to"))


def _named(person: object) -> str:
    fields = mapping(person)
    return f"{text(fields.get('name'))} <{text(fields.get('id'))}>" if fields else text(person)


def _statements(case: CaseView) -> Iterator[str]:
    yield from head("Notes, reviews, checkpoints, time stamps and receipts")
    found = [_note(item) for item in case.enclosed]
    for item in case.checkpoints:
        signer = (
            f"signed, as recorded, by {item.signer} ({item.fingerprint})" if item.signer else "not signed"
        )
        words = f"Checkpoint of lines 1 to {item.size:,} on {item.act.when}, {signer}"
        found.append(say(f"{words}. {at([item.line])}"))
    found += [correction(one) for one in _corrections(case)]
    found += [_statement(act) for act in (*case.stamps, *case.receipts, *case.reviews)]
    yield from few(found)
    if not found:
        yield "None recorded."


def _note(item: Enclosed) -> Iterator[str]:
    about = f" on {item.exhibit}" if item.exhibit else ""
    said = f"its text {UNSHOWN}" if item.withheld else _quoted(item.text) or item.description or item.origin
    yield from say(
        f"{item.kind.capitalize()}{about} by {item.act.actor} on {item.act.when}: {said} {at([item.line])}"
    )
    yield from whole(f"SHA-256 {item.sha256}")


def _corrections(case: CaseView) -> list[Correction]:
    """Those that no exhibit tells."""
    told_of = {one.line for exhibit in case.exhibits for one in exhibit.corrections}
    return [one for one in case.corrections if one.line not in told_of]


def _statement(act: Act) -> Iterator[str]:
    yield from say(f"{title(act)}, by {act.actor} on {act.when}. {at(act.lines)}")
    yield from _details(told(act))


def _details(found: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in found:
        yield from whole(f"{name} {value}") if is_digest(value) else say(f"{name}: {value}", 1)


def _quoted(words: str) -> str:
    """Text of people, told from the words of the sheet."""
    return f"“{words}”" if words else ""


def _unfinished(case: CaseView) -> Iterator[str]:
    yield from head("Acts that failed, were interrupted, or have no recorded end")
    found = [act for act in case.acts if act.result not in ("", "ok")]
    yield from few([_failed(act) for act in found])
    if not found:
        yield "None recorded."


def _failed(act: Act) -> Iterator[str]:
    error = f": {act.error}" if act.error else ""
    yield from say(
        f"{act.type} {act.exhibit} by {act.actor} on {act.time}: {act.result}{error} "
        f"{at([*act.lines, *act.reconciled])}"
    )
