"""RFC 3161 time stamps over the `.sums` of a checkpoint: the query, and what a reply is worth. Nothing is sent or written.

What an authority gets is the SHA-256 of the `.sums` and a random number. Its reply is kept as received, so that anybody
can hold it against the authority's certificates: `openssl ts -verify -data 000012.sums -in 000012.sums.TSA.tsr`.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from imgkit.custody import der
from imgkit.custody.der import Element, NotDer
from imgkit.custody.durable import told
from imgkit.custody.record import printable
from imgkit.custody.stamp_reply import Info, Refused, Token, read_reply
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from imgkit.custody.stamp_trust import Judged

ROOTS_LIMIT = 4 << 20  # bytes: every root that browsers trust takes a quarter of it
QUERY_LIMIT = 4096
_NONCE_BITS = 63  # some authorities take no number that needs a ninth byte
_SHA256 = "2.16.840.1.101.3.4.2.1"
_SHA256_DER = bytes.fromhex("0609608648016503040201")
_DIRECTORY_NAME = 0xA4
_PEM = re.compile(rb"-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----[^-]+-----END \1-----")

ProblemKind = Literal["malformed", "status", "imprint", "nonce", "signature", "usage", "chain"]


@dataclass(frozen=True, slots=True)
class Query:
    """What is sent to an authority.

    Attributes:
        der: The TimeStampReq.
        nonce: The random number in it, which the reply must repeat.
        imprint: SHA-256 of what is stamped.
    """

    der: bytes
    nonce: int | None
    imprint: str


@dataclass(frozen=True, slots=True)
class StampProblem:
    """Why a reply does not prove what it should.

    Attributes:
        kind: `malformed`: no reply at all. `status`: the authority refused. `imprint`: of something else. `nonce`: to another
            query. `signature`: not what the authority signed, or nobody's. `usage`: its certificate is not for time stamps.
            `chain`: the certificate does not come from the roots at that time.
        text: In words.
    """

    kind: ProblemKind
    text: str


@dataclass(frozen=True, slots=True)
class StampFacts:
    """What a reply says, and what it is worth.

    Attributes:
        time: When the authority had the digest: RFC 3339, UTC, microseconds; None where there is no readable stamp.
        serial: Of the stamp, hex digits.
        tsa: Name in the signer's certificate, else as the stamp states it.
        policy: Object identifier of the authority's policy.
        imprint: What was stamped, SHA-256 in hex digits (of another algorithm: `oid:hex`).
        trusted: Whether everything fits and the signer comes from the roots; False where no roots were given.
        problems: Why it proves nothing; empty: the reply fits, whoever signed it.
    """

    time: str | None = None
    serial: str | None = None
    tsa: str | None = None
    policy: str | None = None
    imprint: str | None = None
    trusted: bool = False
    problems: tuple[StampProblem, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it is a stamp of these bytes, by somebody whose certificate is for time stamps."""
        return not self.problems


def imprint_of(sums: bytes) -> str:
    """SHA-256 of the bytes of a `.sums` file: all that an authority learns."""
    return hashlib.sha256(sums).hexdigest()


def request(sums: bytes) -> Query:
    """Return a query for a stamp over the bytes of a `.sums` file, with a new nonce and asking for the certificates."""
    nonce = secrets.randbits(_NONCE_BITS)
    imprint = hashlib.sha256(sums)
    algorithm = der.encode(der.SEQUENCE, (_SHA256_DER, der.encode(der.NULL, b"")))
    parts = (
        der.encode_integer(1),
        der.encode(der.SEQUENCE, (algorithm, der.encode(der.OCTET_STRING, imprint.digest()))),
        der.encode_integer(nonce),
        der.encode(der.BOOLEAN, b"\xff"),
    )
    return Query(der.encode(der.SEQUENCE, parts), nonce, imprint.hexdigest())


def read_query(data: bytes) -> Query:
    """Read a query that was written to a file.

    Raises:
        CustodyError: It is none over a SHA-256.
    """
    try:
        parts = der.whole(data).children()
        algorithm, imprint = parts[1].children()
        nonces = [part for part in parts[2:] if part.tag == der.INTEGER]
        if parts[0].integer() != 1 or algorithm.children()[0].oid() != _SHA256:
            raise NotDer("another version or algorithm")
        nonce = nonces[0].integer() if nonces else None
        return Query(data, nonce, imprint.of(der.OCTET_STRING).content.hex())
    except (NotDer, ValueError, IndexError) as error:
        raise CustodyError(f"the file is no time-stamp query over a SHA-256: {error}") from error


