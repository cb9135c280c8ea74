"""Signatures of checkpoints as the verifier sees them: who is trusted, who is not, and what only the folder says."""

from __future__ import annotations

import base64
import copy
import dataclasses
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import imgkit.custody
from imgkit.custody.verify import Verification, verify_log
from imgkit.errors import CustodyError
from tests.custody.verify.sealed import PRINCIPAL, Key, Sealed, new_key, run, sealed, sha256

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(imgkit.custody.__file__).parent / "verify.sh"
ALONE = {"TIMESTAMP_MISSING", "NO_RECEIPT", "NO_HEAD_MEMORY"}
TAIL = ALONE | {"UNSIGNED_TAIL"}
P = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return tmp_path / "case"


def listed(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "my signers"
    path.write_text("# mine\n\n" + "".join(lines))
    return path


def both(case: Path, signers: Path | None = None, revoked: Path | None = None) -> Verification:
    """Verify; verify.sh must say the same."""
    found = verify_log(case, signers=signers, revoked=revoked)
    words = [
        word for letter, path in (("-s", signers), ("-r", revoked)) if path for word in (letter, str(path))
    ]
    ran = subprocess.run(["sh", SCRIPT, *words, case], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    told = [line.replace(":", " ").split() for line in ran.stdout.splitlines()]
    codes = {word[1] for word in told if word[0] in ("FAIL", "WARN", "INFO")}
    assert codes == found.codes - {"NO_HEAD_MEMORY"}, ran.stdout
    assert ran.returncode == found.exit_code
    return found


def told(found: Verification, code: str) -> str:
    return next(finding.message for finding in found.findings if finding.code == code)


def test_trusted(case: Path, jane: Key, signers: Path) -> None:
    sealed(jane).write(case)
    found = both(case, signers)
    assert found.codes == ALONE
    first, last = found.coverage
    assert (first.first, first.last, first.signed_by) == (1, 7, (f"{PRINCIPAL} (trusted)",))
    assert (last.first, last.last, last.signed_by) == (8, 8, ())
    assert str(first) == f"lines 1 to 7: signed by {PRINCIPAL} (trusted); no time stamp; no receipt"
    assert any("lines 1 to 7 are as somebody signed them" in text for text in found.proved)


def test_what_only_the_folder_says(case: Path, jane: Key) -> None:
    """With a list of signers in the folder or without one: nobody from outside vouches for the key."""
    sealed(jane).write(case)
    for _ in range(2):
        found = both(case)
        assert found.codes == ALONE | {"SELF_ASSERTED"}
        assert "checkpoints 1 to 2" in told(found, "SELF_ASSERTED")
        assert found.coverage[0].signed_by == (f"{PRINCIPAL} (self-asserted)",)
        assert not any("signed" in text for text in found.proved)
        (case / "allowed_signers").write_text(jane.listed())


def test_another_key_than_the_list_in_the_folder_has(case: Path, jane: Key, mallory: Key) -> None:
    sealed(mallory).write(case)
    (case / "allowed_signers").write_text(jane.listed())
    assert both(case).codes == TAIL | {"BAD_SIGNATURE"}


def test_nobody_in_the_list(case: Path, tmp_path: Path, jane: Key, keyring: Path) -> None:
    other = dataclasses.replace(jane, principal="roe@other.example")
    sealed(jane).write(case)
    assert keyring.is_dir()
    found = both(case, listed(tmp_path, new_key(tmp_path, "roe", principal=other.principal).listed()))
    assert found.codes == TAIL | {"UNKNOWN_SIGNER"}
    assert found.exit_code == 0


def test_a_key_of_somebody_else_in_the_list(case: Path, tmp_path: Path, jane: Key) -> None:
    sealed(jane).write(case)
    other = dataclasses.replace(jane, principal="roe@other.example")
    assert both(case, listed(tmp_path, other.listed())).codes == TAIL | {"BAD_SIGNATURE"}


@pytest.mark.parametrize(
    "pattern", ["*@lab.example", "x@y,jane.doe@lab.example", '"jane.doe@lab.example"', "jane.do?@*"]
)
def test_patterns_of_principals(pattern: str, case: Path, tmp_path: Path, jane: Key, mallory: Key) -> None:
    sealed(mallory).write(case)
    assert both(case, listed(tmp_path, f"{pattern} {jane.public}\n")).codes == TAIL | {"BAD_SIGNATURE"}
    sealed(jane).write(case)
    assert both(case, listed(tmp_path, f"{pattern} {jane.public}\n")).codes == ALONE


def test_a_signature_for_something_else(case: Path, jane: Key, signers: Path) -> None:
    made = sealed(jane)
    made.forge.event("case.exported", {"format": "html"})
    made.checkpoint(signature=lambda body: jane.sign(body, "git"))
    made.write(case)
    found = both(case, signers)
    assert found.codes == TAIL | {"BAD_SIGNATURE"}
    assert found.counts["BAD_SIGNATURE"] == 1
    assert [one.last for one in found.coverage] == [7, 10]


def test_a_signature_of_other_bytes(case: Path, jane: Key, signers: Path) -> None:
    made = sealed(jane)
    made.forge.event("case.exported", {"format": "html"})
    made.checkpoint(signature=lambda body: jane.sign(body + b"\n"))
    made.write(case)
    assert both(case, signers).codes == TAIL | {"BAD_SIGNATURE"}


def test_garbage_for_a_signature(case: Path, jane: Key, signers: Path) -> None:
    made = sealed(jane)
    made.forge.event("case.exported", {"format": "html"})
    made.checkpoint(signature=lambda _: b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")
    made.write(case)
    assert both(case, signers).codes == TAIL | {"BAD_SIGNATURE"}


def test_another_good_signature_than_was_recorded(case: Path, jane: Key, tmp_path: Path) -> None:
    """Two keys of one person: the line names which signature it was."""
    second = new_key(tmp_path, "second")
    made = sealed(jane)
    made.files["000002.txt.sig"] = second.sign(made.files["000002.txt"])
    made.files["000002.sums"] = made.sums(2)
    made.write(case)
    found = both(case, listed(tmp_path, jane.listed(), second.listed()))
    assert found.codes == TAIL | {"BAD_SIGNATURE"}


@pytest.mark.parametrize(("limits", "codes"), [
    ('valid-before="20250101"', TAIL | {"BAD_SIGNATURE"}), ('valid-after="20990101"', TAIL | {"BAD_SIGNATURE"}),
    ('valid-before="20990101"', ALONE), ('namespaces="git"', TAIL | {"BAD_SIGNATURE"}),
    ('namespaces="custody@imgkit"', ALONE),
])  # fmt: skip
def test_limits_of_a_key(limits: str, codes: set[str], case: Path, tmp_path: Path, jane: Key) -> None:
    sealed(jane).write(case)
    assert both(case, listed(tmp_path, jane.listed(limits))).codes == codes


def test_a_key_that_ended_after_it_signed(case: Path, tmp_path: Path, jane: Key) -> None:
    """It is the time of the checkpoint that counts: old logs stay good."""
    import datetime as dt

    made = sealed(jane, age=dt.timedelta(days=100))
    made.write(case)
    ended = (dt.datetime.now(dt.UTC) - dt.timedelta(days=30)).strftime("%Y%m%d")
    assert both(case, listed(tmp_path, jane.listed(f'valid-before="{ended}"'))).codes == ALONE


def test_revoked(case: Path, tmp_path: Path, jane: Key, mallory: Key, signers: Path) -> None:
    sealed(jane).write(case)
    revoked, other = tmp_path / "revoked", tmp_path / "other.krl"
    revoked.write_text(jane.public + "\n")
    assert both(case, signers, revoked).codes == TAIL | {"KEY_REVOKED"}
    run("ssh-keygen", "-q", "-k", "-f", other, mallory.path.with_name("mallory.pub"))
    assert both(case, signers, other).codes == ALONE
    run("ssh-keygen", "-q", "-k", "-u", "-f", other, jane.path.with_name("jane.pub"))
    assert both(case, signers, other).codes == TAIL | {"KEY_REVOKED"}


class TestAgency:
    """Keys that an agency certifies."""

    def certified(
        self, tmp_path: Path, *, names: str = PRINCIPAL, valid: str = "always:forever"
    ) -> tuple[Key, Key]:
        agency, examiner = new_key(tmp_path, "agency"), new_key(tmp_path, "examiner")
        public = tmp_path / "examiner.pub"
        run("ssh-keygen", "-q", "-s", agency.path, "-I", "E-17", "-n", names, "-V", valid, public)
        return agency, Key(tmp_path / "examiner-cert.pub", examiner.principal)

    def test_is_trusted(self, case: Path, tmp_path: Path) -> None:
        agency, examiner = self.certified(tmp_path)
        sealed(examiner).write(case)
        found = both(case, listed(tmp_path, f"*@lab.example cert-authority {agency.public}\n"))
        assert found.codes == ALONE

    def test_of_another_principal(self, case: Path, tmp_path: Path) -> None:
        agency, examiner = self.certified(tmp_path, names="roe@lab.example")
        sealed(examiner).write(case)
        found = both(case, listed(tmp_path, f"*@lab.example cert-authority {agency.public}\n"))
        assert found.codes == TAIL | {"BAD_SIGNATURE"}

    def test_of_another_agency(self, case: Path, tmp_path: Path, mallory: Key) -> None:
        _, examiner = self.certified(tmp_path)
        sealed(examiner).write(case)
        found = both(case, listed(tmp_path, f"*@lab.example cert-authority {mallory.public}\n"))
        assert found.codes == TAIL | {"BAD_SIGNATURE"}

    def test_has_ended(self, case: Path, tmp_path: Path) -> None:
        agency, examiner = self.certified(tmp_path, valid="20200101:20210101")
        sealed(examiner).write(case)
        found = both(case, listed(tmp_path, f"*@lab.example cert-authority {agency.public}\n"))
        assert found.codes == TAIL | {"BAD_SIGNATURE"}

    def test_is_revoked(self, case: Path, tmp_path: Path) -> None:
        agency, examiner = self.certified(tmp_path)
        sealed(examiner).write(case)
        revoked = tmp_path / "revoked"
        revoked.write_text(agency.public + "\n")
        found = both(case, listed(tmp_path, f"*@lab.example cert-authority {agency.public}\n"), revoked)
        assert found.codes == TAIL | {"KEY_REVOKED"}


def packed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def of_small_order(point: bytes) -> Callable[[bytes], bytes]:
    """A signature that fits every message where the point is of small order."""
    signature = packed(b"ssh-ed25519", (1).to_bytes(32, "little") + bytes(32))
    key = packed(b"ssh-ed25519", point)
    blob = b"SSHSIG" + (1).to_bytes(4, "big") + packed(key, b"custody@imgkit", b"", b"sha512", signature)
    text = base64.b64encode(blob).decode()
    lines = "\n".join(text[at : at + 70] for at in range(0, len(text), 70))
    return lambda _: f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n".encode()


POINTS = [
    (y | sign << 255).to_bytes(32, "little") for y in (0, 1, P - 1, Y8, P - Y8, P, P + 1) for sign in (0, 1)
]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.hex()[:6] + point.hex()[-2:])
def test_keys_of_small_order(point: bytes, case: Path, tmp_path: Path, jane: Key) -> None:
    """All eight points, in all fourteen ways to write them; the list of signers even names the key."""
    made = sealed(jane)
    made.forge.event("case.exported", {"format": "html"})
    made.checkpoint(signature=of_small_order(point))
    made.write(case)
    key = base64.b64encode(packed(b"ssh-ed25519", point)).decode()
    found = both(case, listed(tmp_path, jane.listed(), f"{PRINCIPAL} ssh-ed25519 {key}\n"))
    assert found.codes == TAIL | {"WEAK_KEY"}


@pytest.mark.parametrize("blank", [" ", "\t", "\r\n", "\v"])
def test_blanks_hide_no_weak_key(blank: str, case: Path, tmp_path: Path, jane: Key) -> None:
    """OpenSSH passes over white space within the digits."""
    made = sealed(jane)
    made.forge.event("case.exported", {"format": "html"})
    armoured = of_small_order(POINTS[0])(b"").replace(b"U1NIU0lH", f"U1NI{blank}U0lH".encode())
    made.checkpoint(signature=lambda _: armoured)
    made.write(case)
    key = base64.b64encode(packed(b"ssh-ed25519", POINTS[0])).decode()
    found = both(case, listed(tmp_path, jane.listed(), f"{PRINCIPAL} ssh-ed25519 {key}\n"))
    assert found.codes == TAIL | {"WEAK_KEY"}


def test_many_are_all_looked_at(case: Path, jane: Key, signers: Path) -> None:
    made = sealed(jane)
    for number in range(30):
        made.forge.event("case.exported", {"format": "html"})
        bad = number == 17
        made.checkpoint(signature=(lambda body: jane.sign(body + b" ")) if bad else None)
    made.write(case)
    found = verify_log(case, signers=signers)
    assert found.counts["BAD_SIGNATURE"] == 1
    assert found.codes == ALONE | {"BAD_SIGNATURE"}
    assert len(found.coverage) == 2


def test_a_list_that_is_not_there(case: Path, tmp_path: Path, jane: Key) -> None:
    sealed(jane).write(case)
    for given in ({"signers": tmp_path / "none"}, {"revoked": tmp_path / "none"}):
        with pytest.raises(CustodyError, match="No such file"):
            verify_log(case, **given)  # type: ignore[arg-type]  # one of them


def test_the_list_in_the_folder_is_no_trap(case: Path, jane: Key) -> None:
    import os

    sealed(jane).write(case)
    os.mkfifo(case / "allowed_signers")
    assert verify_log(case).codes == ALONE | {"SELF_ASSERTED"}


class TestCrash:
    """Files that a crash left unnamed belong to their record; the next append names them."""

    def write(self, made: Sealed, case: Path) -> None:
        made.write(case)
        place = case / "checkpoints"
        for path in place.glob("000002*"):
            path.rename(place / f".{path.name}.0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9.tmp")

    def test_is_no_finding(self, case: Path, jane: Key, signers: Path, authority: Any) -> None:
        self.write(sealed(jane, authority), case)
        found = verify_log(case, signers=signers, tsa_roots=authority.roots)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "TIMESTAMP_MISSING"}
        assert found.coverage[-2].signed_by

    def test_stock_tools_see_the_same(self, case: Path, jane: Key, signers: Path) -> None:
        self.write(sealed(jane), case)
        assert both(case, signers).codes == ALONE

    def test_with_other_bytes(self, case: Path, jane: Key, signers: Path) -> None:
        made = copy.deepcopy(sealed(jane))
        made.files["000002.txt"] += b"\n"
        self.write(made, case)
        found = both(case, signers)
        assert found.codes == TAIL | {"CHECKPOINT_CHAIN"}
        assert sha256(made.files["000002.txt"]) != sha256(sealed(jane).files["000002.txt"])
