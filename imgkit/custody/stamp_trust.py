"""Whose time stamp it is: the signature, the signer's certificate, and its way to the roots at the time stamped.

rfc3161-client is asked first; what it refuses, `openssl ts` decides, for there are sound replies that the library does not
take (certificates in a set that is not sorted). Without roots only the signature itself is checked, by `openssl cms`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING, Literal, NamedTuple

from imgkit.custody import der
from imgkit.custody.record import printable
from imgkit.errors import CustodyError, HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.x509 import Certificate

    from imgkit.custody.stamp_reply import Token

Fault = tuple[Literal["signature", "usage", "chain"], str]

OPENSSL_SECONDS = 30.0
_NAMING = {
    "1.2.840.113549.1.9.16.2.12": "sha1",
    "1.2.840.113549.1.9.16.2.47": "sha256",
}  # ESSCertID and its second version
_DIGESTS = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_ROOTS = 2000  # certificates in a file of roots
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z")
_VERIFY_ERROR = re.compile(r"Verify error:\s*([^:\n]+)")


class Judged(NamedTuple):
    """What became of it.

    Attributes:
        trusted: Whether the roots vouch for the signer; False where there are none.
        problems: What is wrong, kind and words.
        subject: Of the signer's certificate, for people; None where there is none.
    """

    trusted: bool
    problems: tuple[Fault, ...]
    subject: str | None


def load() -> None:
    """Load the libraries, for a run that gives up rights before it checks a stamp."""
    import rfc3161_client  # noqa: F401, PLC0415
    from cryptography import x509  # noqa: F401, PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: F401, PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa  # noqa: F401, PLC0415


def judge(reply: bytes, token: Token, sums: bytes, roots: bytes | None, at: str | None) -> Judged:
    """Say whether the signature is good, the certificate made for time stamps, and issued below the roots.

    Args:
        reply: As received; its status is granted.
        token: The same, taken apart.
        sums: What it should stamp.
        roots: PEM certificates that are trusted, or None.
        at: RFC 3339 time at which certificates must be valid; None: the time stamped.

    Raises:
        CustodyError: The roots are no certificates, or openssl does not answer.
        HostError: There is no openssl, and it is needed.
    """
    anchors = _load_roots(roots) if roots is not None else None
    certificate = _signer(token)
    if certificate is None:
        text = "its signer's certificate is not in it, or cannot be read"
        return Judged(trusted=False, problems=(("signature", text),), subject=None)
    subject, wrong = _subject(certificate), _usage(certificate)
    if wrong is not None:
        return Judged(trusted=False, problems=(("usage", wrong),), subject=subject)
    if not _names(token.attributes, certificate):
        text = "what is signed does not name the signer's certificate"
        return Judged(trusted=False, problems=(("signature", text),), subject=subject)
    if roots is None or anchors is None:
        bad = _signature_fault(token)
        return Judged(trusted=False, problems=(bad,) if bad else (), subject=subject)
    fault = _chain_fault(reply, token, sums, roots=roots, anchors=anchors, at=at)
    return Judged(trusted=fault is None, problems=(fault,) if fault else (), subject=subject)


def _chain_fault(
    reply: bytes, token: Token, sums: bytes, *, roots: bytes, anchors: list[Certificate], at: str | None
) -> Fault | None:
    """What both say; the library knows no other time than the one stamped."""
    if at is None and _library_agrees(reply, sums, anchors):
        return None
    words = _openssl_refuses(reply, sums, roots, at or token.info.time)
    if words is None:
        return None
    if (bad := _signature_fault(token)) is not None:
        return bad
    return "chain", f"its certificate does not come from the trusted ones: {words}"


def _library_agrees(reply: bytes, sums: bytes, anchors: list[Certificate]) -> bool:
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response  # noqa: PLC0415

    try:
        decoded = decode_timestamp_response(reply)
        verifier = VerifierBuilder(roots=list(dict.fromkeys(anchors))).build()
        return verifier.verify(decoded, hashlib.sha256(sums).digest())
    except (VerificationError, ValueError, TypeError, OverflowError):
        return False  # openssl decides


def _load_roots(roots: bytes) -> list[Certificate]:
    from cryptography import x509  # noqa: PLC0415 - only who checks a stamp pays for it

    try:
        found = x509.load_pem_x509_certificates(roots)
    except ValueError as error:
        raise CustodyError(f"the trusted certificates cannot be read: {error}") from error
    if len(found) > _ROOTS:
        raise CustodyError(f"{len(found):,} trusted certificates are too many")
    return found


def _signer(token: Token) -> Certificate | None:
    """The certificate that the signature names."""
    from cryptography import x509  # noqa: PLC0415 - only who checks a stamp pays for it

    for encoded in token.certificates:
        try:
            if _is_of(token.signer, encoded):
                return x509.load_der_x509_certificate(encoded)
        except (ValueError, IndexError):
            continue  # another one may be the signer's; if none is, that is said
    return None


def _is_of(signer: der.Element, certificate: bytes) -> bool:
    """Whether it has this issuer and number; openssl ts knows no other way to name a signer."""
    fields = der.whole(certificate).children()[0].children()
    fields = fields[1:] if fields[0].tag == der.CONTEXT_0 else fields  # version
    return signer.tag == der.SEQUENCE and signer.content == fields[2].encoded + fields[0].encoded


def _names(attributes: der.Element, certificate: Certificate) -> bool:
    """Whether the signed attributes name the certificate (RFC 3161, section 2.4.1; RFC 5816): openssl asks, the library not."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    encoded = certificate.public_bytes(Encoding.DER)
    try:
        stated = [
            _first_name(values, _NAMING[kind.oid()])
            for attribute in attributes.children()
            for kind, values in [attribute.of(der.SEQUENCE).children()]
            if kind.oid() in _NAMING
        ]
        return bool(stated) and all(hashlib.new(name, encoded).digest() == digest for name, digest in stated)
    except (ValueError, IndexError):
        return False


