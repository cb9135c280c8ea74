"""The tamper table of docs/verification-policy.md on a case with checkpoints, row by row and column by column: exact codes.

Beside each cell stands verify.sh, given the same lists, roots and receipts.
"""

from __future__ import annotations

import copy
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import imgkit.custody
from imgkit.custody.state import Head
from imgkit.custody.verify import CODES, Severity, verify_log
from tests.custody.forge import changed, encode, line_hash, parse
from tests.custody.verify.sealed import Authority, Key, Sealed, rechained, sealed

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(imgkit.custody.__file__).parent / "verify.sh"
COLUMNS = ("unsigned", "signed", "stamped", "receipted", "memory")
BASE = {
    "unsigned": "UNSIGNED_CHECKPOINT UNSIGNED_TAIL TIMESTAMP_MISSING NO_RECEIPT NO_HEAD_MEMORY",
    "signed": "TIMESTAMP_MISSING NO_RECEIPT NO_HEAD_MEMORY",
    "stamped": "NO_RECEIPT NO_HEAD_MEMORY",
    "receipted": "TIMESTAMP_MISSING NO_HEAD_MEMORY",
    "memory": "TIMESTAMP_MISSING NO_RECEIPT",
}
# What follows where the last checkpoint vouches for nothing any more.
LOST = dict.fromkeys(COLUMNS, "UNSIGNED_TAIL") | {"stamped": "UNSIGNED_TAIL TIMESTAMP_MISSING"}
# What stock tools do not see: this host's memory, roots of trees, clocks.
OURS_ALONE = {"NO_HEAD_MEMORY", "ROLLBACK", "FORK", "MERKLE", "CLOCK_STEP", "CLOCK_BACK"}


@dataclass(frozen=True)
class Tools:
    """What somebody has who tampers: the examiner's key, another, an authority that stamps whatever it gets."""

    jane: Key
    mallory: Key
    authority: Authority


@dataclass(frozen=True)
class Row:
    """One tampering.

    Attributes:
        name: What was done.
        make: Does it.
        folder: What the folder alone shows in every column.
        receipt, memory: What a receipt, or this host's memory, shows in addition.
        more: What single columns show in addition.
        lost: Whether the last checkpoint vouches for nothing any more.
        tail: Whether only its signature is gone, and its stamp stands.
        skip: Columns in which there is no such thing.
        honest: Whether nobody tampers: receipt and memory are of what was made.
    """

    name: str
    make: Callable[[Sealed, Tools], Sealed]
    folder: str = ""
    receipt: str = ""
    memory: str = ""
    more: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    tail: bool = False
    skip: tuple[str, ...] = ()
    honest: bool = False

    def __str__(self) -> str:
        return self.name.replace(" ", "-").replace(",", "")

    def codes(self, column: str) -> set[str]:
        found = set((BASE[column] + " " + self.folder + " " + self.more.get(column, "")).split())
        found |= set(self.receipt.split()) if column == "receipted" else set()
        found |= set(self.memory.split()) if column == "memory" else set()
        found |= set(LOST[column].split()) if self.lost else set()
        return found | ({"UNSIGNED_TAIL"} if self.tail else set())


def line_of(case: Sealed, kind: str, phase: str, which: int = 0) -> int:
    """Index of a line by type and phase."""
    there = [
        i for i, line in enumerate(case.lines) if (parse(line)["type"], parse(line)["phase"]) == (kind, phase)
    ]
    return there[which]


def edit(case: Sealed) -> Sealed:
    at = line_of(case, "evidence.hashed", "outcome")
    case.lines[at] = changed(case.lines[at], exhibit="EX2")
    return case


def swap(case: Sealed) -> Sealed:
    at = line_of(case, "case.exported", "event")
    case.lines[at - 1 : at + 1] = [case.lines[at], case.lines[at - 1]]
    return case


def insert(case: Sealed) -> Sealed:
    at = line_of(case, "case.exported", "event")
    extra = parse(case.lines[at]) | {"seq": at + 1, "prev": line_hash(case.lines[at - 1])}
    extra["time"] = parse(case.lines[at - 1])["time"]
    case.lines.insert(at, encode(extra))
    return case


