"""Builds custody logs in memory, independent of imgkit's writer, so that each tampering is exact.

Nothing here imports imgkit: the format is written down a second time, from docs/custody-log.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Record = dict[str, Any]
ZEROS = "0" * 64


def encode(record: object) -> bytes:
    """The one encoding of a record, with its LF."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def line_hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def parse(line: bytes) -> Record:
    record: Record = json.loads(line)
    return record


def chain(lines: list[bytes | Record]) -> list[bytes]:
    """Re-chain: dicts get the seq of their place and the hash of the line before; bytes stay as they are."""
    chained: list[bytes] = []
    for number, line in enumerate(lines, 1):
        prev = line_hash(chained[-1]) if chained else ZEROS
        chained.append(line if isinstance(line, bytes) else encode(line | {"seq": number, "prev": prev}))
    return chained


def rechain(lines: list[bytes]) -> list[bytes]:
    """Re-chain lines that all decode, as somebody would who rewrites history."""
    return chain([parse(line) for line in lines])


def changed(line: bytes, **fields: Any) -> bytes:
    """The line with other fields; `prev` and `seq` stay, so the line after it no longer points here."""
    return encode(parse(line) | fields)


def recovered(torn: list[bytes], first: int, template: Record, **more: Any) -> Record:
    """A `log.recovered` that names `torn` (each with its LF), the first of which is line `first`; early ones have no `head`."""
    named = [
        {
            "line": first + index,
            "bytes": len(line),
            "sha256": line_hash(line),
            "base64": base64.b64encode(line[:1024]).decode(),
        }
        for index, line in enumerate(torn)
    ]
    data = {"last_good": first - 1, "torn": named} | more
    return template | {"type": "log.recovered", "phase": "event", "data": data}


class Forge:
    """A log that grows: each record one second after the last, by one examiner on one host.

    Attributes:
        lines: The lines so far, each with its LF.
        log: The log's uuid.
        boot: The boot id that the next record carries.
        utc: Wall clock of the next record.
        boot_us: Boot clock of the next record.
    """

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self.lines: list[bytes] = []
        self.log = self.uuid()
        self.session = self.uuid()
        self.boot = self.uuid()
        self.utc = datetime(2026, 5, 1, 9, 0, tzinfo=UTC)
        self.boot_us = 3_600_000_000
        self.sync = "ok"

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def hex(self) -> str:
        return self._random.randbytes(32).hex()

    @property
    def text(self) -> bytes:
        return b"".join(self.lines)

    def pass_time(self, seconds: float, *, boot: float | None = None) -> None:
        """Let the wall clock and the boot clock run on; by different amounts where `boot` is given."""
        self.utc += timedelta(seconds=seconds)
        self.boot_us += round((seconds if boot is None else boot) * 1_000_000)

    def reboot(self, seconds: float = 60) -> None:
        self.boot = self.uuid()
        self.utc += timedelta(seconds=seconds)
        self.boot_us = 30_000_000

    def record(self, type_: str, phase: str, data: Record | None = None, **fields: Any) -> Record:
        """The next record, not appended."""
        stamp = {
            "utc": self.utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "tz": "+02:00",
            "boot_us": self.boot_us,
            "boot_id": self.boot,
            "sync": self.sync,
        }
        record: Record = {
            "v": 1,
            "log": self.log,
            "seq": len(self.lines) + 1,
            "prev": line_hash(self.lines[-1]) if self.lines else ZEROS,
            "type": type_,
            "phase": phase,
            "time": stamp,
            "session": self.session,
            "actor": {"name": "Jane Doe", "id": "jane@lab", "role": "examiner", "org": "Example Lab"},
            "data": {} if data is None else data,
        }
        return record | fields

    def append(self, record: Record) -> bytes:
        self.lines.append(encode(record))
        self.pass_time(1)
        return self.lines[-1]

    def open(self, data: Record | None = None) -> bytes:
        tool = {"name": "imgkit", "version": "0.1.0", "record_sha256": self.hex()}
        env: Record = {"tool": tool, "host": "bench", "python": "3.11.2", "kernel": "6.12.0"}
        env |= {"pid": 4711, "uid": 1000, "euid": 0}
        env["argv"] = ["imgkit", "case", "new", "case"]
        facts = {"number": "2026-0142", "title": "Example"} if data is None else data
        return self.append(self.record("case.opened", "event", facts, env=env))

    def intent(self, type_: str, data: Record | None = None, **fields: Any) -> str:
        op = self.uuid()
        self.append(self.record(type_, "intent", data, **({"op": op, "exhibit": "EX1"} | fields)))
        return op

    def outcome(
        self, op: str, type_: str, data: Record | None = None, result: str = "ok", **fields: Any
    ) -> bytes:
        joined = {"op": op, "result": result, "exhibit": "EX1"} | fields
        return self.append(self.record(type_, "outcome", data, **joined))

    def event(self, type_: str, data: Record | None = None, **fields: Any) -> bytes:
        return self.append(self.record(type_, "event", data, **fields))

    def act(self, type_: str, asked: Record | None = None, done: Record | None = None, **fields: Any) -> None:
        """An intent and its outcome."""
        self.outcome(self.intent(type_, asked, **fields), type_, done, **fields)

    def attach(self, device: str = "/dev/loop3", diskseq: int = 12) -> int:
        """An attachment; returns the line of its intent, which is what ends it."""
        line = len(self.lines) + 1
        facts: Record = {"device": device, "offset": 1048576, "length": 8388608, "diskseq": diskseq}
        self.act("evidence.attached", {"offset": 1048576, "length": 8388608}, facts)
        return line

    def detach(self, line: int, device: str = "/dev/loop3") -> None:
        facts = {"device": device, "attached_line": line}
        self.act("evidence.detached", facts, facts)

    def hash_act(self) -> None:
        """What a hash of an image leaves: an intent and an outcome of usual length."""
        path = "/evidence/2026-0142/laptop-ssd.dd"
        digests = {"sha256": self.hex(), "blake3": self.hex()}
        stat = {"bytes": 512110190592, "dev": "2049", "ino": "1311768467", "mtime": "1777619000123456789"}
        asked = {"of": "media", "path": path, "algorithms": ["sha256", "blake3"]}
        done = {"of": "media", "path": path, "digests": digests, "before": stat, "after": stat}
        self.act("evidence.hashed", asked, done | {"read_errors": {"count": 0}, "seconds": "1723"})


