"""The fold of a log into a CaseView."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from imgkit.custody.record import ZEROS
from imgkit.custody.schema import OPENING_TYPES, is_newer, validate
from imgkit.custody.verify.lines import Kind
from imgkit.errors import CustodyError
from imgkit.reports.acquisition import acquisition_in
from imgkit.reports.digests import (
    READS,
    comparisons_in,
    own_in,
    read_errors_in,
    stated_in,
    unlisted_in,
    verdicts_in,
)
from imgkit.reports.joining import Joined
from imgkit.reports.presences import presences_of
from imgkit.reports.tables import table_in
from imgkit.reports.values import items, mapping, number, pairs, text
from imgkit.reports.view import CaseView, Checkpoint, Coverage, Enclosed, Exhibit, File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imgkit.custody.verify import Covered, Verification
    from imgkit.custody.verify.lines import Line
    from imgkit.reports.acts import Act
    from imgkit.reports.presences import Attachment
    from imgkit.reports.values import Data, Enclosures

_Fact = TypeVar("_Fact")
_FACTS = (
    "number",
    "title",
    "agency",
    "lead",
    "authority",
    "policy",
)  # of line 1, in this order; others follow


def case_view(lines: Iterable[Line], found: Verification, *, enclosures: Enclosures) -> CaseView:
    """Return the view of the lines that a verification covers.

    Args:
        lines: Of the same bytes that were verified.
        found: What the verifier says of them.
        enclosures: Asked with digest and name; returns the bytes of an enclosure that holds what the record names, else None.

    Raises:
        CustodyError: The lines are not those that were verified.
    """
    joined, unread, head = Joined(enclosures), [], (0, ZEROS)
    before, breaks = ZEROS, 0
    for line in lines:
        breaks += bool(line.record) and line.record.get("prev") != before
        before = line.hash
        head = (line.number, line.hash) if line.ended else head
        if line.kind is Kind.TORN or is_newer(line.record) or validate(line.record):
            unread.append(line.number)
        else:
            joined.take(line)
    if head != (found.lines, found.head) or breaks != found.counts.get("CHAIN_BREAK", 0):
        raise CustodyError(
            "the log changed between its verification and the report", hint="make the report again"
        )
    return _view(joined, found, tuple(unread), enclosures)


def _view(joined: Joined, found: Verification, unread: tuple[int, ...], enclosures: Enclosures) -> CaseView:
    acts = joined.acts()
    opened = acts[0] if acts and acts[0].type in OPENING_TYPES else None
    enclosed = tuple(
        _enclosed(act, enclosures) for act in acts if act.type in ("note.added", "enclosure.added")
    )
    return CaseView(
        log=found.log or "",
        lines=found.lines,
        bytes=found.bytes,
        head=found.head,
        first=found.first or "",
        last=found.last or "",
        case=tuple(_case_facts(opened)),
        opened=opened,
        exhibits=tuple(_exhibits(acts, enclosed)),
        acts=tuple(acts),
        sessions=tuple(joined.sessions.values()),
        people=tuple(dict.fromkeys(act.actor for act in acts)),
        enclosed=enclosed,
        corrections=tuple(
            sorted((one for said in joined.corrections.values() for one in said), key=lambda c: c.line)
        ),
        possession=_of(acts, "custody."),
        checkpoints=tuple(_checkpoint(act) for act in _of(acts, "log.checkpointed")),
        stamps=_of(acts, "log.anchored"),
        receipts=_of(acts, "receipt."),
        reviews=_of(acts, "record.reviewed"),
        unread=unread,
        verdict="FAILED" if found.failed else "in order" if found.ok else "cannot tell",
        findings=found.findings,
        counts=found.counts,
        coverage=tuple(_coverage(item) for item in found.coverage),
        proved=found.proved,
        not_proved=found.not_proved,
    )


def _of(acts: Iterable[Act], prefix: str) -> tuple[Act, ...]:
    return tuple(act for act in acts if act.type.startswith(prefix))


def _case_facts(opened: Act | None) -> Iterator[tuple[str, str]]:
    facts = dict(pairs(opened.data)) if opened else {}
    yield from ((key, facts[key]) for key in _FACTS if key in facts)
    yield from ((key, facts[key]) for key in sorted(facts.keys() - set(_FACTS)))


def _enclosed(act: Act, enclosures: Enclosures) -> Enclosed:
    data = act.data
    sha256, name = text(data.get("sha256")), text(data.get("enclosure"))
    note = act.type == "note.added"
    content = enclosures(sha256, name) if note else None
    return Enclosed(
        line=act.line,
        exhibit=act.exhibit,
        kind="note" if note else "enclosure",
        sha256=sha256,
        name=name,
        bytes=number(data.get("bytes")),
        text=content.decode("utf-8", "backslashreplace") if content is not None else "",
        withheld=note and content is None,
        description=text(data.get("description")),
        origin=text(data.get("from")),
        act=act,
    )


def _checkpoint(act: Act) -> Checkpoint:
    data = act.data
    signed = "signature" in data
    return Checkpoint(
        line=act.line,
        n=number(data.get("n")),
        size=number(data.get("size")) or 0,
        bytes=number(data.get("bytes")) or 0,
        head=text(data.get("head")),
        signer=text(data.get("signer")) if signed else "",
        fingerprint=text(data.get("fingerprint")) if signed else "",
        reason=text(data.get("reason")) or act.reason,
        act=act,
    )


def _coverage(item: Covered) -> Coverage:
    """One range of the verifier's, in words."""
    return Coverage(
        item.first,
        item.last,
        signed_by=", ".join(item.signed_by),
        stamped=", ".join(item.stamped),
        receipts=", ".join(f"of lines 1 to {size:,}" for size in item.receipts),
        memory="yes" if item.memory else "",
        vouched=bool(item.receipts) or any(_is_trusted(word) for word in (*item.signed_by, *item.stamped)),
    )


