"""Signatures by real keys of every kind, judged as stock OpenSSH judges them, and stricter where that is too kind."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgkit.custody import ssh
from imgkit.custody.ssh import Signer, read_signature, sign, verify_signature, weak_key
from imgkit.errors import CustodyError, UsageError
from imgkit.linux.files import Identity
from tests.conftest import need
from tests.custody import keys
from tests.custody.keys import agent, blob_of, certify, make_key, public, ssh_keygen, string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JANE, BOB = "jane@lab.example", "bob@lab.example"
BODY = b"imgkit-checkpoint/v1\nn: 1\n"
KINDS = [
    ("ed25519", None), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048"), ("rsa", "3072"),
]  # fmt: skip
ALL_SMALL = sorted(encoding for point in keys.small_order_points() for encoding in keys.encodings(point))


class Desk:
    """A folder with Jane's key, an agency's, and lists of signers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = make_key(folder / "id")
        self.ca = make_key(folder / "ca")

    def signers(self, *lines: str) -> Path:
        path = self.folder / f"signers-{hashlib.sha256(repr(lines).encode()).hexdigest()[:8]}"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def sign(self, key: Path | None = None, body: bytes = BODY) -> bytes:
        return sign(body, Signer(JANE, str(key or self.key)))

    @property
    def certified(self) -> str:
        return f"*@lab.example cert-authority {public(self.ca)}"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def stock(desk: Desk, signature: bytes, signers: Path, *options: str, body: bytes = BODY) -> bool:
    """What the stock tool says, typed as the documentation has it."""
    path = desk.folder / "stock.sig"
    path.write_bytes(signature)
    words: list[str | Path] = [
        "-Y",
        "verify",
        "-f",
        signers,
        "-I",
        JANE,
        "-n",
        "custody@imgkit",
        "-s",
        path,
        *options,
    ]
    return ssh_keygen(*words, stdin=body, check=False).returncode == 0


# -- keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "bits"), KINDS, ids=[f"{kind}-{bits}" for kind, bits in KINDS])
def test_a_key_of_each_kind_signs(desk: Desk, kind: str, bits: str | None) -> None:
    key = make_key(desk.folder / "key", kind, bits)
    signature = desk.sign(key)
    check = verify_signature(BODY, signature, signers=desk.signers(f"{JANE} {public(key)}"), principal=JANE)
    facts = read_signature(signature)
    assert check.status == "trusted", check
    assert (facts.namespace, facts.hash_algorithm, facts.certificate) == ("custody@imgkit", "sha512", None)
    shown = ssh_keygen("-l", "-f", key).stdout.decode().split()
    assert facts.fingerprint == check.fingerprint == shown[1]


def test_a_certificate_of_the_agency_signs(desk: Desk) -> None:
    certificate = certify(desk.ca, desk.key, "-z", "42", principal=JANE)
    signature = desk.sign(certificate)
    check = verify_signature(BODY, signature, signers=desk.signers(desk.certified), principal=JANE)
    assert check.status == "trusted", check
    facts = read_signature(signature)
    assert facts.certificate is not None
    assert (facts.certificate.serial, facts.certificate.key_id) == (42, "badge 7")
    assert facts.certificate.principals == (JANE,)
    assert facts.certificate.ca == ssh_keygen("-l", "-f", desk.ca).stdout.decode().split()[1]
    assert facts.fingerprint == ssh_keygen("-l", "-f", desk.key).stdout.decode().split()[1]


@pytest.mark.parametrize("certified", [False, True], ids=["key", "certificate"])
def test_an_agent_signs_for_a_public_key(desk: Desk, *, certified: bool) -> None:
    named = certify(desk.ca, desk.key, principal=JANE) if certified else desk.folder / "id.pub"
    with agent(desk.folder, desk.key) as socket:
        desk.key.unlink()
        signature = sign(BODY, Signer(JANE, str(named), agent=socket))
    line = desk.certified if certified else f"{JANE} {named.read_text().strip()}"
    assert verify_signature(BODY, signature, signers=desk.signers(line), principal=JANE).status == "trusted"


