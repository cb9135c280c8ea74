"""What somebody can do to a log, and what must be found: the table of docs/verification-policy.md, row by row.

Every tampering starts from the lines of `usual()`, which this host's memory knows:
1 opened, 2-3 hashed, 4-5 attached, 6-7 mounted, 8-9 unmounted, 10-11 detached, 12 exported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.custody.forge import Forge, chain, changed, encode, line_hash, parse, rechain, recovered, usual

if TYPE_CHECKING:
    from collections.abc import Callable

Lines = list[bytes]


@dataclass(frozen=True)
class Tampering:
    """One row.

    Attributes:
        name: What was done.
        make: From the original lines to the tampered ones.
        alone: What is found with the folder alone, beside the three warnings that every unsigned log has.
        memory: What this host's memory finds in addition.
        stock: Whether stock tools find the same.
    """

    name: str
    make: Callable[[Lines], Lines]
    alone: frozenset[str] = field(default_factory=frozenset)
    memory: frozenset[str] = field(default_factory=frozenset)
    stock: bool = True

    def __str__(self) -> str:
        return self.name.replace(" ", "-").replace(",", "")


def row(
    name: str, make: Callable[[Lines], Lines], alone: str = "", memory: str = "", *, stock: bool = True
) -> Tampering:
    return Tampering(name, make, frozenset(alone.split()), frozenset(memory.split()), stock)


def with_line(lines: Lines, number: int, line: bytes, *, again: bool = False) -> Lines:
    """Replace a line; with `again`, re-chain those after it (which all decode)."""
    kept = [*lines[: number - 1], line]
    later = lines[number:]
    return chain([*kept, *map(parse, later)]) if again else [*kept, *later]


def other_bytes(make: Callable[[bytes], bytes]) -> Callable[[Lines], Lines]:
    """The same record in other bytes at line 3, and everything after it written anew."""
    return lambda lines: with_line(lines, 3, make(lines[2]), again=True)


def edited(lines: Lines) -> Lines:
    return with_line(lines, 3, changed(lines[2], exhibit="EX2"))


def inserted(lines: Lines) -> Lines:
    extra = parse(lines[11]) | {"seq": 8, "prev": line_hash(lines[6]), "time": parse(lines[6])["time"]}
    return [*lines[:7], encode(extra), *lines[7:]]


def shortened_and_grown(lines: Lines) -> Lines:
    kept = rechain([*lines[:5], *lines[7:]])
    extra = parse(kept[-1])
    return chain([*map(parse, kept), extra, extra])


def other_end(lines: Lines) -> Lines:
    last = parse(lines[-1])
    return [*lines[:-1], encode(last | {"data": {"format": "pdf", "recipient": "somebody else"}})]


def written_anew(lines: Lines) -> Lines:
    records = [parse(line) for line in lines]
    for record in records:
        record["actor"] = record["actor"] | {"name": "John Roe"}
    return chain([*records])


def of_other_log(lines: Lines) -> Lines:
    return with_line(lines, 12, changed(lines[11], log=Forge(7).log))


def in_data(line: bytes, text: bytes) -> bytes:
    """Another value in data.seconds of line 3."""
    assert b'"seconds":"1723"' in line
    return line.replace(b'"seconds":"1723"', b'"seconds":' + text)


def unsorted(line: bytes) -> bytes:
    record = parse(line)
    return json.dumps(dict(reversed(record.items())), separators=(",", ":")).encode() + b"\n"


def torn(cut: int, *, sealed: bool, fill: int = 0) -> Callable[[Lines], Lines]:
    """A write of a 13th line that stopped after `cut` bytes, then `fill` NULs; sealed by a log.recovered or not."""

    def make(lines: Lines) -> Lines:
        piece = lines[11][:cut] + b"\0" * fill
        if not sealed:
            return [*lines, piece]
        explained = recovered([piece + b"\n"], 13, parse(lines[11]))
        return chain([*lines, piece + b"\n", explained])

    return make


def joined(change: Callable[[Lines], Lines]) -> Callable[[Lines], Lines]:
    """Line 8 is torn, and the log.recovered after it names line 7; then `change` those before, chained anew among themselves."""

    def make(lines: Lines) -> Lines:
        piece = lines[7][:100] + b"\n"
        template = parse(lines[11]) | {"time": parse(lines[7])["time"]}
        explained = recovered([piece], 8, template, head=line_hash(lines[6]))
        later = chain([*lines[:7], piece, explained, *map(parse, lines[9:])])
        return [*change(lines[:7]), *later[7:]]

    return make


def torn_twice(lines: Lines) -> Lines:
    """The recovery was torn as well; the second one names both."""
    pieces = [lines[11][:100] + b"\n", b'{"actor":{"id":"jane\n']
    return chain([*lines, *pieces, recovered(pieces, 13, parse(lines[11]))])


def torn_and_lied(**lie: object) -> Callable[[Lines], Lines]:
    def make(lines: Lines) -> Lines:
        piece = lines[11][:100] + b"\n"
        record = recovered([piece], 13, parse(lines[11]))
        record["data"]["torn"][0] |= lie
        return chain([*lines, piece, record])

    return make


def garbled_and_explained(lines: Lines) -> Lines:
    """A line in the middle is made to look torn, and a log.recovered is put after it."""
    piece = b"#" * (len(lines[5]) - 1) + b"\n"
    template = parse(lines[11]) | {"time": parse(lines[6])["time"]}
    return chain([*lines[:5], piece, recovered([piece], 6, template), *map(parse, lines[7:])])


def clock(number: int, *, utc: str) -> Callable[[Lines], Lines]:
    def make(lines: Lines) -> Lines:
        records = [parse(line) for line in lines]
        for record in records[number - 1 :]:
            record["time"] = record["time"] | {"utc": utc + record["time"]["utc"][13:]}
        return chain([*records])

    return make


def open_act(lines: Lines) -> Lines:
    return chain([*lines, parse(lines[1]) | {"op": Forge(9).uuid(), "time": parse(lines[11])["time"]}])


def second_outcome(lines: Lines) -> Lines:
    return chain([*lines, parse(lines[2]) | {"time": parse(lines[11])["time"]}])


def second_intent(lines: Lines) -> Lines:
    return chain([*lines, parse(lines[1]) | {"time": parse(lines[11])["time"]}])


def outcome_without_intent(lines: Lines) -> Lines:
    late = parse(lines[2]) | {"op": Forge(9).uuid(), "time": parse(lines[11])["time"]}
    return chain([*lines, late])


def outcome_before_intent(lines: Lines) -> Lines:
    swapped = [parse(line) for line in lines]
    first, second = swapped[5] | {"time": swapped[6]["time"]}, swapped[6] | {"time": swapped[5]["time"]}
    return chain([*swapped[:5], second, first, *swapped[7:]])


NONE = ""
TABLE = [
    row("nothing", lambda lines: lines),
    row("a line edited", edited, "CHAIN_BREAK"),
    row("a line edited and re-chained", lambda lines: rechain(edited(lines)), NONE, "FORK"),
    row("the last line edited", other_end, NONE, "FORK"),
    row("two lines swapped", lambda x: [*x[:10], x[11], x[10]], "CHAIN_BREAK SEQ CLOCK_BACK", "FORK"),
    row("two lines swapped and re-chained", lambda x: rechain([*x[:10], x[11], x[10]]), "CLOCK_BACK", "FORK"),
    row("a line inserted", inserted, "CHAIN_BREAK SEQ", "FORK"),
    row("a line inserted and re-chained", lambda x: rechain(inserted(x)), NONE, "FORK"),
    row("a line doubled", lambda x: [*x, x[11]], "CHAIN_BREAK SEQ"),
    row("two lines taken out", lambda x: [*x[:5], *x[7:]], "CHAIN_BREAK SEQ", "ROLLBACK"),
    row("two lines taken out and re-chained", lambda x: rechain([*x[:5], *x[7:]]), NONE, "ROLLBACK"),
    row("two taken out, re-chained, two added", shortened_and_grown, NONE, "FORK"),
    row("an intent taken out and re-chained", lambda x: rechain([*x[:1], *x[2:]]), "OUTCOME_NO_INTENT OPEN_ATTACHMENT",
        "ROLLBACK"),
    row("an outcome taken out and re-chained", lambda x: rechain([*x[:2], *x[3:]]), "OPEN_INTENT OPEN_ATTACHMENT",
        "ROLLBACK"),
    row("the first line taken out", lambda x: x[1:], "CHAIN_BREAK SEQ", "ROLLBACK"),
    row("the first line taken out and re-chained", lambda x: rechain(x[1:]), "SCHEMA OUTCOME_NO_INTENT OPEN_ATTACHMENT",
        "ROLLBACK", stock=False),
    row("the tail cut off", lambda x: x[:3], NONE, "ROLLBACK"),
    row("the tail cut off in an act", lambda x: x[:10], "OPEN_INTENT OPEN_ATTACHMENT", "ROLLBACK"),
    row("all written anew", written_anew, NONE, "FORK"),
    row("two branches", lambda x: [*other_end(x), *x[12:]], NONE, "FORK"),
    row("a line of another log", of_other_log, "FOREIGN_LOG", "FORK"),
    row("the first line twice", lambda x: chain([*x, parse(x[0]) | {"time": parse(x[11])["time"]}]), "SCHEMA"),
    row("empty line", lambda x: [*x[:5], b"\n", *x[5:]], "BAD_LINE CHAIN_BREAK SEQ", "FORK"),
    # the same record in other bytes
    row("a doubled key", other_bytes(lambda x: x.replace(b'"v":1}', b'"v":1,"v":1}')), "BAD_LINE", "FORK"),
    row("a doubled key, not re-chained", lambda x: with_line(x, 3, x[2].replace(b'"v":1}', b'"v":2,"v":1}')),
        "BAD_LINE CHAIN_BREAK", "FORK"),
    row("other spacing", other_bytes(lambda x: x.replace(b'":', b'": ', 1)), "BAD_LINE", "FORK"),
    row("CRLF", other_bytes(lambda x: x[:-1] + b"\r\n"), "BAD_LINE", "FORK"),
    row("CRLF everywhere", lambda x: [line[:-1] + b"\r\n" for line in x], "BAD_LINE CHAIN_BREAK", "FORK"),
    row("trailing blanks", other_bytes(lambda x: x[:-1] + b"  \n"), "BAD_LINE", "FORK"),
    row("a BOM", lambda x: chain([b"\xef\xbb\xbf" + x[0], *map(parse, x[1:])]), "BAD_LINE", "FORK"),
    row("keys in another order", other_bytes(unsorted), "BAD_LINE", "FORK"),
    row("another escape", other_bytes(lambda x: x.replace(b"EX1", b"\\u0045X1")), "BAD_LINE", "FORK"),
    row("a slash escaped", other_bytes(lambda x: x.replace(b"/evidence", b"\\/evidence")), "BAD_LINE", "FORK"),
    row("raw UTF-8", other_bytes(lambda x: x.replace(b"Doe", b"D\xc3\xb6")), "BAD_LINE", "FORK"),
    row("null", other_bytes(lambda x: in_data(x, b"null")), "BAD_LINE", "FORK"),
    row("a float", other_bytes(lambda x: in_data(x, b"1.5")), "BAD_LINE", "FORK"),
    row("an integer out of range", other_bytes(lambda x: in_data(x, b"9007199254740992")), "BAD_LINE", "FORK"),
    row("a key in capitals", other_bytes(lambda x: in_data(x, b'{"A":1}')), "BAD_LINE", "FORK"),
    row("too deep", other_bytes(lambda x: in_data(x, b"[" * 7 + b"]" * 7)), "BAD_LINE", "FORK"),
    row("no object", lambda x: [*x, b"[1]\n"], "BAD_LINE"),
    row("too long", other_bytes(lambda x: in_data(x, b'"' + b"x" * 65_536 + b'"')), "BAD_LINE OPEN_INTENT", "FORK",
        stock=False),
    # torn writes
    row("a torn tail", torn(300, sealed=False), "TORN_TAIL"),
    row("a torn tail filled with NUL", torn(300, sealed=False, fill=200), "TORN_TAIL"),
    row("a torn tail, sealed", torn(300, sealed=True), "TORN_SEALED"),
    row("a NUL filled tail, sealed", torn(300, sealed=True, fill=200), "TORN_SEALED"),
    row("torn twice, sealed", torn_twice, "TORN_SEALED"),
    row("no line feed at the end", lambda x: [*x[:11], x[11][:-1]], "TORN_TAIL", "ROLLBACK"),
    row("sealed with another digest", torn_and_lied(sha256="0" * 64), "BAD_LINE"),
    row("sealed with another length", torn_and_lied(bytes=99), "BAD_LINE"),
    row("sealed with another line", torn_and_lied(line=12), "BAD_LINE"),
    row("sealed with other bytes", torn_and_lied(base64="AAAA"), "BAD_LINE", stock=False),
    row("torn in the middle, unexplained", lambda x: with_line(x, 6, x[5][:50] + b"\n", again=True),
        "BAD_LINE OUTCOME_NO_INTENT", "FORK"),
    row("garbled, and explained as torn", garbled_and_explained, "TORN_SEALED", "FORK"),
    row("joined across a torn line", joined(lambda x: x), "TORN_SEALED", "FORK"),
    row("edited before a torn line, re-chained up to it", joined(lambda x: rechain(edited(x))),
        "TORN_SEALED CHAIN_BREAK", "FORK"),
    row("explained, but nothing is torn", lambda x: chain([*x, recovered([], 13, parse(x[11]))]), "SCHEMA"),
    row("all torn", lambda _: [b"torn\n"], "BAD_LINE", "NO_HEAD_MEMORY"),
    # acts
    row("an act without its end", open_act, "OPEN_INTENT"),
    row("two outcomes", second_outcome, "SCHEMA"),
    row("two intents", second_intent, "SCHEMA"),
    row("an outcome without its intent", outcome_without_intent, "OUTCOME_NO_INTENT"),
    row("an outcome before its intent", outcome_before_intent, "OUTCOME_NO_INTENT OPEN_INTENT", "FORK"),
    # clocks
    row("the clock set back", clock(6, utc="2026-05-01T08"), "CLOCK_STEP", "FORK", stock=False),
    row("the clock set forward", clock(6, utc="2026-05-01T10"), "CLOCK_STEP", "FORK", stock=False),
]  # fmt: skip


def original() -> Forge:
    """The log that all rows start from."""
    return usual()
