"""Cases for reports: one with everything in it, one whose every text is hostile; and the view of a folder."""

from __future__ import annotations

import base64
import hashlib
import io
from importlib import import_module
from typing import TYPE_CHECKING, Any

from imgkit.custody.verify import verify_log
from imgkit.custody.verify.lines import read_lines
from imgkit.reports.folding import case_view
from tests.custody.forge import Forge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgkit.reports.view import CaseView

Record = dict[str, Any]

MD5 = "daa1f6d54f351fd59bf338ab210808ad"
SHA256 = "746179d29da3028042244e90c5d1eb3e79a9eda89c4886496e8546d3cb089620"
OTHER = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
BLAKE3 = "6ac589cb45795b5e03051c8f4f4a4c962ba8d490bbee0936e8727229651c9073"
FORMULA = "=cmd|'/c calc'!A1"
HOSTILE = (
    FORMULA,
    "two\nlines\r\nand a third",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe",
    "<script>alert(1)</script>",
    "nul\x00 and c1 \x9b and line \u2028 end \ufeff",
    "a;=1+1",
    '",=1+1,"',
    "@SUM(1)",
    "\t=1+1",
    "00042",
    "12345678901234567890",
    "x" * 20_000,
)
ACQUISITION: Record = {
    "case_number": "C-7",
    "examiner": "Jane Doe",
    "acquired_date": "2026 4 30 10 0 0",
    "acquired_epoch": "1777543200",
    "password": False,
    "errors": {"count": 2, "bytes": 4608},
    "other": [{"field": "srce.ev", "value": "item 1"}],
    "differences": [{"field": "examiner", "section": "header", "value": "John Roe"}],
    "problems": ["the header section states no code page and is no ASCII: read as Windows-1252"],
    "cut": [{"field": "notes", "characters": 9000, "sha256": OTHER}],
    "left_out": 3,
    "of_a_newer_version": "still shown",
}
BOB = {"name": "Bob Roe", "id": "bob@lab"}
JANE = {"name": "Jane Doe", "id": "jane@lab"}


class Case:
    """A case folder that is forged record by record.

    Attributes:
        forge: The log.
        folder: Where save() writes it.
    """

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.forge = Forge(seed)
        self.folder = folder
        (folder / "enclosures").mkdir(parents=True)

    def enclose(self, content: bytes, extension: str) -> Record:
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"{sha256}.{extension}"
        (self.folder / "enclosures" / name).write_bytes(content)
        return {"sha256": sha256, "bytes": len(content), "enclosure": name}

    def save(self) -> CaseView:
        (self.folder / "custody.jsonl").write_bytes(self.forge.text)
        return view_of(self.folder)


def view_of(folder: Path) -> CaseView:
    found = verify_log(folder)

    def enclosure(sha256: str, name: str) -> bytes | None:
        path = folder / "enclosures" / name.rpartition("/")[2]
        content = path.read_bytes() if path.is_file() else b""
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    with (folder / "custody.jsonl").open("rb") as file:
        return case_view(read_lines(file, found.bytes), found, enclosures=enclosure)


def made(name: str, case: CaseView) -> bytes:
    """The report of that module of imgkit.reports."""
    out = io.BytesIO()
    import_module(f"imgkit.reports.{name}").write(case, out)
    return out.getvalue()


def added(path: str = "/evidence/laptop.dd", **facts: Any) -> Record:
    return {"files": [{"path": path, "bytes": 4194304}], "format": "raw", "size": 4194304} | facts