def test_the_agent_of_the_environment_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with agent(desk.folder, desk.key) as socket:
        desk.key.unlink()
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        assert (
            read_signature(sign(BODY, Signer(JANE, str(desk.folder / "id.pub")))).namespace
            == "custody@imgkit"
        )


@pytest.mark.parametrize(
    ("sudo", "said"), [(None, "SSH_AUTH_SOCK is not set"), ("1000", "sudo drops SSH_AUTH_SOCK")]
)
def test_no_agent_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch, sudo: str | None, said: str) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)
    if sudo:
        monkeypatch.setenv("SUDO_UID", sudo)
    desk.key.unlink()
    with pytest.raises(CustodyError) as caught:
        sign(BODY, Signer(JANE, str(desk.folder / "id.pub")))
    assert said in str(caught.value.hint)


def test_a_passphrase_and_nobody_there_fails_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SSH_ASKPASS", "/bin/echo")
    key = make_key(desk.folder / "locked", passphrase="imgkit-checkpoint/v1")
    started = time.monotonic()
    with pytest.raises(CustodyError, match="has a passphrase, and nobody is at a terminal"):
        desk.sign(key)  # though the first line of the body is the passphrase
    assert time.monotonic() - started < 10


def test_a_key_that_others_can_read_is_refused(desk: Desk) -> None:
    desk.key.chmod(0o644)
    with pytest.raises(CustodyError, match="did not sign"):
        desk.sign()


@pytest.fixture
def foreign() -> Iterator[tuple[Path, Identity]]:
    """A folder of another user, and that user."""
    need(os.geteuid() == 0, "needs root")
    nobody = pwd.getpwnam("nobody")  # ssh-keygen asks for the user's entry
    folder = Path(tempfile.mkdtemp(prefix="imgkit-test-", dir="/var/tmp"))
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    yield folder, Identity(nobody.pw_uid, nobody.pw_gid)
    shutil.rmtree(folder)


def test_a_key_is_used_as_its_owner(foreign: tuple[Path, Identity]) -> None:
    """As behind sudo: what the user cannot read, root does not sign with in their name."""
    folder, user = foreign
    desk = Desk(folder)
    os.chown(desk.key, user.uid, user.gid)
    signature = sign(BODY, Signer(JANE, str(desk.key), identity=user))
    assert (
        read_signature(signature).fingerprint == ssh_keygen("-l", "-f", desk.key).stdout.decode().split()[1]
    )
    with pytest.raises(CustodyError, match="did not sign"):
        sign(BODY, Signer(JANE, str(desk.ca), identity=user))


def test_the_agent_of_another_user_is_asked_as_that_user(foreign: tuple[Path, Identity]) -> None:
    folder, user = foreign
    desk = Desk(folder)
    os.chown(desk.key, user.uid, user.gid)
    with agent(folder, desk.key, uid=user.uid) as socket:
        desk.key.unlink()
        signature = sign(BODY, Signer(JANE, str(folder / "id.pub"), agent=socket, identity=user))
    signers = desk.signers(f"{JANE} {public(desk.key)}")
    assert verify_signature(BODY, signature, signers=signers, principal=JANE).status == "trusted"


@pytest.mark.parametrize(
    "principal", ["", "jane doe", "*", "jane@*", "a,b", '"x"', "!jane", "-jane", "#x", "é", "a\nb"]
)
def test_a_principal_that_no_list_can_name(principal: str) -> None:
    with pytest.raises(UsageError):
        Signer(principal, "key")


