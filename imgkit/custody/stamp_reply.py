"""A time-stamp reply taken apart (RFC 3161, section 2.4.2; RFC 5652): what it states, before anybody asks whether it is true."""

from __future__ import annotations

import datetime as dt
import re
from typing import Literal, NamedTuple

from imgkit.custody import der
from imgkit.custody.der import Element, NotDer
from imgkit.custody.record import printable

REPLY_LIMIT = 1 << 20  # bytes
_SIGNED_DATA = "1.2.840.113549.1.7.2"  # RFC 5652, section 5.1
_TST_INFO = "1.2.840.113549.1.9.16.1.4"  # RFC 3161, section 2.4.2
_GRANTED = (0, 1)  # granted; granted with modifications
_STATUS = {2: "rejected", 3: "waiting", 4: "revocation warning", 5: "revoked"}
_FAILURES = {  # RFC 3161, section 2.4.2: bits of failInfo
    0: "unknown algorithm", 2: "bad request", 5: "bad data format", 14: "no time source", 15: "policy not accepted",
    16: "extension not accepted", 17: "additional information not available", 25: "system failure",
}  # fmt: skip
_TIME = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{0,11}[1-9]))?Z")


class Token(NamedTuple):
    """A reply taken apart.

    Attributes:
        encoded: The token: CMS SignedData.
        info: The signed part: TSTInfo.
        certificates: DER of each.
        signer: SignerIdentifier.
        attributes: What the signer signed: attributes, the digest of the info among them.
    """

    encoded: bytes
    info: Info
    certificates: tuple[bytes, ...]
    signer: Element
    attributes: Element


class Info(NamedTuple):
    """TSTInfo, the signed part of a reply."""

    time: str
    serial: int
    policy: str
    algorithm: str
    imprint: bytes
    nonce: int | None
    tsa: Element | None


class Refused(ValueError):
    """A reply that holds no stamp."""

    def __init__(self, kind: Literal["malformed", "status"], text: str) -> None:
        super().__init__(text)
        self.kind: Literal["malformed", "status"] = kind


def read_reply(reply: bytes) -> Token:
    """Take a reply apart: status, token, what it states.

    Raises:
        Refused: It is none, or the authority did not grant it.
    """
    if len(reply) > REPLY_LIMIT:
        raise Refused("malformed", f"{len(reply):,} bytes are no time-stamp reply")
    try:
        parts = der.whole(reply).children()
        _check_status(parts[0].of(der.SEQUENCE))
        if len(parts) != 2:  # noqa: PLR2004 - status and token
            raise NotDer("it holds no stamp")
        return _read_token(parts[1].of(der.SEQUENCE))
    except Refused:
        raise
    except (NotDer, ValueError, IndexError) as error:
        text = _looks_like(reply) or str(error)
        raise Refused("malformed", f"no time-stamp reply: {text}") from error


def _looks_like(reply: bytes) -> str | None:
    start = reply[:256].lstrip().lower()
    if not reply:
        return "it is empty"
    return "it is a web page" if start.startswith((b"<!doctype", b"<html", b"<?xml")) else None


def _check_status(info: Element) -> None:
    """PKIStatusInfo: INTEGER, and why not in words and bits."""
    status, *rest = info.children()
    if status.integer() in _GRANTED:
        return
    said = _STATUS.get(status.integer(), f"status {status.integer()}")
    texts = [word for part in rest if part.tag == der.SEQUENCE for word in _texts(part)]
    texts += [word for part in rest if part.tag == der.BIT_STRING for word in _failures(part.content)]
    raise Refused("status", f"the authority {said} the query" + (f": {'; '.join(texts)}" if texts else ""))


def _texts(part: Element) -> list[str]:
    return [printable(text.content[:200]) for text in part.children()[:4]]


def _failures(bits: bytes) -> list[str]:
    return [
        name
        for bit, name in _FAILURES.items()
        if bits[1:][bit // 8 : bit // 8 + 1] and bits[1 + bit // 8] & 0x80 >> bit % 8
    ]


def _read_token(content: Element) -> Token:
    """ContentInfo with SignedData, which has one signer and holds TSTInfo (RFC 3161, section 2.4.2)."""
    kind, explicit = content.children()
    (signed,) = explicit.of(der.CONTEXT_0).children()
    if kind.oid() != _SIGNED_DATA:
        raise NotDer(f"its token is {kind.oid()}, no signed data")
    _version, _algorithms, encapsulated, *rest = signed.of(der.SEQUENCE).children()
    inner, octets = encapsulated.of(der.SEQUENCE).children()
    (octet,) = octets.of(der.CONTEXT_0).children()
    if inner.oid() != _TST_INFO:
        raise NotDer(f"it signs {inner.oid()}, no time stamp")
    (signer,) = rest[-1].of(der.SET).children()
    held = [one for part in rest[:-1] if part.tag == der.CONTEXT_0 for one in part.children()]
    certificates = tuple(one.encoded for one in held if one.tag == der.SEQUENCE)
    info = _read_info(octet.of(der.OCTET_STRING).content)
    _version, identifier, _digest, attributes, *_rest = signer.of(der.SEQUENCE).children()
    return Token(content.encoded, info, certificates, identifier, attributes.of(der.CONTEXT_0))


def _read_info(data: bytes) -> Info:
    version, policy, imprint, serial, time, *rest = der.whole(data).children()
    if version.integer() != 1:
        raise NotDer(f"version {version.integer()} of a time stamp")
    algorithm, digest = imprint.of(der.SEQUENCE).children()
    nonces = [part.integer() for part in rest if part.tag == der.INTEGER]
    names = [part for part in rest if part.tag == der.CONTEXT_0]
    return Info(
        _time(time.of(der.GENERALIZED_TIME).content),
        serial.integer(),
        policy.oid(),
        algorithm.of(der.SEQUENCE).children()[0].oid(),
        digest.of(der.OCTET_STRING).content,
        nonces[0] if nonces else None,
        names[0] if names else None,
    )


def _time(written: bytes) -> str:
    match = _TIME.fullmatch(written)
    if match is None:
        raise NotDer(f"{written[:40]!a} is no time")
    year, month, day, hour, minute, second = (part.decode() for part in match.groups()[:6])
    fraction = (match[7] or b"").decode()[:6].ljust(6, "0")
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction}"
    dt.datetime.fromisoformat(text)  # raises where no calendar has it
    return f"{text}Z"