def full(folder: Path) -> CaseView:
    """One of everything; line numbers are told by the tests that need them."""
    case = Case(folder)
    forge = case.forge
    forge.open({"number": "2026-01", "title": "Laptop", "agency": "Example Lab", "authority": "warrant 7"})
    facts = added(
        description="laptop, desk 4",
        source={"make": "Samsung", "model": "MZ7", "serial": "0042"},
        acquired={"by": "Jane Doe", "when": "2026-04-30", "tool": "imager 4"},
        stated=[{"digest": f"sha256:{SHA256}", "source": "stated when it was added"}],
        stored_digests={"md5": MD5},
        acquisition=ACQUISITION,
    )
    forge.act("evidence.added", facts, facts)
    _reads(forge)
    _shows(forge)
    note = case.enclose(b"seal 4711 intact\n", "txt")
    forge.event("note.added", note, exhibit="EX1")
    forge.event("enclosure.added", case.enclose(b"\x89PNG", "png") | {"from": "/home/jane/photo.png"})
    correction = {"line": 2, "field": "data.description", "was": "laptop, desk 4", "now": "laptop, desk 5"}
    forge.event("correction.added", correction | {"why": "misread"}, exhibit="EX1")
    _people(forge)
    return case.save()


def _reads(forge: Forge) -> None:
    asked = {"of": "media", "offset": 0, "length": 4194304}
    own = {"digests": {"sha256": SHA256, "blake3": BLAKE3}, "read_errors": []}
    forge.act("evidence.hashed", asked, asked | own)  # lines 4, 5
    stated = {"kind": "custody", "path": "/cases/1/custody.jsonl", "line": 2, "protection": "log"}
    beside = {"kind": "sidecar", "path": "/evidence/laptop.md5", "protection": "loose"}
    comparisons = [
        {"algorithm": "sha256", "expected": SHA256, "actual": SHA256, "matches": True, "source": stated},
        {"algorithm": "md5", "expected": "0" * 32, "actual": MD5, "matches": False, "source": beside},
    ]
    verified = asked | {"digests": {"sha256": SHA256, "md5": MD5}, "comparisons": comparisons}
    verified |= {"verdict": "mismatch", "overall": "mismatch"}
    verified["read_errors"] = [{"offset": 512, "length": 4096, "reason": "input/output error"}]
    forge.act("evidence.verified", asked, verified)  # lines 6, 7
    table = {
        "what": "partitions",
        "scheme": "gpt",
        "sector_size": 512,
        "partitions": [
            {
                "number": 1,
                "offset": 1048576,
                "length": 1048576,
                "type": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
                "name": "linux data",
                "filesystem": {
                    "type": "ext4",
                    "label": "DATA",
                    "uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f",
                },
            }
        ],
        "gaps": [{"offset": 0, "length": 1048576}],
        "findings": [
            {"code": "gpt.header-crc", "severity": "error", "message": "the backup header is damaged"}
        ],
        "readers": {"imgkit": "0.1.0"},
    }
    forge.act("evidence.inspected", {"what": "partitions"}, table)  # lines 8, 9


def _shows(forge: Forge) -> None:
    line = forge.attach()  # lines 10, 11
    mount = {
        "source": "/dev/loop3",
        "target": "/run/imgkit/EX1/p1",
        "filesystem": "ext4",
        "attached_line": line,
    }
    forge.act("evidence.mounted", mount, mount | {"options": ["ro", "noload"], "driver": "ext4"})  # 12, 13
    forge.act("evidence.unmounted", mount, mount)
    forge.detach(line)  # 16, 17
    failed = forge.intent("evidence.hashed", {"of": "media"})
    error = {"class": "ImageError", "text": "segment 3 is missing"}
    forge.outcome(failed, "evidence.hashed", {"of": "media"}, result="failed", error=error)  # 18, 19


def _people(forge: Forge) -> None:
    step = {"from": JANE, "to": BOB, "purpose": "second opinion", "place": "lab 2", "rehashed": False}
    step |= {"exhibits": [{"exhibit": "EX1", "digests": {"sha256": SHA256}}], "seals": ["4711"]}
    forge.event("custody.transferred", step)  # 23
    checkpoint = {
        "n": 1,
        "size": 23,
        "bytes": 9,
        "head": "0" * 64,
        "signer": "jane@lab",
        "signature": "0" * 64,
    }
    forge.event("log.checkpointed", checkpoint)
    forge.event("receipt.given", {"receipt": "imgkit-receipt-1 x"})
    forge.event("record.reviewed", {"first": 1, "last": 23}, actor=BOB)
    when = {"utc": "2026-05-01T08:59:00.000000Z", "tz": "+02:00", "boot_us": 1, "boot_id": "b", "sync": "ok"}
    forge.event("evidence.touched", {"details": ["mtime of laptop.dd"], "at": when}, exhibit="EX1", late=True)
    forge.intent("evidence.attached", {"offset": 0})  # open
    forge.event("case.sealed", {"note": "done"})


