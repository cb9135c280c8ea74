"""A time-stamp authority for tests: throw-away certificates of any dates and uses, replies made by `openssl ts`."""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from imgkit.custody import der

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

POLICY = "1.2.3.4.1"
NOW = dt.datetime.now(dt.UTC)
YEAR = dt.timedelta(days=365)
USES = (ExtendedKeyUsageOID.TIME_STAMPING,)

_CONFIG = """\
[tsa]
default_tsa = stamps
[stamps]
serial = {folder}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = {policy}
other_policies = {policy}
digests = {digests}
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    start: dt.datetime = NOW - YEAR,
    end: dt.datetime = NOW + YEAR,
    uses: tuple[x509.ObjectIdentifier, ...] = (),
    critical: bool = True,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> Issued:
    """A certificate below `issuer`, or a root; with `uses` it signs stamps, without it certificates."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=not uses, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=critical)
    signing = issuer.key if issuer else key
    return Issued(builder.sign(signing, hashes.SHA256()), key)


class Authority:
    """A root, a signer below it, and `openssl ts -reply`.

    Attributes:
        roots: File with the root's certificate.
    """

    def __init__(
        self,
        folder: Path,
        *,
        signer: Issued | None = None,
        root: Issued | None = None,
        chain: tuple[Issued, ...] = (),
        digests: str = "sha256",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.root = root or issue("Test Root")
        self.signer = signer or issue("Test TSA", self.root, uses=USES)
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(self.root.pem)
        (folder / "signer.pem").write_bytes(self.signer.pem)
        (folder / "key.pem").write_bytes(self.signer.key_pem)
        (folder / "chain.pem").write_bytes(b"".join(one.pem for one in chain))
        (folder / "serial").write_text("0100\n")
        (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder, policy=POLICY, digests=digests))
        self._chain = bool(chain)

    def reply(self, query: bytes) -> bytes:
        """What the authority answers."""
        (self.folder / "query.tsq").write_bytes(query)
        words = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq"]
        words += ["-signer", "signer.pem", "-inkey", "key.pem", "-out", "reply.tsr"]
        words += ["-chain", "chain.pem"] if self._chain else []
        subprocess.run(words, cwd=self.folder, capture_output=True, check=True)
        return (self.folder / "reply.tsr").read_bytes()

    def says_openssl(self, reply: bytes, sums: bytes, *, at: int | None = None) -> bool:
        """What a stranger finds with `openssl ts -verify`."""
        (self.folder / "seen.tsr").write_bytes(reply)
        (self.folder / "seen.sums").write_bytes(sums)
        words = [
            "openssl",
            "ts",
            "-verify",
            "-in",
            "seen.tsr",
            "-data",
            "seen.sums",
            "-CAfile",
            self.roots.name,
        ]
        words += ["-attime", str(at)] if at is not None else []
        return subprocess.run(words, cwd=self.folder, capture_output=True, check=False).returncode == 0


@dataclass
class Asked:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes


def oid(dotted: str) -> bytes:
    """An object identifier in DER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = b""
    for arc in (40 * first + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        content += bytes(reversed(digits))
    return der.encode(der.OID, content)


SHA256 = der.encode(der.SEQUENCE, (oid("2.16.840.1.101.3.4.2.1"), der.encode(der.NULL, b"")))
GRANTED = der.encode(der.SEQUENCE, (der.encode_integer(0),))


def attribute(kind: str, value: bytes) -> bytes:
    return der.encode(der.SEQUENCE, (oid(kind), der.encode(der.SET, value)))


def make_info(sums: bytes, nonce: int | None, time: dt.datetime, *, serial: int = 7) -> bytes:
    """TSTInfo."""
    imprint = der.encode(der.SEQUENCE, (SHA256, der.encode(der.OCTET_STRING, hashlib.sha256(sums).digest())))
    when = der.encode(der.GENERALIZED_TIME, time.strftime("%Y%m%d%H%M%SZ").encode())
    parts = [der.encode_integer(1), oid(POLICY), imprint, der.encode_integer(serial), when]
    return der.encode(der.SEQUENCE, [*parts, *([der.encode_integer(nonce)] if nonce is not None else [])])


def make_reply(
    signer: Issued,
    info: bytes,
    *,
    certificates: Sequence[Issued] | None = None,
    status: bytes = GRANTED,
    named: Issued | None = None,
    naming: str = "1.2.840.113549.1.9.16.2.47",
) -> bytes:
    """A reply made by hand: of any time, by a certificate for anything, with certificates in any order.

    Args:
        signer: Whose key signs.
        info: TSTInfo.
        certificates: What is in the reply; the signer's by default.
        status: PKIStatusInfo.
        named: Whose certificate the signed attributes name; the signer's by default.
        naming: By which attribute: SigningCertificateV2, or the first one with a SHA-1.
    """
    encoded = signer.der
    digest = der.encode(der.OCTET_STRING, hashlib.sha256(info).digest())
    algorithm = "sha256" if naming.endswith(".47") else "sha1"
    name = der.encode(der.OCTET_STRING, hashlib.new(algorithm, (named or signer).der).digest())
    for _level in range(3):  # SigningCertificate: certs: ESSCertID
        name = der.encode(der.SEQUENCE, name)
    tst_info = oid("1.2.840.113549.1.9.16.1.4")
    attributes = [
        attribute("1.2.840.113549.1.9.3", tst_info),
        attribute("1.2.840.113549.1.9.4", digest),
        attribute(naming, name),
    ]
    signed = b"".join(sorted(attributes))
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = signer.key.sign(der.encode(der.SET, signed), ec.ECDSA(hashes.SHA256()))
    fields = der.whole(encoded).children()[0].children()
    info_of_signer = der.encode(
        der.SEQUENCE,
        (
            der.encode_integer(1),
            der.encode(der.SEQUENCE, (fields[3].encoded, fields[1].encoded)),
            SHA256,
            der.encode(der.CONTEXT_0, signed),
            der.encode(der.SEQUENCE, oid("1.2.840.10045.4.3.2")),
            der.encode(der.OCTET_STRING, signature),
        ),
    )
    held = [one.der for one in (certificates if certificates is not None else (signer,))]
    signed_data = der.encode(
        der.SEQUENCE,
        (
            der.encode_integer(3),
            der.encode(der.SET, SHA256),
            der.encode(
                der.SEQUENCE, (tst_info, der.encode(der.CONTEXT_0, der.encode(der.OCTET_STRING, info)))
            ),
            *([der.encode(der.CONTEXT_0, held)] if held else []),
            der.encode(der.SET, info_of_signer),
        ),
    )
    token = (oid("1.2.840.113549.1.7.2"), der.encode(der.CONTEXT_0, signed_data))
    return der.encode(der.SEQUENCE, (status, der.encode(der.SEQUENCE, token)))


class Served:
    """An authority on loopback; `answer` gets the query and returns status, headers and body. A context manager."""

    def __init__(self, answer: Callable[[bytes], tuple[int, dict[str, str], bytes]]) -> None:
        self.asked: list[Asked] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                asked.append(Asked(self.path, dict(self.headers.items()), body))
                status, headers, content = answer(body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                asked.append(Asked(self.path, dict(self.headers.items()), b"GET"))
                self.send_error(405)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @classmethod
    def of(cls, authority: Authority) -> Self:
        """A server that answers as the authority does."""
        kind = {"Content-Type": "application/timestamp-reply"}
        return cls(lambda query: (200, kind, authority.reply(query)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/tsr"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