def test_nothing_of_the_environment_reaches_ssh_keygen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = desk.folder / "ssh-keygen"
    trap.write_text(f"#!/bin/sh\ntouch {desk.folder}/trapped\n")
    trap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{desk.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_SK_PROVIDER", "/nonexistent.so")
    ssh.ssh_keygen.cache_clear()
    desk.sign()
    assert not (desk.folder / "trapped").exists()
    environment = ssh._environment(Signer(JANE, "key"))
    assert set(environment) <= {"LC_ALL", "PATH", "TZ", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "SSH_AUTH_SOCK"}


def test_a_program_that_hangs_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = desk.folder / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(ssh, "ssh_keygen", lambda: str(slow))
    monkeypatch.setattr(ssh, "SIGN_SECONDS", 0.2)
    with pytest.raises(CustodyError, match="did not answer"):
        desk.sign()


def test_a_signature_of_something_else_is_not_taken(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken agent or program gives back is compared with what was to be signed."""
    other = desk.folder / "other.sig"
    other.write_bytes(desk.sign(body=b"something else\n"))
    true = ssh.ssh_keygen()
    liar = desk.folder / "liar"
    liar.write_text(f'#!/bin/sh\ncase "$2" in sign) cat {other};; *) exec {true} "$@";; esac\n')
    liar.chmod(0o755)
    monkeypatch.setattr(ssh, "ssh_keygen", lambda: str(liar))
    with pytest.raises(CustodyError, match="does not fit"):
        desk.sign()


# -- verdicts ------------------------------------------------------------------------------------------


def test_other_bytes_are_bad(desk: Desk) -> None:
    signature, signers = desk.sign(), desk.signers(f"{JANE} {public(desk.key)}")
    assert verify_signature(BODY + b"x", signature, signers=signers, principal=JANE).status == "bad"
    assert verify_signature(BODY, b"no signature", signers=signers, principal=JANE).status == "bad"
    assert verify_signature(BODY, b"", signers=signers, principal=JANE).status == "bad"


def test_a_key_that_is_not_listed_is_unknown(desk: Desk) -> None:
    other = make_key(desk.folder / "other")
    signers = desk.signers(f"{JANE} {public(other)}")
    assert verify_signature(BODY, desk.sign(), signers=signers, principal=JANE).status == "unknown"
    assert verify_signature(BODY, desk.sign(), signers=desk.signers(), principal=JANE).status == "unknown"


def test_a_key_of_somebody_else(desk: Desk) -> None:
    signers = desk.signers(f"{BOB} {public(desk.key)}")
    check = verify_signature(BODY, desk.sign(), signers=signers, principal=JANE)
    assert check.status == "principal"
    assert BOB in check.detail


def test_a_certificate_of_somebody_else(desk: Desk) -> None:
    signature = desk.sign(certify(desk.ca, desk.key, principal=BOB))
    for line in (desk.certified, f"{JANE} cert-authority {public(desk.ca)}"):
        check = verify_signature(BODY, signature, signers=desk.signers(line), principal=JANE)
        assert check.status == "principal", line
        assert BOB in check.detail


def test_a_certificate_of_another_agency_is_unknown(desk: Desk) -> None:
    other = make_key(desk.folder / "other-ca")
    signature = desk.sign(certify(other, desk.key, principal=JANE))
    check = verify_signature(BODY, signature, signers=desk.signers(desk.certified), principal=JANE)
    assert check.status == "unknown"


def test_a_certificate_is_no_plain_key_and_the_other_way_round(desk: Desk) -> None:
    plain, certified = desk.sign(), desk.sign(certify(desk.ca, desk.key, principal=JANE))
    for signature, line in ((plain, desk.certified), (certified, f"{JANE} {public(desk.key)}")):
        signers = desk.signers(line)
        assert verify_signature(BODY, signature, signers=signers, principal=JANE).status == "unknown"
        assert not stock(desk, signature, signers)


def test_a_namespace_of_something_else(desk: Desk) -> None:
    for namespace in ("file", "git", "custody", "custody@imgkit ", "custody@imgkit.example"):
        words = ["-Y", "sign", "-q", "-n", namespace, "-f", desk.key]
        signature = ssh_keygen(*words, stdin=BODY).stdout
        signers = desk.signers(f"{JANE} {public(desk.key)}")
        assert verify_signature(BODY, signature, signers=signers, principal=JANE).status == "namespace"
        assert verify_signature(b"x", signature, signers=signers, principal=JANE).status == "bad"


def test_a_list_that_allows_another_namespace_only(desk: Desk) -> None:
    signers = desk.signers(f'{JANE} namespaces="git" {public(desk.key)}')
    assert verify_signature(BODY, desk.sign(), signers=signers, principal=JANE).status == "unknown"


def test_a_certificate_is_judged_at_the_time_of_the_checkpoint(desk: Desk) -> None:
    certificate = certify(desk.ca, desk.key, "-V", "20260101000000:20260201000000", principal=JANE)
    signature, signers = desk.sign(certificate), desk.signers(desk.certified)

    def at(when: str | None) -> str:
        return verify_signature(BODY, signature, signers=signers, principal=JANE, at=when).status

    assert at("2026-01-15T12:00:00.000000Z") == "trusted"
    assert at("2026-01-31T23:59:59.999999Z") == "trusted"
    assert at("2026-02-01T00:00:01.000000Z") == "expired"
    assert at("2025-12-31T23:59:59.000000Z") == "expired"
    assert at("2030-01-01T00:00:00Z") == "expired"
    with pytest.raises(CustodyError, match="is no time"):
        at("yesterday")


def test_a_key_is_judged_at_the_time_of_the_checkpoint(desk: Desk) -> None:
    window = 'valid-after="20260101000000Z",valid-before="20260201000000Z"'
    signers = desk.signers(f"{JANE} {window} {public(desk.key)}")
    signature = desk.sign()
    for when, status in (("2026-01-15", "trusted"), ("2025-12-01", "expired"), ("2026-03-01", "expired")):
        check = verify_signature(BODY, signature, signers=signers, principal=JANE, at=f"{when}T00:00:00Z")
        assert check.status == status, when


def krl(desk: Desk, *what: Path) -> Path:
    path = desk.folder / "revoked.krl"
    ssh_keygen("-q", "-k", "-f", path, *(key.with_suffix(".pub") for key in what))
    return path


def listed(desk: Desk, *what: Path) -> Path:
    path = desk.folder / "revoked.txt"
    path.write_text(
        "# no longer ours\n\n" + "".join(public(key) + " gone\n" for key in what), encoding="ascii"
    )
    return path


@pytest.mark.parametrize("form", [krl, listed], ids=["krl", "list"])
def test_revoked(desk: Desk, form: Callable[..., Path]) -> None:
    other = make_key(desk.folder / "other")
    known, unknown = desk.signers(f"{JANE} {public(desk.key)}"), desk.signers()
    signature = desk.sign()

    def status(signers: Path, revoked: Path) -> str:
        return verify_signature(BODY, signature, signers=signers, principal=JANE, revoked=revoked).status

    assert status(known, form(desk, desk.key)) == "revoked"
    assert status(unknown, form(desk, desk.key)) == "revoked"
    assert status(known, form(desk, other)) == "trusted"
    assert status(unknown, form(desk, other)) == "unknown"


@pytest.mark.parametrize("form", [krl, listed], ids=["krl", "list"])
@pytest.mark.parametrize("which", ["ca", "id"])
def test_a_revoked_agency_or_key_of_a_certificate(desk: Desk, form: Callable[..., Path], which: str) -> None:
    signature = desk.sign(certify(desk.ca, desk.key, principal=JANE))
    revoked = form(desk, desk.folder / which)
    check = verify_signature(
        BODY, signature, signers=desk.signers(desk.certified), principal=JANE, revoked=revoked
    )
    assert check.status == "revoked"
    assert not stock(desk, signature, desk.signers(desk.certified), "-r", str(revoked))


def test_a_certificate_revoked_by_its_number(desk: Desk) -> None:
    signature = desk.sign(certify(desk.ca, desk.key, "-z", "42", principal=JANE))
    for number, status in (("42", "revoked"), ("43", "trusted")):
        order, path = desk.folder / "order", desk.folder / f"krl-{number}"
        order.write_text(f"serial: {number}\n")
        ssh_keygen("-q", "-k", "-f", path, "-s", desk.folder / "ca.pub", order)
        check = verify_signature(
            BODY, signature, signers=desk.signers(desk.certified), principal=JANE, revoked=path
        )
        assert check.status == status


@pytest.mark.parametrize("content", [b"nonsense\n", b"SSHKRL\n\0nonsense", b""], ids=["text", "krl", "empty"])
def test_a_list_of_revoked_keys_that_cannot_be_used_is_no_verdict(desk: Desk, content: bytes) -> None:
    path, signers = desk.folder / "revoked", desk.signers(f"{JANE} {public(desk.key)}")
    path.write_bytes(content)
    if not content:  # nothing is revoked
        check = verify_signature(BODY, desk.sign(), signers=signers, principal=JANE, revoked=path)
        assert check.status == "trusted"
        return
    with pytest.raises(CustodyError, match="list of revoked keys"):
        verify_signature(BODY, desk.sign(), signers=signers, principal=JANE, revoked=path)


def test_lists_that_are_not_there(desk: Desk) -> None:
    signers, missing = desk.signers(), desk.folder / "missing"
    for lists in ({"signers": missing}, {"signers": signers, "revoked": missing}):
        with pytest.raises(CustodyError, match="cannot read the list of keys"):
            verify_signature(BODY, desk.sign(), principal=JANE, **lists)  # type: ignore[arg-type]


SURROUNDINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda text: text,
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "CR": lambda text: text.replace(b"\n", b"\r"),
    "BOM": lambda text: b"\xef\xbb\xbf" + text,
    "blank before": lambda text: b" " + text,
    "line before": lambda text: b"\n" + text,
    "blanks after each line": lambda text: text.replace(b"\n", b" \t\n"),
    "blanks at the end": lambda text: text + b" \n\t\n",
    "text at the end": lambda text: text + b"and so on\n",
    "no last LF": lambda text: text[:-1],
    "one line": lambda text: text.replace(b"\n", b"", 1),
    "cut": lambda text: text[: len(text) // 2],
    "cut in the last line": lambda text: text[:-10],
    "a digit less": lambda text: text[:40] + text[41:],
    "a byte that is no digit": lambda text: text[:40] + b"*" + text[41:],
    "a NUL": lambda text: text[:40] + b"\0" + text[40:],
    "upper case": bytes.upper,
    "twice": lambda text: text * 2,
    "UTF-16": lambda text: text.decode().encode("utf-16"),
}


@pytest.mark.parametrize("how", SURROUNDINGS)
def test_a_signature_file_is_read_as_stock_openssh_reads_it(desk: Desk, how: str) -> None:
    signature, signers = SURROUNDINGS[how](desk.sign()), desk.signers(f"{JANE} {public(desk.key)}")
    ours = verify_signature(BODY, signature, signers=signers, principal=JANE).status
    assert ours == ("trusted" if stock(desk, signature, signers) else "bad")


# -- weak keys -----------------------------------------------------------------------------------------


def test_there_are_eight_points_and_fourteen_ways_to_write_them() -> None:
    assert len(keys.small_order_points()) == 8
    assert len(ALL_SMALL) == 14


@pytest.mark.parametrize("point", ALL_SMALL, ids=[point.hex() for point in ALL_SMALL])
def test_a_key_of_small_order_is_refused_everywhere(desk: Desk, point: bytes) -> None:
    plain = keys.ed25519_blob(point)
    good = blob_of(public(desk.key))
    hardware = string("sk-ssh-ed25519@openssh.com") + string(point) + string("ssh:")
    blobs = {
        "key": plain,
        "security key": hardware,
        "certified": keys.certificate_blob("ssh-ed25519", string(point), good),
        "certified security key": keys.certificate_blob(
            "sk-ssh-ed25519", string(point) + string("ssh:"), good
        ),
        "agency": keys.certificate_blob("ssh-ed25519", good[len(string("ssh-ed25519")) :], plain),
    }
    for name, blob in blobs.items():
        assert "small order" in (weak_key(blob) or ""), name
        signature = keys.sshsig(blob, point + bytes(32))
        check = verify_signature(BODY, signature, signers=desk.signers(), principal=JANE)
        assert check.status == "weak", name
    with pytest.raises(CustodyError, match=r"small order|did not sign"):
        desk.sign(keys.private_file(desk.folder / "weak", point))


def test_stock_openssh_takes_one_signature_of_small_order_for_every_message(desk: Desk) -> None:
    """Why these keys are refused: this is what a verifier by stock tools alone has to look for."""
    identity = (1).to_bytes(32, "little")
    signature = keys.sshsig(keys.ed25519_blob(identity), identity + bytes(32))
    line = f"{JANE} ssh-ed25519 {base64.b64encode(keys.ed25519_blob(identity)).decode()}"
    signers = desk.signers(line)
    for body in (BODY, b"anything else\n"):
        assert stock(desk, signature, signers, body=body)
        assert verify_signature(body, signature, signers=signers, principal=JANE).status == "weak"


def test_good_keys_are_not_weak(desk: Desk) -> None:
    for kind, bits in KINDS:
        key = make_key(desk.folder / f"{kind}-{bits}", kind, bits)
        assert weak_key(blob_of(public(key))) is None
        certificate = certify(desk.ca, key, principal=JANE)
        assert weak_key(blob_of(certificate.read_text())) is None


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1))


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (string("ssh-rsa") + mpint(65537) + mpint(2**1023 + 1), "1024 bits"),
        (string("ssh-rsa") + mpint(65537) + mpint(2**2046 + 1), "2047 bits"),
        (string("ssh-rsa") + mpint(1) + mpint(2**2047 + 1), "exponent 1"),
        (string("ssh-dss") + mpint(7) * 4, "DSA"),
        (string("ssh-ed25519") + string(b"x" * 31), "31 bytes"),
        (string("ssh-ed448") + string(b"x" * 57), "not known"),
        (string("ssh-ed25519") + string(b"x" * 32) + b"more", "4 bytes more"),
        (string("ssh-ed25519"), "too early"),
        (b"", "too early"),
    ],
)
def test_other_weak_keys(blob: bytes, said: str) -> None:
    assert said in (weak_key(blob) or "")


def test_a_short_rsa_key_neither_signs_nor_counts(desk: Desk) -> None:
    key = make_key(desk.folder / "short", "rsa", "1024")
    with pytest.raises(CustodyError, match="1024 bits"):
        desk.sign(key)
    signature = ssh_keygen("-Y", "sign", "-q", "-n", "custody@imgkit", "-f", key, stdin=BODY).stdout
    signers = desk.signers(f"{JANE} {public(key)}")
    assert stock(desk, signature, signers)
    assert verify_signature(BODY, signature, signers=signers, principal=JANE).status == "weak"


def test_a_security_key_counts(desk: Desk) -> None:
    """Signed as the token does it (PROTOCOL.u2f): there is none in this machine."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    secret = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    point = secret.public_key().public_bytes_raw()
    kind, application, touched = "sk-ssh-ed25519@openssh.com", "ssh:", b"\x01" + (7).to_bytes(4)
    blob = string(kind) + string(point) + string(application)
    message = b"SSHSIG" + string("custody@imgkit") + string("") + string("sha512")
    message += string(hashlib.sha512(BODY).digest())
    told = hashlib.sha256(application.encode()).digest() + touched + hashlib.sha256(message).digest()
    whole = (
        b"SSHSIG" + (1).to_bytes(4) + string(blob) + string("custody@imgkit") + string("") + string("sha512")
    )
    whole += string(string(kind) + string(secret.sign(told)) + touched)
    signers = desk.signers(f"{JANE} {kind} {base64.b64encode(blob).decode()}")
    check = verify_signature(BODY, keys.armoured(whole), signers=signers, principal=JANE)
    assert check.status == "trusted", check


# -- reading -------------------------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_whatever_is_read_is_refused_in_order(data: bytes) -> None:
    for armoured in (data, keys.armoured(data), keys.armoured(b"SSHSIG\0\0\0\x01" + data)):
        with pytest.raises(CustodyError):
            read_signature(armoured)
    assert weak_key(data) is not None


def test_every_cut_of_a_signature_is_refused(desk: Desk) -> None:
    blob = read_signature(desk.sign(certify(desk.ca, desk.key, principal=JANE))).blob
    for end in range(len(blob)):
        with pytest.raises(CustodyError):
            read_signature(keys.armoured(blob[:end]))
    with pytest.raises(CustodyError):
        read_signature(keys.armoured(blob + b"x"))
    with pytest.raises(CustodyError, match="more than one can have"):
        read_signature(keys.armoured(blob) + b"\n" * 70_000)


def test_lengths_are_not_believed() -> None:
    for length in (2**32 - 1, 2**31, 65_535):
        with pytest.raises(CustodyError, match="too early"):
            read_signature(keys.armoured(b"SSHSIG" + (1).to_bytes(4) + length.to_bytes(4) + b"short"))