def delete(case: Sealed) -> Sealed:
    at = line_of(case, "evidence.hashed", "intent")
    case.lines = rechained([*case.lines[:at], *case.lines[at + 2 :]])
    return case


def cut(case: Sealed, *, kind: str = "case.exported", last: int = 0) -> Sealed:
    case.lines = case.lines[: line_of(case, kind, "event", last)]
    return case


def drop(case: Sealed, *starts: str) -> Sealed:
    case.files = {name: data for name, data in case.files.items() if not name.startswith(starts)}
    return case


def again(case: Sealed) -> Sealed:
    case.lines = rechained(case.lines)
    return case


def at_other_time(record: dict[str, Any]) -> dict[str, Any]:
    then = datetime.fromisoformat(record["time"]["utc"]) - timedelta(days=3)
    return record | {"time": record["time"] | {"utc": then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}


def rewrite(case: Sealed, key: Key | None, tools: Tools) -> Sealed:
    """All of it written anew, days later, with the times of then."""

    def other(records: list[Any]) -> list[Any]:
        return [
            at_other_time(record | {"actor": record["actor"] | {"name": "John Roe"}}) for record in records
        ]

    return case.redo(other, key=key, tsa=tools.authority if case.tsa else None)


def branch(case: Sealed) -> Sealed:
    at = line_of(case, "case.exported", "event")
    case.lines = case.lines[:at]
    drop(case, "000002")
    case.forge.event("case.exported", {"format": "pdf", "recipient": "somebody else"})
    case.checkpoint()
    return case


def other_bytes(case: Sealed, old: bytes, new: bytes) -> Sealed:
    at = line_of(case, "evidence.hashed", "outcome")
    later = [parse(line) for line in case.lines[at + 1 :]]
    case.lines[at] = case.lines[at].replace(old, new, 1)
    case.lines = case.lines[: at + 1]
    for record in later:
        case.lines.append(encode(record | {"prev": line_hash(case.lines[-1])}))
    return case


def every_line(case: Sealed, old: bytes, new: bytes) -> Sealed:
    case.lines = [line.replace(old, new) for line in case.lines]
    return case


def bom(case: Sealed) -> Sealed:
    case.lines[0] = b"\xef\xbb\xbf" + case.lines[0]
    return case


def clock_back(case: Sealed) -> Sealed:
    case.forge.pass_time(-3600, boot=1)
    case.forge.event("case.exported", {"format": "html"})
    case.checkpoint()
    return case


def in_file(case: Sealed, name: str, old: bytes, new: bytes) -> Sealed:
    assert old in case.files[name]
    case.files[name] = case.files[name].replace(old, new)
    return case


def more(case: Sealed, name: str) -> Sealed:
    case.files[name] = b"x"
    return case


def wrong_root(case: Sealed) -> Sealed:
    case.forge.event("case.exported", {"format": "html"})
    case.checkpoint(merkle="5" * 64)
    return case


def lying(made: Sealed, **said: Any) -> Sealed:
    made.forge.event("case.exported", {"format": "html"})
    made.checkpoint(**said)
    return made


ALL_SIGNED = ("signed", "stamped", "receipted", "memory")


def signed_also(codes: str, **others: str) -> dict[str, str]:
    return dict.fromkeys(ALL_SIGNED, codes) | others


ROWS = [
    Row("nothing", lambda case, _: case),
    Row("a line edited", lambda case, _: edit(case), "CHAIN_BREAK FORKED", lost=True),
    Row("a line edited and re-chained", lambda case, _: again(edit(case)), "FORKED", "", "FORK", lost=True),
    Row("two lines swapped", lambda case, _: swap(case), "CHAIN_BREAK SEQ CLOCK_BACK FORKED", lost=True),
    Row("a line inserted", lambda case, _: insert(case), "CHAIN_BREAK SEQ FORKED", "", "FORK", lost=True),
    Row("taken out in the middle, re-chained", lambda case, _: delete(case), "FORKED TRUNCATED", "", "ROLLBACK", lost=True),
    Row("the tail cut, checkpoints kept", lambda case, _: cut(case), "TRUNCATED", "", "ROLLBACK", lost=True),
    Row("the line of the last checkpoint cut", lambda case, _: cut(case, kind="log.checkpointed", last=1), "TRUNCATED", "",
        "ROLLBACK"),
    Row("the tail and its checkpoints cut", lambda case, _: drop(cut(case), "000002"), "", "TRUNCATED", "ROLLBACK", tail=True),
    Row("all written anew, same key", lambda case, tools: rewrite(case, case.key and tools.jane, tools), "", "FORKED", "FORK",
        {"stamped": "TIMESTAMP_LATE CLOCK_BACK"}),
    Row("all written anew, another key", lambda case, tools: rewrite(case, tools.mallory, tools), "BAD_SIGNATURE", "FORKED",
        "FORK", {"stamped": "TIMESTAMP_LATE CLOCK_BACK"}, tail=True, skip=("unsigned",)),
    Row("two branches", lambda case, _: branch(case), "", "FORKED", "FORK"),
    Row("a doubled key", lambda case, _: other_bytes(case, b'"v":1}', b'"v":1,"v":1}'), "BAD_LINE FORKED", "", "FORK", lost=True),
    Row("other spacing", lambda case, _: other_bytes(case, b'":', b'": '), "BAD_LINE FORKED", "", "FORK", lost=True),
    Row("trailing blanks", lambda case, _: other_bytes(case, b"\n", b"  \n"), "BAD_LINE FORKED", "", "FORK", lost=True),
    Row("CRLF", lambda case, _: every_line(case, b"\n", b"\r\n"), "BAD_LINE CHAIN_BREAK FORKED", "", "FORK", lost=True),
    Row("a BOM", lambda case, _: bom(case), "BAD_LINE CHAIN_BREAK FORKED", "", "FORK", lost=True),
    Row("the clock set back", lambda case, _: clock_back(case), "CLOCK_STEP", more={"stamped": "CLOCK_BACK"}, honest=True),
    Row("a checkpoint removed", lambda case, _: drop(case, "000001"), "CHECKPOINT_CHAIN"),
    Row("the last checkpoint removed", lambda case, _: drop(case, "000002"), "CHECKPOINT_CHAIN", lost=True),
    Row("a root that is another", lambda case, _: wrong_root(case), "MERKLE", honest=True, lost=True),
    Row("a checkpoint that lies of the head", lambda case, _: lying(case, head="5" * 64), "FORKED", honest=True, lost=True),
    Row("a checkpoint of more lines than there were", lambda case, _: lying(case, size=90), "TRUNCATED", honest=True, lost=True),
    Row("a checkpoint that follows another", lambda case, _: lying(case, prev="5" * 64), "CHECKPOINT_CHAIN", honest=True),
    Row("a number left out", lambda case, _: lying(case, n=4), "CHECKPOINT_CHAIN", honest=True),
    Row("a checkpoint of another case", lambda case, _: lying(case, case="2026-0143"), "CHECKPOINT_CHAIN", honest=True,
        lost=True),
    Row("a body edited", lambda case, _: in_file(case, "000001.txt", b"transfer", b"transfes"), "CHECKPOINT_CHAIN SUMS", "", "",
        signed_also("BAD_SIGNATURE")),
    Row("a body with CRLF", lambda case, _: in_file(case, "000001.txt", b"\n", b"\r\n"), "CHECKPOINT_CHAIN SUMS"),
    Row("sums edited", lambda case, _: in_file(case, "000001.sums", b"000001", b"000002"), "SUMS", "", "",
        {"stamped": "BAD_TIMESTAMP"}),
    Row("a signature removed", lambda case, _: drop(case, "000001.txt.sig"), "CHECKPOINT_CHAIN SUMS", skip=("unsigned",)),
    Row("a file added", lambda case, _: more(case, "notes.txt"), "EXTRA_FILE"),
    Row("sums without a checkpoint", lambda case, _: more(case, "000003.sums"), "EXTRA_FILE"),
    Row("a checkpoint with another name", lambda case, _: more(case, "1.txt"), "EXTRA_FILE"),
    Row("a reply that no line names", lambda case, _: more(case, "000002.sums.other.tsr"), "EXTRA_FILE BAD_TIMESTAMP"),
    Row("a checkpoint that no line records", lambda case, _: more(case, "000003.txt"), "CHECKPOINT_CHAIN TRUNCATED", "", "",
        signed_also("UNSIGNED_CHECKPOINT")),
]  # fmt: skip


class Remembers:
    """This host's memory of a log's end."""

    def __init__(self, lines: list[bytes]) -> None:
        size = sum(map(len, lines))
        log = parse(lines[0])["log"]
        self._head = Head(log, "/case/custody.jsonl", len(lines), size, line_hash(lines[-1]), len(lines[-1]))

    def head(self, log: str) -> Head | None:
        return self._head if log == self._head.log else None


@pytest.fixture(scope="module")
def tools(jane: Key, mallory: Key, authority: Authority) -> Tools:
    return Tools(jane, mallory, authority)


@pytest.fixture(scope="module")
def originals(tools: Tools) -> dict[str, Sealed]:
    """The case of each column, untouched."""
    signed = sealed(tools.jane)
    return dict.fromkeys(COLUMNS, signed) | {
        "unsigned": sealed(),
        "stamped": sealed(tools.jane, tools.authority),
    }


def stock(folder: Path, *options: str) -> tuple[int, set[str], str]:
    """Exit code of verify.sh, and the codes it names."""
    ran = subprocess.run(["sh", SCRIPT, *options, folder], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    words = [line.replace(":", " ").split() for line in ran.stdout.splitlines()]
    return ran.returncode, {word[1] for word in words if word[0] in ("FAIL", "WARN", "INFO")}, ran.stdout


@dataclass(frozen=True)
class Office:
    """Where it is verified: the cases untouched, and what the verifier brings."""

    originals: dict[str, Sealed]
    tools: Tools
    signers: Path

    def outside(self, column: str, known: Sealed) -> dict[str, Any]:
        """What verify_log is given in a column."""
        given: dict[str, Any] = {} if column == "unsigned" else {"signers": self.signers}
        given |= {"tsa_roots": self.tools.authority.roots} if column == "stamped" else {}
        given |= {"receipts": [known.receipt()]} if column == "receipted" else {}
        return given | ({"state": Remembers(known.lines)} if column == "memory" else {})


@pytest.fixture(scope="module")
def office(originals: dict[str, Sealed], tools: Tools, signers: Path) -> Office:
    return Office(originals, tools, signers)


def options(outside: dict[str, Any]) -> list[str]:
    """The same for verify.sh."""
    words = []
    for key, letter in (("signers", "-s"), ("tsa_roots", "-t")):
        words += [letter, str(outside[key])] if key in outside else []
    return words + [word for text in outside.get("receipts", ()) for word in ("-k", text)]


# What nobody signed has no signature to tamper with: no cell.
CELLS = [(row, column) for row in ROWS for column in COLUMNS if column not in row.skip]


@pytest.mark.parametrize(("row", "column"), CELLS, ids=str)
def test_cell(row: Row, column: str, office: Office, tmp_path: Path) -> None:
    original = office.originals[column]
    made = row.make(copy.deepcopy(original), office.tools)
    folder = made.write(tmp_path / "case")
    outside = office.outside(column, made if row.honest else original)
    found = verify_log(folder, **outside)
    assert found.codes == row.codes(column), [str(one) for one in found.findings]
    assert found.exit_code == int(any(CODES[code] is Severity.FAIL for code in found.codes))
    if column == "memory":
        return  # stock tools know nothing of it: to them this is the signed case once more
    code, codes, said = stock(folder, *options(outside))
    unseen = set(LOST[column].split()) - set(BASE[column].split()) if "MERKLE" in found.codes else set()
    assert codes == found.codes - OURS_ALONE - unseen, said
    assert code == int(any(CODES[one] is Severity.FAIL for one in codes))
