"""SSH signatures and public keys as bytes: what they say of themselves, and keys that prove nothing (docs/custody-log.md).

Whether a signature is good is for ssh-keygen to say (custody/ssh.py); this module only reads, and never trusts a length.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURE_LIMIT = 65_536  # bytes of an armoured signature: a certificate of RSA keys has some 4,000
RSA_LEAST = 2048  # bits

_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----\n", b"\n-----END SSH SIGNATURE-----"
_MAGIC, _VERSION = b"SSHSIG", 1
_CERTIFICATE = "-cert-v01@openssh.com"
_WIDTH = 70  # characters of base64 on a line, as ssh-keygen writes them
_PRINCIPALS_LIMIT = 256

# RFC 8032: the field, and y of the points of the eight that a small-order key can be (each but two with two signs of x)
_P = 2**255 - 19
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})
_POINT = 32  # bytes of a compressed Edwards point


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate in a signature says.

    Attributes:
        serial, key_id, principals: As the agency gave them.
        valid_after, valid_before: Seconds since 1970; 2**64 - 1: for ever.
        ca: Fingerprint of the key that issued it.
        ca_key: That key's blob.
    """

    serial: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    ca: str
    ca_key: bytes


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """What a signature says of itself; that it is good is another question.

    Attributes:
        namespace: What it was made for.
        hash_algorithm: `sha512` or `sha256`.
        key_type: `ssh-ed25519`, `ssh-rsa-cert-v01@openssh.com` …
        fingerprint: `SHA256:…` of the plain key, as ssh-keygen -l shows it.
        certificate: Where the key came in one.
        key: Blob of the key or certificate.
        plain_key: Blob of the key without its certificate.
        blob: The whole signature without its armour.
    """

    namespace: str
    hash_algorithm: str
    key_type: str
    fingerprint: str
    certificate: CertificateFacts | None
    key: bytes
    plain_key: bytes
    blob: bytes


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, or a certificate of one, taken apart.

    Attributes:
        kind: Its type as it names itself.
        plain: Blob of the key alone.
        numbers: Its parts: a point, or the numbers of RSA.
        certificate: Or None.
    """

    kind: str
    plain: bytes
    numbers: tuple[bytes, ...]
    certificate: CertificateFacts | None

    @property
    def plain_kind(self) -> str:
        """The type without its certificate."""
        return plain_kind(self.kind)


# type -> names of its parts, in order
_PARTS: dict[str, tuple[str, ...]] = {
    "ssh-ed25519": ("point",),
    "sk-ssh-ed25519@openssh.com": ("point", "application"),
    "ecdsa-sha2-nistp256": ("curve", "point"),
    "ecdsa-sha2-nistp384": ("curve", "point"),
    "ecdsa-sha2-nistp521": ("curve", "point"),
    "sk-ecdsa-sha2-nistp256@openssh.com": ("curve", "point", "application"),
    "ssh-rsa": ("e", "n"),
    "ssh-dss": ("p", "q", "g", "y"),
}


def plain_kind(kind: str) -> str:
    """Return the type of the key that a certificate of this type is for; a plain type is its own."""
    if not kind.endswith(_CERTIFICATE):
        return kind
    kind = kind.removesuffix(_CERTIFICATE)
    return f"{kind}@openssh.com" if kind.startswith("sk-") else kind


class _Reader:
    """Takes fields off a blob; every length is checked against what is there."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._blob[self._at : self._at + count]
        if len(part) != count:
            raise _malformed("ends too early")
        self._at += count
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def string(self) -> bytes:
        return self.take(self.number(4))

    def text(self) -> str:
        return self.string().decode("utf-8", "backslashreplace")

    @property
    def left(self) -> int:
        return len(self._blob) - self._at

    def end(self) -> None:
        if self.left:
            raise _malformed(f"has {self.left} bytes more than it should")


def _malformed(what: str) -> CustodyError:
    return CustodyError(f"an SSH signature or key {what}")


