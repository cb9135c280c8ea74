"""Makes the example case of this folder from docs/custody-log.md alone: nothing of imgkit is imported.

    python docs/examples/make.py FOLDER

Everything but the time stamp comes out the same each time. The stamp that lies here is taken over as it was received; where
it does not fit what is made, a new authority is made up with openssl, and it stamps.
"""

# ruff: noqa: INP001 - a script beside what it makes, no package

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
ZEROS = "0" * 64
SSH_KEYGEN, OPENSSL = "/usr/bin/ssh-keygen", "/usr/bin/openssl"
SEED = hashlib.sha256(b"anybody can have this key: it signs nothing but the example").digest()
PRINCIPAL = "jane.doe@lab.example"
STAMP = "000002.sums.example-tsa.tsr"
MEDIA = b"".join(b"sector %04d of a USB stick that never was\n".ljust(512, b".") % n for n in range(16))
NOTE = b"Seal 4711 was intact when the stick came. A corner of its case is chipped.\n"
JANE = {"id": PRINCIPAL, "name": "Jane Doe", "org": "Example Lab", "role": "examiner"}
JOHN = {"id": "john.roe@defence.example", "name": "John Roe"}
FILE = {
    "bytes": len(MEDIA), "ctime": "1795420800000000000", "dev": "2049", "ino": "131077",
    "mtime": "1795420800000000000", "path": "/evidence/usb-stick.dd",
}  # fmt: skip
Record = dict[str, Any]


