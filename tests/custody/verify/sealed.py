"""A case with checkpoints, signed and stamped, made without imgkit: bodies, sums, roots and replies by hand and stock tools."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.custody.forge import ZEROS, Forge, chain, encode, line_hash, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRINCIPAL = "jane.doe@lab.example"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def root(lines: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there."""
    if len(lines) == 1:
        return hashlib.sha256(b"\x00" + lines[0]).digest()
    half = 1 << (len(lines) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root(lines[:half]) + root(lines[half:])).digest()


def run(*command: object, stdin: bytes = b"", cwd: Path | None = None) -> bytes:
    words = [str(word) for word in command]
    ran = subprocess.run(words, input=stdin, capture_output=True, check=False, cwd=cwd)
    assert ran.returncode == 0, (words, ran.stderr)
    return ran.stdout


@dataclass(frozen=True)
class Key:
    """A signing key: `path` of the private half, the certificate, or a public key that an agent holds."""

    path: Path
    principal: str = PRINCIPAL

    @property
    def public(self) -> str:
        return " ".join(self.path.with_name(f"{self.path.name}.pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        """Of the plain key, also where a certificate or an agent's key is named."""
        listed = run("ssh-keygen", "-l", "-f", self.path).split()
        return listed[1].decode()

    def sign(self, body: bytes, namespace: str = "custody@imgkit") -> bytes:
        return run("ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", self.path, stdin=body)

    def listed(self, *options: str) -> str:
        return " ".join([self.principal, *options, self.public]) + "\n"


def new_key(folder: Path, name: str, *words: str, principal: str = PRINCIPAL) -> Key:
    path = folder / name
    kind = words or ("-t", "ed25519")
    run("ssh-keygen", "-q", *kind, "-N", "", "-C", name, "-f", path)
    return Key(path, principal)


@dataclass(frozen=True)
class Authority:
    """A time stamp authority: `openssl ts` with a certificate of its own root."""

    folder: Path

    @property
    def roots(self) -> Path:
        return self.folder / "root.pem"

    def stamp(self, data: bytes) -> bytes:
        folder = self.folder
        (folder / "data").write_bytes(data)
        run("openssl", "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query", cwd=folder)
        run(
            "openssl",
            "ts",
            "-reply",
            "-config",
            "tsa.cnf",
            "-queryfile",
            "query",
            "-out",
            "reply",
            cwd=folder,
        )
        return (folder / "reply").read_bytes()


_TSA = """
[tsa]
default_tsa = t
[t]
serial = ./serial
signer_cert = ./tsa.pem
certs = ./root.pem
signer_key = ./tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
"""


def new_authority(folder: Path, name: str) -> Authority:
    place = folder / name
    place.mkdir()
    (place / "serial").write_text("01\n")
    (place / "tsa.cnf").write_text(_TSA)
    (place / "ext").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n")
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-sha256")
    run(
        *new,
        "-x509",
        "-days",
        "30",
        "-keyout",
        "root.key",
        "-out",
        "root.pem",
        "-subj",
        f"/CN=Root of {name}",
        cwd=place,
    )
    run(*new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", f"/CN={name}", cwd=place)
    run(
        *(
            "openssl",
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
        ),
        *("-days", "30", "-extfile", "ext", "-out", "tsa.pem"),
        cwd=place,
    )
    return Authority(place)


@dataclass
class Sealed:
    """A case that is still in memory: its lines, and the files in checkpoints/ by name."""

    forge: Forge
    key: Key | None = None
    tsa: Authority | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        return self.forge.lines

    @lines.setter
    def lines(self, lines: list[bytes]) -> None:
        self.forge.lines = lines

    @property
    def count(self) -> int:
        return sum(1 for name in self.files if name.endswith(".txt"))

    def facts(self, size: int | None = None) -> dict[str, Any]:
        lines = self.lines[:size]
        text = b"".join(lines)
        return {
            "size": len(lines),
            "bytes": len(text),
            "head": line_hash(lines[-1]),
            "file": sha256(text),
            "merkle": root(lines).hex(),
        }

    def checkpoint(self, *, signature: Callable[[bytes], bytes] | None = None, **said: Any) -> None:
        """Make the next checkpoint and record it; `said` are other facts than true ones."""
        n = said.pop("n", self.count + 1)
        name, before = f"{n:06}", self.files.get(f"{n - 1:06}.txt")
        values = {"n": n, "log": self.forge.log, "case": "2026-0142"} | self.facts()
        values |= {"prev": sha256(before) if before else ZEROS, "time": self._now()}
        values |= {"signer": self.key.principal if self.key else "-", "reason": "transfer"} | said
        body = "".join(["imgkit-checkpoint/v1\n", *(f"{key}: {values[key]}\n" for key in _ORDER)]).encode()
        self.files[f"{name}.txt"] = body
        make = signature or (self.key.sign if self.key else None)
        if make is not None:
            self.files[f"{name}.txt.sig"] = make(body)
        self.record(n, values, by_key=signature is None)
        if self.tsa is not None:
            self.stamp(n)

    def record(self, n: int, values: dict[str, Any], *, by_key: bool = False) -> None:
        """Write the sums, and the line of the log."""
        name = f"{n:06}"
        body, signature = self.files[f"{name}.txt"], self.files.get(f"{name}.txt.sig")
        self.files[f"{name}.sums"] = self.sums(n)
        data = {key: values[key] for key in _RECORDED} | {"body": sha256(body)}
        if signature is not None:
            data |= {"signature": sha256(signature)}
            data |= {"fingerprint": self.key.fingerprint} if self.key is not None and by_key else {}
        self.forge.event("log.checkpointed", data)
        self.sizes.append(values["size"])

    def sums(self, n: int) -> bytes:
        names = [f"{n:06}{end}" for end in (".txt", ".txt.sig") if f"{n:06}{end}" in self.files]
        return "".join(f"{sha256(self.files[name])}  {name}\n" for name in names).encode()

    def stamp(self, n: int) -> None:
        """Have the sums of a checkpoint stamped, and record it."""
        assert self.tsa is not None
        reply = self.tsa.stamp(self.files[f"{n:06}.sums"])
        name = f"{n:06}.sums.tsa.tsr"
        self.files[name] = reply
        behind = (datetime.now(UTC) - self.forge.utc).total_seconds()
        if (
            0 < behind < _SLOW
        ):  # the authority's clock is the real one; a line is not older than what it records
            self.forge.pass_time(behind)
        self.forge.event("log.anchored", {"n": n, "file": name, "sha256": sha256(reply), "tsa": "tsa"})

    def _now(self) -> str:
        return self.forge.utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def write(self, folder: Path) -> Path:
        """Put all of it into a case folder."""
        for name in ("checkpoints", "enclosures", "receipts"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "custody.jsonl").write_bytes(b"".join(self.lines))
        for name, data in self.files.items():
            (folder / "checkpoints" / name).write_bytes(data)
        return folder

    def receipt(self) -> str:
        facts = self.facts()
        return " ".join(
            [
                "imgkit-receipt/1",
                self.forge.log,
                *(str(facts[key]) for key in ("size", "bytes", "head", "file")),
            ]
        )

    def redo(
        self, change: Callable[[list[Any]], list[Any]], *, key: Key | None, tsa: Authority | None
    ) -> Sealed:
        """The same acts written anew with other records: every checkpoint is made again where it was."""
        acts = [
            parse(line)
            for line in self.lines
            if parse(line)["type"] not in ("log.checkpointed", "log.anchored")
        ]
        made = Sealed(Forge(), key, tsa)
        made.forge.log = self.forge.log
        for index, record in enumerate(change(acts), 1):
            place = {"seq": len(made.lines) + 1, "prev": line_hash(made.lines[-1]) if made.lines else ZEROS}
            made.lines.append(encode(record | place))
            made.forge.utc = datetime.fromisoformat(record["time"]["utc"])
            made.forge.boot_us = record["time"]["boot_us"]
            made.forge.pass_time(1)
            if index in (3, 6):
                made.checkpoint()
        return made


_SLOW = 1800  # seconds that tests may take; who is further behind means to be
_ORDER = ("n", "log", "case", "size", "bytes", "head", "file", "merkle", "prev", "time", "signer", "reason")
_RECORDED = ("n", "size", "bytes", "head", "file", "merkle", "prev", "signer", "reason")


def sealed(key: Key | None = None, tsa: Authority | None = None, *, age: timedelta = timedelta()) -> Sealed:
    """Six acts with a checkpoint after the third and the sixth, each stamped where there is an authority."""
    forge = Forge()
    forge.utc = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1) - age
    made = Sealed(forge, key, tsa)
    forge.open()
    forge.hash_act()
    made.checkpoint()
    forge.hash_act()
    forge.event("case.exported", {"format": "html", "recipient": "the court"})
    made.checkpoint()
    return made


def rechained(lines: list[bytes]) -> list[bytes]:
    return chain([parse(line) for line in lines])


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