def _packed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def fingerprint_of(blob: bytes) -> str:
    """Return `SHA256:…` of a plain key's blob, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def read_key(blob: bytes) -> PublicKey:
    """Take a public key or certificate apart.

    Raises:
        CustodyError: Malformed, or of a type that is not known.
    """
    reader = _Reader(blob)
    kind = reader.text()
    plain = plain_kind(kind)
    names = _PARTS.get(plain)
    if names is None:
        raise CustodyError(f"an SSH key is of a type that is not known: {kind[:80]!a}")
    if plain != kind:
        reader.string()  # the nonce
    numbers = tuple(reader.string() for _ in names)
    certificate = _read_certificate(reader) if plain != kind else None
    reader.end()
    return PublicKey(kind, _packed(plain.encode(), *numbers), numbers, certificate)


def _read_certificate(reader: _Reader) -> CertificateFacts:
    """The fields after the key (PROTOCOL.certkeys of OpenSSH)."""
    serial = reader.number(8)
    reader.number(4)  # user or host: ssh-keygen asks for a user's
    key_id = reader.text()
    principals, names = _Reader(reader.string()), []
    while principals.left:
        names.append(principals.text())
        if len(names) > _PRINCIPALS_LIMIT:
            raise _malformed("has a certificate for too many principals")
    after, before = reader.number(8), reader.number(8)
    for _ in ("critical options", "extensions", "reserved"):
        reader.string()
    ca = reader.string()
    reader.string()  # the agency's signature
    return CertificateFacts(serial, key_id, tuple(names), after, before, fingerprint_of(ca), ca)


def read_signature(armoured: bytes) -> SignatureFacts:
    """Read what an armoured signature says of itself.

    Raises:
        CustodyError: It is none.
    """
    blob = _without_armour(armoured)
    reader = _Reader(blob)
    if reader.take(len(_MAGIC)) != _MAGIC or (version := reader.number(4)) != _VERSION:
        raise _malformed("is not of a version that is known")
    del version
    key_blob, namespace = reader.string(), reader.text()
    reader.string()  # reserved
    algorithm = reader.text()
    reader.string()  # the signature itself
    reader.end()
    key = read_key(key_blob)
    return SignatureFacts(
        namespace,
        algorithm,
        key.kind,
        fingerprint_of(key.plain),
        key.certificate,
        key_blob,
        key.plain,
        blob,
    )


def _without_armour(armoured: bytes) -> bytes:
    """As ssh-keygen reads it: the first line as it is, then digits with white space between them; no other byte."""
    if len(armoured) > SIGNATURE_LIMIT:
        raise _malformed(f"has {len(armoured)} bytes, more than one can have")
    if not armoured.startswith(_BEGIN):
        raise _malformed("does not begin as one")
    text, end, _after = armoured[len(_BEGIN) :].partition(_END)
    if not end:
        raise _malformed("does not end as one")
    digits = b"".join(text.split())
    try:
        blob = base64.b64decode(digits, validate=True)
    except ValueError as error:
        raise _malformed("is no base64") from error
    if base64.b64encode(blob) != digits:
        raise _malformed("is no base64 as it is written")
    return blob


def armour(blob: bytes) -> bytes:
    """Return a signature as ssh-keygen writes it."""
    digits = base64.b64encode(blob)
    lines = [digits[at : at + _WIDTH] for at in range(0, len(digits), _WIDTH)]
    return _BEGIN + b"\n".join(lines) + _END + b"\n"


def weak_key(blob: bytes) -> str | None:
    """Say why a signature of this key (or certificate) proves nothing, or return None.

    A key of small order has signatures that fit every message; OpenSSH accepts them. The key that issued a certificate is
    looked at too.
    """
    try:
        key = read_key(blob)
    except CustodyError as error:
        return error.message
    reason = _WEAK[key.plain_kind](key.numbers)
    if reason is None and key.certificate is not None:
        inner = weak_key(key.certificate.ca_key)
        return f"of the key that issued the certificate: {inner}" if inner else None
    return reason


def _weak_point(numbers: tuple[bytes, ...]) -> str | None:
    point = numbers[0]
    if len(point) != _POINT:
        return f"an Ed25519 key of {len(point)} bytes"
    y = int.from_bytes(point, "little") & (2**255 - 1)  # without the sign of x
    if y % _P in _SMALL_ORDER_Y:
        return "an Ed25519 key of small order: one signature of it fits every message"
    return None


def _weak_rsa(numbers: tuple[bytes, ...]) -> str | None:
    e, n = (int.from_bytes(number) for number in numbers)
    if n.bit_length() < RSA_LEAST:
        return f"an RSA key of {n.bit_length()} bits; {RSA_LEAST} are the least"
    if e < 3 or e % 2 == 0 or n % 2 == 0:  # noqa: PLR2004  (1 would make every message its own signature)
        return f"an RSA key with the exponent {e}"
    return None


def _weak_never(numbers: tuple[bytes, ...]) -> str | None:
    del numbers  # OpenSSL takes no point that is not on the curve, and these curves have no small subgroups
    return None


def _weak_dsa(numbers: tuple[bytes, ...]) -> str | None:
    del numbers
    return "a DSA key: 1,024 bits and SHA-1"


_WEAK: dict[str, Callable[[tuple[bytes, ...]], str | None]] = {
    **dict.fromkeys(_PARTS, _weak_never),
    "ssh-ed25519": _weak_point,
    "sk-ssh-ed25519@openssh.com": _weak_point,
    "ssh-rsa": _weak_rsa,
    "ssh-dss": _weak_dsa,
}
