"""SSH keys, agents and lists of signers as people have them, made by the stock tools; and keys that nobody should have."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
L = 2**252 + 27742317777372353535851937790883648493  # order of the base point
Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def ssh_keygen(
    *words: str | Path, stdin: bytes = b"", check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
    return subprocess.run(["ssh-keygen", *words], input=stdin, capture_output=True, check=check, env=env)


def make_key(path: Path, kind: str = "ed25519", bits: str | None = None, passphrase: str = "") -> Path:
    size = ["-b", bits] if bits else []
    ssh_keygen("-q", "-t", kind, *size, "-N", passphrase, "-C", "", "-f", path)
    return path


def public(path: Path) -> str:
    """The public key of a private one, as it stands in a list."""
    return path.with_name(path.name + ".pub").read_text(encoding="ascii").strip()


def blob_of(line: str) -> bytes:
    return base64.b64decode(line.split()[1])


def certify(ca: Path, key: Path, *options: str, principal: str) -> Path:
    """Have an agency certify a key; return the certificate."""
    ssh_keygen("-q", "-s", ca, "-I", "badge 7", "-n", principal, *options, key.with_name(key.name + ".pub"))
    return key.with_name(key.name + "-cert.pub")


@contextlib.contextmanager
def agent(folder: Path, *keys: Path, uid: int | None = None) -> Iterator[str]:
    """An agent with these keys, of the user `uid`; its socket."""
    socket = str(folder / "agent")
    command = ["ssh-agent", "-D", "-a", socket]
    with subprocess.Popen(command, stdout=subprocess.PIPE, user=uid, group=uid) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()  # it says where it listens once it does
            for key in keys:
                env = {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": socket}
                subprocess.run(["ssh-add", "-q", key], env=env, check=True, capture_output=True, user=uid)
            yield socket
        finally:
            process.terminate()


# -- arithmetic of RFC 8032, to find the points of small order without a table --------------------------


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    k = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P)
    return x % P, y % P


def times(count: int, point: Point) -> Point:
    found = IDENTITY
    while count:
        if count & 1:
            found = add(found, point)
        point, count = add(point, point), count >> 1
    return found


def with_y(y: int) -> Point | None:
    """A point of the curve with that y, where there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (x, y) if x * x % P == square else None


def small_order_points() -> set[Point]:
    """All eight: what a point of full order is multiplied with L leaves one of the eight, whose multiples are all."""
    for y in range(2, 1000):
        point = with_y(y)
        if point is not None:
            rest = times(L, point)
            found = {times(count, rest) for count in range(8)}
            if len(found) == 8:
                return found
    raise AssertionError("no point of order 8 L among the first thousand")


def encodings(point: Point) -> set[bytes]:
    """Every 32 bytes that a lenient reader takes for this point: y or y + p, and either sign where x is 0."""
    x, y = point
    signs = {x & 1} if x else {0, 1}
    return {
        (value | sign << 255).to_bytes(32, "little")
        for value in (y, y + P)
        if value < 1 << 255
        for sign in signs
    }


# -- blobs ---------------------------------------------------------------------------------------------


def string(data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return len(raw).to_bytes(4) + raw


def ed25519_blob(point: bytes) -> bytes:
    return string("ssh-ed25519") + string(point)


def certificate_blob(kind: str, parts: bytes, ca: bytes, *, principal: str = "jane@lab.example") -> bytes:
    """A certificate that nobody signed: for what it says only."""
    fields = string(f"{kind}-cert-v01@openssh.com") + string(b"n" * 32) + parts
    fields += (7).to_bytes(8) + (1).to_bytes(4) + string("badge 7") + string(string(principal))
    fields += (0).to_bytes(8) + (2**64 - 1).to_bytes(8) + string("") * 3
    return fields + string(ca) + string(string("ssh-ed25519") + string(b"s" * 64))


def sshsig(
    key: bytes, signature: bytes, *, kind: str = "ssh-ed25519", namespace: str = "custody@imgkit"
) -> bytes:
    """An armoured signature of given parts."""
    blob = b"SSHSIG" + (1).to_bytes(4) + string(key) + string(namespace) + string("") + string("sha512")
    blob += string(string(kind) + string(signature))
    return armoured(blob)


def armoured(blob: bytes) -> bytes:
    digits = base64.encodebytes(blob).replace(b"\n", b"")
    lines = [digits[at : at + 70] for at in range(0, len(digits), 70)]
    return b"\n".join([b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""])


def private_file(path: Path, point: bytes, seed: bytes = b"\x07" * 32) -> Path:
    """A private key file whose public half is any 32 bytes."""
    secret = (
        b"\x01\x02\x03\x04" * 2 + string("ssh-ed25519") + string(point) + string(seed + point) + string("")
    )
    secret += bytes(range(1, 1 + -len(secret) % 8))
    blob = b"openssh-key-v1\0" + string("none") * 2 + string("") + (1).to_bytes(4)
    blob += string(ed25519_blob(point)) + string(secret)
    text = base64.encodebytes(blob).decode("ascii")
    path.write_text(
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n", encoding="ascii"
    )
    path.chmod(0o600)
    public_line = f"ssh-ed25519 {base64.b64encode(ed25519_blob(point)).decode()}\n"
    path.with_name(path.name + ".pub").write_text(public_line, encoding="ascii")
    return path
