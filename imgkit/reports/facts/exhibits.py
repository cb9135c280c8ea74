"""What a facts sheet says of each exhibit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.facts.sentences import at, correction, count, few, head, say, tool, whole
from imgkit.reports.values import in_words, text
from imgkit.reports.wording import UNSHOWN, compared, guard, part, proof

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.reports.view import Act, Attachment, CaseView, Comparison, Exhibit, OwnDigest

_PROTECTION = {
    "loose": "a file or statement that nothing protects against a change",
    "log": "a line of a custody log",
    "signed": "a signed statement",
}

# Why nothing was compared: a digest may well be stated of what cannot be read.
_UNCOMPARED = {
    "unreadable": "No digest was compared: there were read errors.",
    "no-reference": "Nothing that states a digest was at hand.",
}


def exhibits(case: CaseView) -> Iterator[str]:
    """Exhibit by exhibit: digests, comparisons, read errors, tables, where it was shown."""
    yield from head("Exhibits")
    if not case.exhibits:
        yield "None recorded."
    yield from few([_in_short(exhibit) for exhibit in case.exhibits])
    for exhibit in case.exhibits:
        yield ""
        yield from _exhibit(exhibit)


def _in_short(exhibit: Exhibit) -> Iterator[str]:
    """What the last verification came to, and what was found wrong of it."""
    last = exhibit.verdict
    words = (
        f"last verdict recorded: {last.overall or last.verdict} {at([last.line])}"
        if last
        else "never verified"
    )
    for one in exhibit.faults:
        if last is None or one.line != last.line:
            words += f"; {part(one.of)}: {one.overall or one.verdict} {at([one.line])}"
    for act in exhibit.changes:
        if act.type == "evidence.changed":
            words += f"; FOUND CHANGED {at([act.line])}"
    yield from say(f"{exhibit.name}: {words}")


def _exhibit(exhibit: Exhibit) -> Iterator[str]:
    added = exhibit.added
    yield from say(f"{exhibit.name}: {exhibit.description or 'no description'} {at([added.line])}")
    yield from say(f"Added by {added.actor} on {added.when}, with {tool(added)}. {at(added.lines)}", 1)
    size = f"{exhibit.size:,} bytes" if exhibit.size is not None else "of unknown size"
    yield from say(f"Format {exhibit.format or 'not stated'}; the media is {size}. {at([exhibit.line])}", 1)
    if exhibit.copy_of:
        yield from say(f"It is a working copy of {exhibit.copy_of}. {at([exhibit.line])}", 1)
    for word, facts in (("Source", exhibit.source), ("Acquired", exhibit.acquired)):
        if facts:
            said = ", ".join(f"{key} {value}" for key, value in facts)
            yield from say(f"{word}, as stated: {said}. {at([exhibit.line])}", 1)
    yield from _acquisition(exhibit)
    yield from few([say(f"File {f.path}{_bytes(f.bytes)}. {at([exhibit.line])}", 1) for f in exhibit.files])
    for said_later in exhibit.corrections:
        yield from correction(said_later, 1)
    yield from _digests(exhibit)
    yield from _comparisons(exhibit)
    yield from _read_errors(exhibit)
    yield from _tables(exhibit)
    yield from _attachments(exhibit)
    yield from few([_change(act) for act in exhibit.changes])


def _acquisition(exhibit: Exhibit) -> Iterator[str]:
    """One line a statement: in a row of them one could be made to look like the next."""
    found = exhibit.acquisition
    if found is not None:
        yield from say(f"The container says of its acquisition, which nobody checked: {at([found.line])}", 1)
        yield from few([say(f"{name}: {value}", 2) for name, value in found.facts])


def _bytes(size: int | None) -> str:
    return f", {size:,} bytes" if size is not None else ""


def _digests(exhibit: Exhibit) -> Iterator[str]:
    for said in exhibit.stated:
        yield from say(f"{said.algorithm} of the media, {said.source}: {at([said.line])}", 1)
        yield from whole(said.value)
    found: dict[int, list[OwnDigest]] = {}
    for own in exhibit.own:
        found.setdefault(own.act.line, []).append(own)
    if not found:
        yield "  No digest was computed."
    yield from few([_computed(group) for group in found.values()])


def _computed(group: Sequence[OwnDigest]) -> Iterator[str]:
    first, act = group[0], group[0].act
    place = (
        f", {first.length:,} bytes from byte {first.offset:,}"
        if None not in (first.offset, first.length)
        else ""
    )
    yield from say(
        f"Digests of {part(first.of)}{place}, computed by {act.actor} with {tool(act)}, begun {act.begun}, "
        f"ended {act.when if act.ended else 'at a time not recorded'}"
        f"{f' (recorded late, {act.written})' if act.written else ''}: {at(act.lines)}",
        1,
    )
    for own in group:
        yield from whole(f"{own.algorithm} {own.value}")
    if not first.sound:
        yield from say(
            "They are of no one state: there were read errors, or something changed during the read.", 3
        )


def _comparisons(exhibit: Exhibit) -> Iterator[str]:
    found: dict[int, list[Comparison]] = {}
    for held in exhibit.comparisons:
        found.setdefault(held.act.line, []).append(held)
    verdicts = {one.act.line: one for one in exhibit.verdicts}
    for line in verdicts:
        found.setdefault(line, [])
    groups = []
    for line, group in sorted(found.items()):
        verdict = verdicts.get(line)
        words = f"verdict recorded: {verdict.verdict}" if verdict else "no verdict recorded"
        if verdict and verdict.overall:
            words += f"; of all parts of the run: {verdict.overall}"
        groups.append(_compared(group, words, verdict.act if verdict else group[0].act))
    yield from few(groups)
    if not groups:
        yield "  Nothing was compared."


def _compared(group: Sequence[Comparison], verdict: str, act: Act) -> Iterator[str]:
    of = part(text(act.data.get("of")))
    what = "Reading" if act.type == "evidence.hashed" else "Comparison"
    yield from say(
        f"{what} of {of} by {act.actor} with {tool(act)} on {act.when}, {verdict}. {at(act.lines)}", 1
    )
    for held in group:
        yield from say(f"{held.algorithm} {'equals' if held.matches else 'DIFFERS FROM'} {held.source}", 2)
        yield from whole(f"computed {held.actual}")
        if not held.matches:
            yield from whole(f"stated   {held.expected}")
        if not held.source.startswith("this log, "):
            meaning = _PROTECTION.get(held.protection, "not stated")
            yield from say(f"the source is {meaning}", 3)
    if not group:
        yield from say(_UNCOMPARED.get(text(act.data.get("verdict")), "No comparison is recorded."), 2)


def _read_errors(exhibit: Exhibit) -> Iterator[str]:
    errors = exhibit.unread
    for line, number in exhibit.unlisted:
        yield from say(f"A list of {number:,} ranges that could not be read {UNSHOWN}. {at([line])}", 1)
    if not errors:
        if exhibit.own and not exhibit.unlisted:
            yield "  No read errors are recorded."
        return
    yield f"  {count(len(errors), 'range that could not be read is', 'ranges that could not be read are')} recorded:"
    yield from few(
        [
            say(
                f"{part(e.of)}: {e.length:,} bytes from byte {e.offset:,} were not read: {e.reason} {at(e.lines)}",
                2,
            )
            for e in errors
        ]
    )


def _tables(exhibit: Exhibit) -> Iterator[str]:
    table = exhibit.table
    if table is None:
        return
    parts = count(len(table.partitions), "partition", "partitions")
    if "partitions" in table.withheld:
        parts = "partitions not listed"
    yield from say(
        f"Partition table {table.scheme}, {parts}, read by {table.act.actor} on {table.act.when}. {at([table.line])}",
        1,
    )
    yield from few(
        [
            say(
                f"Partition {p.number}: {p.length:,} bytes from byte {p.offset:,}, {p.type_name or p.type}"
                f"{f', file system {p.filesystem}' if p.filesystem else ''}",
                2,
            )
            for p in table.partitions
        ]
    )
    for name in table.withheld:
        yield from say(f"The list of {name} {UNSHOWN}.", 2)
    for one in exhibit.otherwise:
        yield from say(f"It came out differently when it was read on {one.act.when}. {at([one.line])}", 2)
    yield from few([say(f"{f.severity} {f.code}: {f.message}", 2) for f in table.findings])


def _attachments(exhibit: Exhibit) -> Iterator[str]:
    yield from few([_shown(item) for item in exhibit.attachments])


def _shown(item: Attachment) -> Iterator[str]:
    begun, ended = item.begun, item.ended
    end = f"{item.ending} on {ended.when} by {ended.actor}" if ended else "its end is not recorded"
    lines = [*begun.lines, *(ended.lines if ended else ())]
    if begun.result == "ok":
        words = (
            f"Shown as {item.kind} {item.device} by {begun.actor} with {tool(begun)} on {begun.when}; {end}."
        )
    else:
        words = f"Begun to be shown as {item.kind} by {begun.actor} with {tool(begun)} on {begun.when}; "
        words += f"what came of it: {begun.result}; {end}."
    yield from say(f"{words} {at(lines)}", 1)
    if answers := proof(item):
        yield from say(f"Read back from the device when it was made: {answers}.", 2)
    if item.guard:
        yield from say(f"Guard: {guard(item)}.", 2)
    if item.compared:
        yield from say(f"Looked at when it ended: {compared(item)}.", 2)
    for words in item.details:
        yield from say(words, 2)
    for mount in item.mounts:
        last = f"unmounted on {mount.ended.when}" if mount.ended else "its unmount is not recorded"
        yield from say(
            f"Mounted at {mount.target} as {mount.filesystem} with {','.join(mount.options)}; {last}. {at([mount.line])}",
            2,
        )


def _change(act: Act) -> Iterator[str]:
    word = "content or size changed" if act.type == "evidence.changed" else "only a time changed"
    yield from say(f"Found on {act.when} by {act.actor}: {word}: {in_words(act.data)} {at(act.lines)}", 1)
