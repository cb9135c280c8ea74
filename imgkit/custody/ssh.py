"""ssh-keygen, the one program that signs and judges signatures: started here alone, bare of surroundings, bounded in time.

Every key that ssh-keygen can use signs: a file, one that an agent holds (its public key is named), one with a certificate of
an agency (`KEY-cert.pub` is named). Its verdict is taken, and ours on top of it: the namespace, weak keys, the principal.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from imgkit.custody.checkpoint import NAMESPACE
from imgkit.custody.durable import told
from imgkit.custody.sshsig import (
    CertificateFacts,
    SignatureFacts,
    armour,
    fingerprint_of,
    read_key,
    read_signature,
    weak_key,
)
from imgkit.errors import CustodyError, HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.linux.files import Identity

Status = Literal["trusted", "bad", "unknown", "revoked", "expired", "weak", "namespace", "principal"]

SIGN_SECONDS = 60.0  # a security key waits for a touch
ASK_SECONDS = 300.0  # somebody types a passphrase
VERIFY_SECONDS = 30.0
_REVOKED_LIMIT = 64 << 20  # bytes of a revocation list
_KRL = b"SSHKRL\n\0"
_PRINCIPAL = re.compile(r"[!-~]{1,256}")
_NO_PRINCIPAL = re.compile(r"[*?!,\"']|\A[-#]")  # what a list of signers reads as more than a name
_EXPIRED = re.compile(rb"expired|not yet valid")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?Z")
_NOISE = re.compile(r"\r|Could not verify signature\.|No principal matched\.")


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs, and with which key.

    Attributes:
        principal: `jane.doe@lab.example`, as a list of signers names them.
        key: Path of a private key, of a public key whose private half an agent holds, or of a certificate.
        agent: Socket of the agent; None: as SSH_AUTH_SOCK says.
        identity: As whom ssh-keygen runs: behind sudo the invoking user, whose keys and agent these are.
        ask: Whether somebody is at a terminal to type a passphrase; nobody is asked otherwise.
    """

    principal: str
    key: str
    agent: str | None = None
    identity: Identity | None = None
    ask: bool = False

    def __post_init__(self) -> None:
        if not _PRINCIPAL.fullmatch(self.principal) or _NO_PRINCIPAL.search(self.principal):
            raise UsageError(
                f"{self.principal!r} cannot sign: a list of signers could not name it",
                hint="a principal is like jane.doe@lab.example: ASCII without blanks, quotes, commas, * ? !",
            )


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What was found about a signature.

    Attributes:
        status: `trusted`: by a key that the list of signers gives to this principal, valid at that time.
            `bad`: no signature of these bytes. `unknown`: of a key that the list does not have. `revoked`, `expired`
            (or not yet valid), `weak`, `namespace` (made for something else), `principal` (somebody else's key).
        detail: In words.
        fingerprint: Of the key, or None where there is nothing to read.
    """

    status: Status
    detail: str
    fingerprint: str | None


class _Ran(NamedTuple):
    code: int
    out: bytes
    err: bytes


def sign(body: bytes, signer: Signer) -> bytes:
    """Return the armoured signature of a checkpoint's body.

    Raises:
        CustodyError: No signature: no such key, a passphrase and nobody to ask, no agent, a weak key, the time is up.
    """
    key = os.path.abspath(signer.key)
    ran = _run(
        ["-Y", "sign", "-q", "-n", NAMESPACE, "-f", key],
        body,
        seconds=ASK_SECONDS if signer.ask else SIGN_SECONDS,
        signer=signer,
    )
    if ran.code != 0 or not ran.out:
        why, hint = _why_unsigned(signer, ran)
        raise CustodyError(f"ssh-keygen did not sign with {key!r}: {why}", hint=hint)
    facts = read_signature(ran.out)
    if (weak := weak_key(facts.key)) is not None:
        raise CustodyError(
            f"{key!r} is refused: {weak}", code="WEAK_KEY", hint="ssh-keygen -t ed25519 makes one"
        )
    if not _is_signature(body, ran.out):
        raise CustodyError(f"ssh-keygen made a signature with {key!r} that does not fit what was signed")
    return ran.out


def _why_unsigned(signer: Signer, ran: _Ran) -> tuple[str, str]:
    """What went wrong in words, and what to do."""
    if b"incorrect passphrase" in ran.err and not signer.ask:
        return "it has a passphrase, and nobody is at a terminal", "add it to an agent with ssh-add"
    if signer.agent or os.environ.get("SSH_AUTH_SOCK"):
        hint = "ssh-add -L lists the keys that the agent has; a key file must be yours, with mode 0600"
    elif os.environ.get("SUDO_UID"):
        hint = "no agent was asked, for sudo drops SSH_AUTH_SOCK: sudo --preserve-env=SSH_AUTH_SOCK imgkit …"
    else:
        hint = "no agent was asked, for SSH_AUTH_SOCK is not set; a key file must be yours, with mode 0600"
    return _words(ran), hint


def verify_signature(
    body: bytes,
    armoured: bytes,
    *,
    signers: str | os.PathLike[str],
    principal: str,
    revoked: str | os.PathLike[str] | None = None,
    at: str | None = None,
) -> SignatureCheck:
    """Say whether the signature is one of these bytes by the principal, whose key the list of signers has.

    Args:
        body: What is said to be signed.
        armoured: The signature as it lies in its file.
        signers: An allowed_signers file (ssh-keygen(1)) of the verifier's own.
        principal: The `signer` of the body.
        revoked: A KRL, or a list of public keys, that are no longer trusted.
        at: RFC 3339 time at which key and certificate must be valid; None: now.

    Raises:
        CustodyError: The list of signers or of revoked keys cannot be used.
        HostError: There is no ssh-keygen.
    """
    lists = _lists(signers, revoked)
    try:
        facts = read_signature(armoured)
    except CustodyError as error:
        return SignatureCheck("bad", error.message, None)
    if (weak := weak_key(facts.key)) is not None:
        return SignatureCheck("weak", weak, facts.fingerprint)
    with _as_file(
        armour(facts.blob)
    ) as signature:  # the bytes that were judged above, whatever surrounds them
        case = _Case(body, signature, facts, lists[0], principal, lists[1], at)
        if facts.namespace == NAMESPACE and case.verifies(revoked=lists[1]):
            return SignatureCheck(
                "trusted", f"{principal} signed with {facts.fingerprint}", facts.fingerprint
            )
        status, detail = case.why_not()
    return SignatureCheck(status, detail, facts.fingerprint)


class _Case(NamedTuple):
    """One signature to be judged."""

    body: bytes
    signature: int
    facts: SignatureFacts
    signers: str
    principal: str
    revoked: str | None
    at: str | None

    def _ask(self, words: Sequence[str], *, stdin: bytes) -> _Ran:
        words = ["-Y", *words, "-s", f"/dev/fd/{self.signature}"]
        return _run(words, stdin, seconds=VERIFY_SECONDS, fds=(self.signature,))

    def _known(self, verb: str, *more: str) -> list[str]:
        return [verb, "-f", self.signers, *_verify_time(self.at), *more]

    def verifies(self, *, revoked: str | None) -> bool:
        return self._verify(revoked).code == 0

    def _verify(self, revoked: str | None) -> _Ran:
        words = self._known("verify", "-I", self.principal, "-n", NAMESPACE)
        return self._ask([*words, *(["-r", revoked] if revoked else [])], stdin=self.body)

    def why_not(self) -> tuple[Status, str]:
        """Ask ssh-keygen one thing after another: it has one exit code for everything that is wrong."""
        facts = self.facts
        if self._ask(["check-novalidate", "-n", facts.namespace], stdin=self.body).code != 0:
            return "bad", "it is no signature of these bytes"
        if facts.namespace != NAMESPACE:
            return "namespace", f"it was made for {facts.namespace[:80]!a}, not for {NAMESPACE}"
        ran = self._verify(None)
        if self.revoked is not None and self._is_revoked(otherwise_good=ran.code == 0):
            return "revoked", f"the key {facts.fingerprint} is revoked"
        return self._unknown(ran)

    def _unknown(self, ran: _Ran) -> tuple[Status, str]:
        if _EXPIRED.search(ran.err):
            return "expired", _words(ran)
        others = self._principals()
        if others and self.principal not in others:
            return "principal", f"the key is one of {', '.join(others)}, not of {self.principal}"
        if (certificate := self.facts.certificate) is not None and self._issues(certificate):
            names = ", ".join(certificate.principals) or "nobody"
            return "principal", f"the certificate is for {names}, not for {self.principal}"
        return "unknown", f"the list of signers has no key {self.facts.fingerprint} for {self.principal}"

    def _principals(self) -> list[str]:
        ran = self._ask(self._known("find-principals"), stdin=b"")
        lines = ran.out.decode("utf-8", "backslashreplace").splitlines() if ran.code == 0 else []
        return [ascii(line)[1:-1] for line in lines if line]

    def _issues(self, certificate: CertificateFacts) -> bool:
        """Whether the list has the certificate's issuer at all."""
        return self.principal not in certificate.principals and _lists_key(
            _read(self.signers), [certificate.ca_key]
        )

    def _is_revoked(self, *, otherwise_good: bool) -> bool:
        """Whether the key is in the list of revoked ones; a list that cannot be used is no verdict."""
        path, facts = str(self.revoked), self.facts
        data = _read(path)
        keys = [facts.key, facts.plain_key]
        keys += [facts.certificate.ca_key] if facts.certificate is not None else []
        if not data.startswith(_KRL):
            if not (listed := _lists_key(data, keys)) and otherwise_good:
                raise CustodyError(f"the list of revoked keys {path!r} cannot be used", hint=_REVOKED_HINT)
            return listed
        if otherwise_good:
            if _run(["-Q", "-l", "-f", path], b"", seconds=VERIFY_SECONDS).code != 0:
                raise CustodyError(f"the list of revoked keys {path!r} is damaged", hint=_REVOKED_HINT)
            return True
        return any(self._in_krl(path, key) for key in keys)

    def _in_krl(self, path: str, key: bytes) -> bool:
        kind = read_key(key).kind
        with _as_file(f"{kind} {base64.b64encode(key).decode()}\n".encode()) as fd:
            ran = _run(["-Q", "-f", path, f"/dev/fd/{fd}"], b"", seconds=VERIFY_SECONDS, fds=(fd,))
        return ran.code != 0 and b"REVOKED" in ran.out


_REVOKED_HINT = "it is a KRL as ssh-keygen -k makes it, or public keys, one a line"


def _lists_key(data: bytes, keys: Sequence[bytes]) -> bool:
    words = set(data.split())
    return any(base64.b64encode(key) in words for key in keys)


def _lists(signers: str | os.PathLike[str], revoked: str | os.PathLike[str] | None) -> tuple[str, str | None]:
    """Absolute paths of both lists, which can be read."""
    paths = [os.path.abspath(signers), os.path.abspath(revoked) if revoked is not None else None]
    for path in paths:
        if path is not None:
            with told(f"read the list of keys {path!r}", given=True), open(path, "rb"):
                pass
    return str(paths[0]), paths[1]


def _read(path: str) -> bytes:
    with told(f"read the list of keys {path!r}", given=True), open(path, "rb") as file:
        return file.read(_REVOKED_LIMIT)


def _verify_time(at: str | None) -> list[str]:
    if at is None:
        return []
    match = _TIME.fullmatch(at)
    if match is None:
        raise CustodyError(f"{at[:40]!a} is no time at which a key could be valid")
    return ["-O", "verify-time=" + "".join(match.groups())]  # TZ is UTC where ssh-keygen runs


def _is_signature(body: bytes, armoured: bytes) -> bool:
    with _as_file(armoured) as fd:
        words = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", f"/dev/fd/{fd}"]
        return _run(words, body, seconds=VERIFY_SECONDS, fds=(fd,)).code == 0


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[int]:
    """Bytes as a file without a name, for a program that takes no other."""
    fd = os.memfd_create("imgkit", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def _words(ran: _Ran) -> str:
    """What ssh-keygen said, on one line."""
    text = ran.err.decode("utf-8", "backslashreplace")
    lines = [line.strip() for line in _NOISE.sub("", text).splitlines() if line.strip()]
    return "; ".join(ascii(line)[1:-1] for line in lines)[:400] or f"exit code {ran.code}"


@functools.cache
def ssh_keygen() -> str:
    """Return the path of ssh-keygen.

    Raises:
        HostError: There is none.
    """
    found = shutil.which("ssh-keygen", path="/usr/bin:/bin:/usr/local/bin")
    if found is None:
        raise HostError("there is no ssh-keygen on this host", hint="install openssh-client")
    return found


def _environment(signer: Signer | None) -> dict[str, str]:
    """Nothing of the caller's but the agent; a passphrase comes from a terminal, or not at all.

    Without a terminal ssh-keygen would read one from its standard input, where the body is: /bin/false answers first.
    """
    surroundings = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC", "SSH_ASKPASS": "/bin/false"}
    surroundings["SSH_ASKPASS_REQUIRE"] = "never" if signer is not None and signer.ask else "force"
    agent = (signer.agent or os.environ.get("SSH_AUTH_SOCK")) if signer is not None else None
    if agent:
        surroundings["SSH_AUTH_SOCK"] = agent
    return surroundings


def _run(
    words: Sequence[str],
    stdin: bytes,
    *,
    seconds: float,
    signer: Signer | None = None,
    fds: tuple[int, ...] = (),
) -> _Ran:
    """Run ssh-keygen; at a terminal its questions are seen and answered there."""
    import subprocess  # noqa: PLC0415 - only who signs or verifies pays for it

    asks = signer is not None and signer.ask
    identity = signer.identity if signer is not None else None
    rights = {} if identity is None or os.geteuid() != 0 else _rights(identity)
    try:
        ran = subprocess.run(
            [ssh_keygen(), *words],
            input=stdin,
            capture_output=True,
            cwd="/",
            env=_environment(signer),
            timeout=seconds,
            start_new_session=not asks,
            pass_fds=fds,
            check=False,
            **rights,  # type: ignore[call-overload]  # user, group and groups
        )
    except subprocess.TimeoutExpired as error:
        raise CustodyError(f"ssh-keygen did not answer within {seconds:.0f} s") from error
    except OSError as error:
        raise CustodyError(f"cannot run ssh-keygen: {error.strerror or error}") from error
    return _Ran(ran.returncode, ran.stdout, ran.stderr)


def _rights(identity: Identity) -> dict[str, object]:
    return {"user": identity.uid, "group": identity.gid, "extra_groups": list(identity.groups)}


__all__ = [
    "CertificateFacts",
    "SignatureCheck",
    "SignatureFacts",
    "Signer",
    "fingerprint_of",
    "read_signature",
    "sign",
    "verify_signature",
    "weak_key",
]