def hostile(folder: Path, texts: Sequence[str] = HOSTILE) -> CaseView:
    """Every text that a report can show is each of the texts in turn, and some paths are no text."""
    case = Case(folder)
    forge = case.forge
    forge.open({"number": HOSTILE[0], "title": HOSTILE[1], "agency": HOSTILE[4], "authority": HOSTILE[3]})
    for number, text in enumerate(texts, 1):
        name = f"EX{number}" if number % 2 else text[:200]
        _hostile_exhibit(case, name, text)
        actor = {"name": text[:200], "id": text[:200], "role": text[:200], "org": text[:200]}
        forge.event("record.reviewed", {"note": text}, actor=actor, reason=text, place=text, authority=text)
    raw = b"/e/\xff\x1b.dd"
    escaped = {"path": "/e/\\xff\\x1b.dd", "path_b64": base64.b64encode(raw).decode(), "bytes": 5}
    forge.act("evidence.added", {"files": [escaped]}, {"files": [escaped]}, exhibit="EX99")
    return case.save()


def _hostile_exhibit(case: Case, name: str, text: str) -> None:
    forge = case.forge
    facts = added(text, description=text, source={"make": text, "serial": text})
    facts |= {"stated": [{"digest": f"sha256:{text}", "source": text}], "acquired": {"by": text}}
    listed = [{"field": text, "section": text, "value": text}]
    facts["acquisition"] = {"examiner": text, "acquired_epoch": text, "other": listed, "differences": listed}
    facts["acquisition"] |= {
        "errors": {"count": text},
        "problems": [text, 7],
        "cut": listed,
        "left_out": text,
    }
    forge.append(forge.record("evidence.added", "event", {}) | _act(forge, "evidence.added", facts, name))
    forge.act("evidence.added", facts, facts, exhibit=name)
    source = {"kind": "sidecar", "path": text, "protection": text}
    compared = {"algorithm": text, "expected": text, "actual": text, "matches": True, "source": source}
    read = {"of": text, "digests": {"sha256": text, "odd": text}, "comparisons": [compared], "verdict": text}
    read["read_errors"] = [{"offset": 0, "length": 1, "reason": text}]
    forge.act("evidence.verified", {}, read, exhibit=name)
    part = {"number": 1, "offset": 0, "length": 1, "type": text, "name": text, "filesystem": {"type": text}}
    table = {"scheme": text, "partitions": [part], "findings": [{"code": text, "message": text}]}
    forge.act("evidence.inspected", {}, table, exhibit=name)
    forge.event("note.added", case.enclose(text.encode(), "txt"), exhibit=name)
    forge.event("custody.stored", {"place": text, "condition": text, "seals": [text]}, exhibit=name)
    failed = forge.intent("evidence.hashed", {"of": text}, exhibit=name)
    error = {"class": text, "text": text}
    forge.outcome(failed, "evidence.hashed", {}, result="failed", exhibit=name, error=error)


def _act(forge: Forge, kind: str, facts: Record, name: str) -> Record:
    """An intent that nothing closes."""
    return {"type": kind, "phase": "intent", "op": forge.uuid(), "data": facts, "exhibit": f"open {name}"}


def many(folder: Path, lines: int) -> CaseView:
    """One exhibit that was hashed and attached over and over."""
    case = Case(folder)
    case.forge.open()
    case.forge.act("evidence.added", added(), added())
    while len(case.forge.lines) < lines:
        case.forge.hash_act()
        case.forge.detach(case.forge.attach())
    return case.save()