def _first_name(values: der.Element, algorithm: str) -> tuple[str, bytes]:
    """Algorithm and digest of the first certificate that a SigningCertificate names: the signer's."""
    (value,) = values.of(der.SET).children()
    first = value.of(der.SEQUENCE).children()[0].children()[0].of(der.SEQUENCE).children()
    if first[0].tag == der.SEQUENCE:
        algorithm, first = _DIGESTS.get(first[0].children()[0].oid(), ""), first[1:]
    return algorithm, first[0].of(der.OCTET_STRING).content


def _subject(certificate: Certificate) -> str | None:
    """Its common name, else all of its name."""
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - only who checks a stamp pays for it

    try:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(common[0].value) if common else certificate.subject.rfc4514_string()
    except ValueError:
        return None
    return printable(name[:200]) or None


def _usage(certificate: Certificate) -> str | None:
    """What RFC 3161, section 2.3 asks of it: for time stamps and nothing else, critical."""
    from cryptography import x509  # noqa: PLC0415 - only who checks a stamp pays for it
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return "its signer's certificate does not say that it is for time stamps"
    if set(usage.value) != {ExtendedKeyUsageOID.TIME_STAMPING}:
        return "its signer's certificate is not for time stamps alone"
    return (
        None
        if usage.critical
        else "its signer's certificate does not say critically that it is for time stamps"
    )


# -- openssl -------------------------------------------------------------------------------------------------------------


class _Ran(NamedTuple):
    code: int
    err: bytes


def _openssl_refuses(reply: bytes, sums: bytes, roots: bytes, at: str) -> str | None:
    """What `openssl ts -verify` has against it, or None."""
    with _as_file(reply) as one, _as_file(sums) as two, _as_file(roots) as three:
        words = ["ts", "-verify", "-in", _path(one), "-data", _path(two), "-CAfile", _path(three)]
        ran = _run([*words, "-attime", str(_seconds(at))], (one, two, three))
    return None if ran.code == 0 else _words(ran)


def _signature_fault(token: Token) -> Fault | None:
    """Whether the token is signed by the certificate in it at all, whoever that is."""
    with _as_file(token.encoded) as one:
        words = ["cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", _path(one)]
        ran = _run([*words, "-out", os.devnull], (one,))
    return None if ran.code == 0 else ("signature", f"its signature is not good: {_words(ran)}")


def _seconds(at: str) -> int:
    match = _TIME.fullmatch(at)
    try:
        moment = dt.datetime.fromisoformat(f"{match[1]}+00:00" if match else "")
    except ValueError as error:
        raise CustodyError(f"{at[:40]!a} is no time at which a certificate could be valid") from error
    return int(moment.timestamp())


def _words(ran: _Ran) -> str:
    """What openssl said, without its numbers."""
    text = printable(ran.err.decode("utf-8", "backslashreplace").replace("\n", "\x00")).replace("\\x00", "\n")
    if (found := _VERIFY_ERROR.search(text)) is not None:
        return found[1].strip()[:200]
    reasons = [line.split(":")[5] for line in text.splitlines() if ":error:" in line and line.count(":") > 5]  # noqa: PLR2004
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))[:200] or f"exit code {ran.code}"


@functools.cache
def openssl() -> str:
    """Return the path of openssl.

    Raises:
        HostError: There is none.
    """
    found = shutil.which("openssl", path="/usr/bin:/bin:/usr/local/bin")
    if found is None:
        raise HostError("there is no openssl on this host to check a time stamp with", hint="install openssl")
    return found


def _path(fd: int) -> str:
    return f"/dev/fd/{fd}"


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[int]:
    """Bytes as a file without a name, for a program that takes no other."""
    fd = os.memfd_create("imgkit", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        yield fd
    finally:
        os.close(fd)


def _run(words: Sequence[str], fds: tuple[int, ...]) -> _Ran:
    """Run openssl bare of surroundings: no configuration of the host's, no terminal."""
    import subprocess  # noqa: PLC0415 - only who checks a stamp pays for it

    surroundings = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC", "OPENSSL_CONF": os.devnull}
    try:
        ran = subprocess.run(
            [openssl(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=surroundings,
            timeout=OPENSSL_SECONDS,
            start_new_session=True,
            pass_fds=fds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CustodyError(f"openssl did not answer within {OPENSSL_SECONDS:.0f} s") from error
    except OSError as error:
        raise CustodyError(f"cannot run openssl: {error.strerror or error}") from error
    return _Ran(ran.returncode, ran.stderr)