def _is_trusted(said: str) -> bool:
    """Of a signature or time stamp as the verifier names it."""
    return not said.endswith("(self-asserted)")


# -- exhibits --------------------------------------------------------------------------------------


def _exhibits(acts: Sequence[Act], enclosed: Sequence[Enclosed]) -> Iterator[Exhibit]:
    """Exhibits in the order of their lines; one whose addition failed is none."""
    by_name: dict[str, list[Act]] = defaultdict(list)
    for act in acts:
        for name in act.exhibits:
            by_name[name].append(act)
    shown: dict[str, list[Attachment]] = defaultdict(list)
    for one in presences_of(acts):
        shown[one.exhibit].append(one)
    names = set()
    for act in acts:
        if act.type == "evidence.added" and act.exhibit not in names and act.result != "failed":
            names.add(act.exhibit)
            notes = tuple(one for one in enclosed if one.exhibit == act.exhibit)
            yield _exhibit(act, by_name[act.exhibit], tuple(shown[act.exhibit]), notes)


def _exhibit(
    added: Act, acts: Sequence[Act], attachments: tuple[Attachment, ...], notes: tuple[Enclosed, ...]
) -> Exhibit:
    data = added.data
    size = number(data.get("size"))
    reads = [act for act in acts if act.type in READS]
    tables = [table_in(act, size) for act in acts]
    files = data.get("files")
    stated, own = tuple(stated_in(added)), _all(own_in, reads)
    ours = {(one.line, one.algorithm, one.value) for one in stated}
    ours |= {(one.line, one.algorithm, one.value) for one in own}
    return Exhibit(
        name=added.exhibit,
        line=added.line,
        added=added,
        **{key: text(data.get(key)) for key in ("description", "format", "copy_of")},
        size=size,
        files=tuple(_file(item) for item in items(files) or items([data.get("first_file")])),
        files_count=len(files) if isinstance(files, list) else _count(files),
        source=pairs(data.get("source")),
        acquired=pairs(data.get("acquired")),
        acquisition=acquisition_in(acts),
        stated=stated,
        own=own,
        comparisons=tuple(held for act in reads for held in comparisons_in(act, ours)),
        verdicts=_all(verdicts_in, reads),
        tables=tuple(table for table in tables if table is not None),
        read_errors=_all(read_errors_in, reads),
        unlisted=_all(unlisted_in, reads),
        attachments=attachments,
        changes=tuple(act for act in acts if act.type in ("evidence.changed", "evidence.touched")),
        possession=_of(acts, "custody."),
        notes=notes,
        corrections=added.corrections,
    )


def _count(files: Any) -> int:
    """How many entries a list in an enclosure has that is not there."""
    return (number(files.get("count")) or 0) if isinstance(files, dict) else 0


def _all(facts_in: Callable[[Act], Iterator[_Fact]], acts: Sequence[Act]) -> tuple[_Fact, ...]:
    return tuple(fact for act in acts for fact in facts_in(act))


def _file(item: Data) -> File:
    return File(
        path=text(item.get("path")),
        path_b64=text(item.get("path_b64")),
        bytes=number(item.get("bytes")),
        role=text(item.get("role")) or "segment",
        device=text(mapping(item.get("source"))),
    )