def sha256(data: bytes) -> str:
    """In lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def uuid(name: str) -> str:
    """A made-up uuid4, always the same for a name."""
    digits = sha256(name.encode())
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def merkle(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle(leaves[:half]) + merkle(leaves[half:])).digest()


class Case:
    """The case folder while it is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[bytes] = []
        self.time = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
        self.session = ""
        self.prev = ZEROS
        self.last: Record = {}
        for name in ("checkpoints", "enclosures", "receipts"):
            (folder / "case" / name).mkdir(parents=True)

    def put(self, name: str, data: bytes) -> str:
        """Write a file; return its SHA-256."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return sha256(data)

    def add(self, kind: str, phase: str, data: Record, *, after: float = 2, **fields: Any) -> None:
        """Append a record."""
        self.time += timedelta(seconds=after)
        boot = (self.time - datetime(2026, 11, 23, 8, 0, tzinfo=UTC)) // timedelta(microseconds=1)
        stamp = {"boot_id": uuid("boot"), "boot_us": boot, "sync": "ok", "tz": "+01:00"}
        stamp["utc"] = self.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        record = {
            "v": 1, "log": uuid("log"), "seq": len(self.lines) + 1,
            "prev": sha256(self.lines[-1]) if self.lines else ZEROS, "type": kind, "phase": phase, "time": stamp,
            "session": self.session, "actor": JANE, "data": data, **fields,
        }  # fmt: skip
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        self.lines.append(text.encode("ascii") + b"\n")

    def run(self, *words: str) -> Record:
        """Begin a run of the tool; its first record carries what this returns."""
        self.session = uuid(f"session {len(self.lines)}")
        self.time += timedelta(minutes=7)
        env = {"host": "bench", "kernel": "6.12.0", "pid": 4711 + len(self.lines), "python": "3.11.2"}
        tool = {"name": "imgkit", "version": "0.1.0"}
        return {"env": {**env, "argv": ["imgkit", *words], "euid": 1000, "uid": 1000, "tool": tool}}

    def act(self, kind: str, data: Record, done: Record, **first: Any) -> None:
        """An intent, and the outcome some time later."""
        op = uuid(f"op {len(self.lines)}")
        self.add(kind, "intent", data, op=op, exhibit="EX1", **first)
        self.add(kind, "outcome", data | done, op=op, exhibit="EX1", result="ok", after=4)

    def checkpoint(self, n: int, reason: str, **first: Any) -> None:
        """Body, signature and sums of a checkpoint, and its record."""
        text = b"".join(self.lines)
        values = {
            "n": n, "log": uuid("log"), "case": "2026-0142", "size": len(self.lines), "bytes": len(text),
            "head": sha256(self.lines[-1]), "file": sha256(text), "merkle": merkle(self.lines).hex(),
            "prev": self.prev, "time": (self.time + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "signer": PRINCIPAL, "reason": reason,
        }  # fmt: skip
        body = "imgkit-checkpoint/v1\n" + "".join(f"{key}: {value}\n" for key, value in values.items())
        signature, fingerprint = sign(body.encode())
        name = f"case/checkpoints/{n:06}"
        self.prev = self.put(f"{name}.txt", body.encode())
        signed = self.put(f"{name}.txt.sig", signature)
        self.put(f"{name}.sums", f"{self.prev}  {n:06}.txt\n{signed}  {n:06}.txt.sig\n".encode())
        told = {
            key: values[key] for key in ("n", "size", "bytes", "head", "file", "merkle", "prev", "signer")
        }
        told |= {"body": self.prev, "signature": signed, "fingerprint": fingerprint, "reason": reason}
        self.add("log.checkpointed", "event", told, **first)
        self.last = values


def sign(body: bytes) -> tuple[bytes, str]:
    """The armoured signature by the key that anybody can have, and the key's fingerprint."""
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        path.touch(0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
        path.with_suffix(".pub").write_text(public_key())
        (Path(folder) / "body").write_bytes(body)
        command: list[str | Path] = [
            SSH_KEYGEN,
            "-Y",
            "sign",
            "-q",
            "-n",
            "custody@imgkit",
            "-f",
            path,
            Path(folder) / "body",
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        shown = subprocess.run([SSH_KEYGEN, "-lf", path.with_suffix(".pub")], check=True, capture_output=True)
        return (Path(folder) / "body.sig").read_bytes(), shown.stdout.decode().split()[1]


def public_key() -> str:
    """The public half, as ssh-keygen writes it."""
    key = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def stamp(sums: bytes) -> tuple[bytes, bytes]:
    """The time stamp over these bytes, and the root of its authority: those that lie here, else new ones."""
    kept = HERE / "case" / "checkpoints" / STAMP
    roots = HERE / "tsa-roots.pem"
    if kept.exists() and hashlib.sha256(sums).digest() in kept.read_bytes():
        return kept.read_bytes(), roots.read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sums").write_bytes(sums)
        (folder / "tsa.cnf").write_text(TSA)
        (folder / "serial").write_text("01\n")
        for words in TSA_STEPS:
            subprocess.run([OPENSSL, *words.split()], cwd=folder, check=True, capture_output=True)
        return (folder / "reply").read_bytes(), (folder / "root.pem").read_bytes()


TSA = """\
[tsa]
default_tsa = stamps
[stamps]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
tsa_name = yes
ess_cert_id_alg = sha256
[stamper]
extendedKeyUsage = critical,timeStamping
"""
TSA_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
TSA_ISSUER = "-CA root.pem -CAkey root.key -CAcreateserial"
TSA_STEPS = (
    f"req -x509 {TSA_KEY} -days 36500 -subj /CN=Example-Root -keyout root.key -out root.pem",
    f"req -new {TSA_KEY} -subj /CN=Example-TSA -keyout tsa.key -out tsa.csr",
    f"x509 -req -in tsa.csr {TSA_ISSUER} -days 36500 -extfile tsa.cnf -extensions stamper -out tsa.pem",
    "ts -query -data sums -sha256 -cert -out query",
    "ts -reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey tsa.key -out reply",
)


def anchored(sums: bytes, reply: bytes) -> Record:
    """What the record of a stamp says."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(reply)
        file.flush()
        shown = subprocess.run(
            [OPENSSL, "ts", "-reply", "-in", file.name, "-text"], check=True, capture_output=True
        ).stdout.decode()
    facts = dict(line.strip().split(": ", 1) for line in shown.splitlines() if ": " in line)
    time = datetime.strptime(facts["Time stamp"], "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    return {
        "n": 2, "tsa": "example-tsa", "time": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "name": "CN=Example-TSA",
        "serial": facts["Serial number"].removeprefix("0x").lower(), "policy": "1.2.3.4.1", "file": STAMP,
        "sha256": sha256(reply), "sums": sha256(sums),
    }  # fmt: skip


def fill(case: Case) -> None:
    """What was done."""
    digests = {"sha256": sha256(MEDIA)}
    image = {"files": [FILE], "format": "raw", "size": len(MEDIA)}
    of = {"files": [FILE], "format": "raw", "of": "media", "offset": 0, "length": len(MEDIA)}
    opened = {"number": "2026-0142", "title": "Example", "agency": "Example Lab"}
    case.add("case.opened", "event", opened, **case.run("case", "new", "case", "--number", "2026-0142"))
    added = image | {"description": "USB stick, red", "source": {"make": "Acme", "serial": "S3Z9NB0K"}}
    case.act("evidence.added", added, {}, **case.run("case", "add", "usb-stick.dd"))
    hashed = {"digests": digests, "read_errors": [], "files_after": [FILE]}
    case.act("evidence.hashed", of | {"algorithms": ["sha256"]}, hashed, **case.run("hash", "usb-stick.dd"))
    note = f"{sha256(NOTE)}.txt"
    told = {"sha256": case.put(f"case/enclosures/{note}", NOTE), "bytes": len(NOTE), "enclosure": note}
    case.add("note.added", "event", told, exhibit="EX1", **case.run("case", "note", "--exhibit", "EX1"))
    case.checkpoint(1, "checkpoint", **case.run("log", "checkpoint"))
    verified = {"digests": digests, "comparisons": [], "verdict": "unchanged", "overall": "unchanged"}
    first = case.run("case", "transfer", "EX1", "--to", "John Roe <john.roe@defence.example>")
    case.act("evidence.verified", of, verified | {"read_errors": [], "files_after": [FILE]}, **first)
    item: Record = {"exhibit": "EX1", "size": len(MEDIA), "digests": digests, "rehashed": True}
    offer: Record = {
        "handover": uuid("handover"),
        "from": {"id": JANE["id"], "name": JANE["name"]},
        "to": JOHN,
    }
    offer |= {"purpose": "examination by the defence", "method": "in person", "place": "Example Lab, room 7"}
    offer |= {"rehashed": True, "with_images": False, "exhibits": [item], "seals": ["4712"]}
    case.add("custody.transferred", "event", offer)
    case.checkpoint(2, "transfer")
    sums = (case.folder / "case/checkpoints/000002.sums").read_bytes()
    reply, roots = stamp(sums)
    case.put(f"case/checkpoints/{STAMP}", reply)
    case.put("tsa-roots.pem", roots)
    case.time = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
    case.add("log.anchored", "event", anchored(sums, reply), **case.run("log", "timestamp"))
    give(case)


def give(case: Case) -> None:
    """The receipt of the last checkpoint: one copy stays, one goes with the other party."""
    last = case.last
    line = f"imgkit-receipt/1 {last['log']} {last['size']} {last['bytes']} {last['head']} {last['file']}\n"
    text = case.put("case/receipts/given-000002.txt", line.encode())
    case.put("receipt.txt", line.encode())
    told = {key: last[key] for key in ("n", "size", "bytes", "head", "file")}
    to = f"{JOHN['name']} <{JOHN['id']}>"
    told |= {"name": "given-000002.txt", "text": text, "to": to}
    case.add("receipt.given", "event", told, **case.run("log", "receipt", "--to", to))


def main() -> None:
    """Make everything in a new folder."""
    folder = Path(sys.argv[1])
    case = Case(folder)
    case.put("evidence/usb-stick.dd", MEDIA)
    fill(case)
    case.put("case/custody.jsonl", b"".join(case.lines))
    case.put("allowed_signers", f"{PRINCIPAL} {public_key()}\n".encode())
    if folder.resolve() != HERE.resolve() and os.path.lexists(HERE / "README.md"):
        shutil.copy(HERE / "README.md", folder / "README.md")


if __name__ == "__main__":
    main()