def check_reply(
    reply: bytes,
    *,
    sums: bytes,
    nonce: int | None = None,
    roots: str | os.PathLike[str] | bytes | None = None,
    at: str | None = None,
) -> StampFacts:
    """Say what a reply proves about a `.sums` file. What is wrong with the reply is a value, never an exception.

    Args:
        reply: As received.
        sums: The bytes of the `.sums` file.
        nonce: Of the query, where it is still known.
        roots: File of PEM certificates that are trusted, or its bytes; None: nobody is, and `trusted` is False.
        at: RFC 3339 time at which the certificates must be valid; None: at the time stamped.

    Raises:
        CustodyError: The roots cannot be used.
        HostError: There is no openssl, and the reply needs it.
    """
    try:
        token = read_reply(reply)
    except Refused as refused:
        return StampFacts(problems=(StampProblem(refused.kind, str(refused)),))
    facts = _stated(token)
    problems = _differences(token.info, sums, nonce)
    judged = _judge(reply, token, sums, roots, at, fits=not problems)
    facts = replace(facts, tsa=judged.subject or facts.tsa)
    problems += [StampProblem(kind, text) for kind, text in judged.problems]
    trusted = judged.trusted and not problems
    return replace(facts, trusted=trusted, problems=tuple(problems))


def imprint_in(reply: bytes) -> str | None:
    """The SHA-256 that a reply was made for, hex digits; None where it is no granted reply over a SHA-256."""
    try:
        info = read_reply(reply).info
    except Refused:
        return None
    return info.imprint.hex() if info.algorithm == _SHA256 else None


def read_roots(roots: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file of trusted certificates.

    Raises:
        CustodyError: It cannot be read, or holds no certificate.
    """
    path = os.path.abspath(roots)
    with told(f"read the trusted certificates {path!r}", given=True), open(path, "rb") as file:
        data = file.read(ROOTS_LIMIT + 1)
    if len(data) > ROOTS_LIMIT or not _PEM.search(data):
        raise CustodyError(
            f"{path!r} holds no certificates as PEM", hint="-----BEGIN CERTIFICATE-----, one after another"
        )
    return data


def _stated(token: Token) -> StampFacts:
    info = token.info
    plain = info.imprint.hex()
    return StampFacts(
        time=info.time,
        serial=f"{info.serial:x}",
        tsa=_name(info.tsa),
        policy=info.policy,
        imprint=plain if info.algorithm == _SHA256 else f"{info.algorithm}:{plain}",
    )


def _name(stated: Element | None) -> str | None:
    """The last part of the directory name that a stamp states, as far as it is text."""
    if stated is None:
        return None
    try:
        (general,) = stated.children()
        (name,) = general.of(_DIRECTORY_NAME).children()
        return printable(name.children()[-1].children()[0].children()[1].content[:200])
    except (NotDer, ValueError, IndexError):
        return None


def _differences(info: Info, sums: bytes, nonce: int | None) -> list[StampProblem]:
    found, wanted = list[StampProblem](), imprint_of(sums)
    if info.algorithm != _SHA256 or info.imprint.hex() != wanted:
        text = f"it stamps {info.imprint.hex()[:64]}, and the checkpoint's sums have the SHA-256 {wanted}"
        found.append(StampProblem("imprint", text))
    if nonce is not None and info.nonce != nonce:
        repeats = "no nonce" if info.nonce is None else f"the nonce {info.nonce:x}"
        found.append(StampProblem("nonce", f"it answers another query: it has {repeats}, not {nonce:x}"))
    return found


def _judge(
    reply: bytes,
    token: Token,
    sums: bytes,
    roots: str | os.PathLike[str] | bytes | None,
    at: str | None,
    *,
    fits: bool,
) -> Judged:
    """Whose signature it is. What does not fit anyway is not held against the roots: the libraries would say the same."""
    from imgkit.custody.stamp_trust import judge  # noqa: PLC0415 - only who checks a stamp pays for it

    trusted = roots if isinstance(roots, bytes) or roots is None else read_roots(roots)
    return judge(reply, token, sums, trusted if fits else None, at)