def usual(seed: int = 1) -> Forge:
    """A small log in which nothing is wrong: opened, hashed, attached, mounted, taken down, a note."""
    forge = Forge(seed)
    forge.open()
    forge.hash_act()
    line = forge.attach()
    mount = {"source": "/dev/loop3", "target": "/run/imgkit/EX1/p1", "filesystem": "ext4"}
    forge.act("evidence.mounted", mount, mount | {"options": ["ro", "noload"]})
    forge.act("evidence.unmounted", mount, mount)
    forge.detach(line)
    forge.event("case.exported", {"format": "html", "recipient": "\u00e9tude no 7 \U0001f4be"})
    return forge


def long(records: int, seed: int = 1) -> Forge:
    """A log of at least `records` lines of usual length."""
    forge = Forge(seed)
    forge.open()
    while len(forge.lines) < records:
        forge.hash_act()
    return forge


NOTE = b"the seal was broken when it came\n"
SHA = hashlib.sha256(NOTE).hexdigest()


def case(folder: Path) -> Forge:
    """A case folder with a note, and a long list that a record names."""
    forge = usual()
    forge.event("note.added", {"sha256": SHA, "bytes": len(NOTE), "enclosure": f"{SHA}.txt"})
    listed = hashlib.sha256(b"[]\n").hexdigest()
    named = {"count": 1000, "sha256": listed, "enclosure": f"{listed}.json"}
    op = forge.intent("evidence.inspected")
    data = {"scheme": "gpt", "partitions": named, "findings": [{"deep": [named]}]}
    forge.outcome(op, "evidence.inspected", data)
    for name in ("enclosures", "checkpoints", "receipts"):
        (folder / name).mkdir()
    (folder / "custody.jsonl").write_bytes(forge.text)
    (folder / "enclosures" / f"{SHA}.txt").write_bytes(NOTE)
    (folder / "enclosures" / f"{listed}.json").write_bytes(b"[]\n")
    return forge
