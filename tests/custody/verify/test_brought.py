"""What a verifier brings: certificates of authorities, receipts; and what vouches for which lines in the end."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import imgkit.custody
from imgkit.custody.checkpoint import Receipt
from imgkit.custody.state import Head
from imgkit.custody.verify import Verification, verify_log
from imgkit.errors import CustodyError
from tests.custody.forge import Forge, chain, line_hash, parse, usual
from tests.custody.verify.sealed import PRINCIPAL, Authority, Key, new_authority, new_key, root, sealed

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(imgkit.custody.__file__).parent / "verify.sh"
OTHER = "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return tmp_path / "case"


def both(case: Path, **outside: Any) -> Verification:
    """Verify; verify.sh must say the same."""
    found = verify_log(case, **outside)
    words = []
    for key, letter in (("signers", "-s"), ("tsa_roots", "-t")):
        words += [letter, str(outside[key])] if key in outside else []
    words += [word for text in outside.get("receipts", ()) for word in ("-k", str(text))]
    ran = subprocess.run(["sh", SCRIPT, *words, case], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    said = [line.replace(":", " ").split() for line in ran.stdout.splitlines()]
    codes = {word[1] for word in said if word[0] in ("FAIL", "WARN", "INFO")}
    assert codes == found.codes - {"NO_HEAD_MEMORY", "ROLLBACK", "FORK", "CLOCK_BACK"}, ran.stdout
    return found


class TestStamps:
    """Time stamps, and whose."""

    def test_cover_what_came_before(self, case: Path, jane: Key, signers: Path, authority: Authority) -> None:
        sealed(jane, authority).write(case)
        found = both(case, signers=signers, tsa_roots=authority.roots)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY"}
        *stamped, last = (
            found.coverage
        )  # one range where both stamps are of one second, for the earlier rules
        assert (stamped[0].first, stamped[-1].last) == (1, 8)
        assert all(one.stamped[0].endswith("tsa.example") for one in stamped)
        assert (last.first, last.last, last.stamped) == (9, 10, ())
        assert any(
            text.startswith("lines 1 to ") and "were there, as they are, at 20" in text
            for text in found.proved
        )

    def test_without_roots_vouch_for_themselves(
        self, case: Path, jane: Key, signers: Path, authority: Authority
    ) -> None:
        sealed(jane, authority).write(case)
        found = both(case, signers=signers)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "SELF_ASSERTED"}
        assert found.coverage[0].stamped[0].endswith("(self-asserted)")
        assert not any("were there" in text for text in found.proved)

    def test_of_an_authority_that_the_roots_do_not_know(
        self, case: Path, jane: Key, signers: Path, authority: Authority, tmp_path: Path
    ) -> None:
        sealed(jane, authority).write(case)
        found = both(case, signers=signers, tsa_roots=new_authority(tmp_path, "other").roots)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "BAD_TIMESTAMP", "TIMESTAMP_MISSING"}
        assert found.counts["BAD_TIMESTAMP"] == 2

    @pytest.mark.parametrize("change", [
        lambda reply: reply[:0], lambda reply: reply[:-1], lambda reply: reply + b"x", lambda reply: b"<html>" + reply,
        lambda reply: reply[::-1],
    ], ids=["empty", "short", "long", "page", "garbled"])  # fmt: skip
    def test_that_are_none(
        self, change: Callable[[bytes], bytes], case: Path, jane: Key, signers: Path, authority: Authority
    ) -> None:
        made = sealed(jane, authority)
        name = "000002.sums.tsa.tsr"
        made.files[name] = change(made.files[name])
        made.write(case)
        found = verify_log(case, signers=signers, tsa_roots=authority.roots)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "BAD_TIMESTAMP", "TIMESTAMP_MISSING"}

    def test_of_another_checkpoint(self, case: Path, jane: Key, signers: Path, authority: Authority) -> None:
        made = sealed(jane, authority)
        made.files["000002.sums.tsa.tsr"] = made.files["000001.sums.tsa.tsr"]
        made.write(case)
        found = both(case, signers=signers, tsa_roots=authority.roots)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "BAD_TIMESTAMP", "TIMESTAMP_MISSING"}

    def test_taken_away(self, case: Path, jane: Key, signers: Path, authority: Authority) -> None:
        made = sealed(jane, authority)
        del made.files["000002.sums.tsa.tsr"]
        made.write(case)
        found = both(case, signers=signers, tsa_roots=authority.roots)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "CHECKPOINT_CHAIN", "TIMESTAMP_MISSING"}

    def test_before_the_time_of_the_checkpoint(
        self, case: Path, jane: Key, signers: Path, authority: Authority
    ) -> None:
        import datetime as dt

        sealed(jane, authority, age=-dt.timedelta(hours=2)).write(case)
        found = both(case, signers=signers, tsa_roots=authority.roots)
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "CLOCK_BACK"}


class TestReceipts:
    """What somebody else wrote down."""

    def test_as_text_as_file_in_a_mail_and_in_capitals(self, case: Path, tmp_path: Path, jane: Key) -> None:
        made = sealed(jane)
        made.write(case)
        text = made.receipt()
        mail = tmp_path / "mail.txt"
        words = text.split(" ")
        mail.write_text(f"Dear Jane,\n\nreceived: {' '.join(words[:3])}\n{' '.join(words[3:])}\n\nRoe\n")
        for given in (text, str(mail), text.upper(), f"  {text}\n"):
            assert "NO_RECEIPT" not in both(case, receipts=[given]).codes
        found = verify_log(case, receipts=[Receipt.parse(text)])
        assert found.coverage[-1].receipts == (8,)
        assert "lines 1 to 8 are what a receipt says that somebody else holds" in found.proved

    def test_of_another_log(self, case: Path, jane: Key) -> None:
        made = sealed(jane)
        made.write(case)
        given = made.receipt().replace(made.forge.log, OTHER)
        assert "FORKED" in both(case, receipts=[given]).codes

    @pytest.mark.parametrize("field", [2, 3, 4, 5])
    def test_each_field_counts(self, field: int, case: Path, jane: Key) -> None:
        made = sealed(jane)
        made.write(case)
        words = made.receipt().split()
        words[field] = "7" if len(words[field]) < 64 else "7" * 64
        found = both(case, receipts=[" ".join(words)])
        assert found.codes & {"FORKED", "TRUNCATED"} == {"FORKED"}

    def test_some_agree_and_one_does_not(self, case: Path, jane: Key) -> None:
        made = sealed(jane)
        early = made.facts(3)
        made.write(case)
        good = " ".join(
            [
                "imgkit-receipt/1",
                made.forge.log,
                *(str(early[key]) for key in ("size", "bytes", "head", "file")),
            ]
        )
        found = both(case, receipts=[good, made.receipt(), good.replace(early["head"], "5" * 64)])
        assert found.counts["FORKED"] == 1
        assert [one.receipts for one in found.coverage] == [(3, 8), (8,), (8,)]

    def test_that_lie_in_the_folder_prove_nothing_but_may_disagree(self, case: Path, jane: Key) -> None:
        made = sealed(jane)
        made.write(case)
        (case / "receipts" / "given-1.txt").write_text(made.receipt())
        (case / "receipts" / "taken-1.txt").write_text(made.receipt().replace(made.forge.log, OTHER))
        assert verify_log(case).codes & {"NO_RECEIPT", "FORKED", "TRUNCATED"} == {"NO_RECEIPT"}
        longer = made.receipt().replace(" 8 ", " 9 ")
        (case / "receipts" / "given-2.txt").write_text(longer)
        assert verify_log(case).codes & {"NO_RECEIPT", "FORKED", "TRUNCATED"} == {"NO_RECEIPT", "TRUNCATED"}

    @pytest.mark.parametrize("given", ["imgkit-receipt/1 x", "", "/dev/null", "/nowhere/receipt.txt"])
    def test_that_are_none(self, given: str, case: Path, jane: Key) -> None:
        sealed(jane).write(case)
        with pytest.raises(CustodyError):
            verify_log(case, receipts=[given])


class Remembers:
    """This host's memory of a log when it had so many lines."""

    def __init__(self, lines: list[bytes]) -> None:
        size = sum(map(len, lines))
        log = parse(lines[0])["log"]
        self._head = Head(log, "/case/custody.jsonl", len(lines), size, line_hash(lines[-1]), len(lines[-1]))

    def head(self, log: str) -> Head | None:
        return self._head if log == self._head.log else None


def test_coverage_range_by_range(case: Path, jane: Key, signers: Path, authority: Authority) -> None:
    made = sealed(jane)
    made.tsa = authority
    made.stamp(1)
    made.write(case)
    facts = made.facts(5)
    receipt = Receipt(made.forge.log, 5, facts["bytes"], facts["head"], facts["file"])
    found = verify_log(
        case,
        state=Remembers(made.lines[:8]),
        signers=signers,
        tsa_roots=authority.roots,
        receipts=[receipt],
    )
    shown = [
        (one.first, one.last, bool(one.signed_by), bool(one.stamped), one.receipts, one.memory)
        for one in found.coverage
    ]
    assert shown == [
        (1, 3, True, True, (5,), True),
        (4, 5, True, False, (5,), True),
        (6, 7, True, False, (), True),
        (8, 8, False, False, (), True),
        (9, 9, False, False, (), False),
    ]
    text = str(found.coverage[0])
    assert text.startswith(f"lines 1 to 3: signed by {PRINCIPAL} (trusted); stamped 20")
    assert text.endswith("; held by receipt of 5 lines; remembered by this host")
    assert str(found.coverage[-1]) == "line 9: not signed; no time stamp; no receipt"
    assert any(
        text.startswith("after line 8, that no lines were cut off the end") for text in found.not_proved
    )
    assert found.codes == {"TIMESTAMP_MISSING"}


def test_a_rewritten_log_is_covered_by_nothing(
    case: Path, jane: Key, signers: Path, authority: Authority
) -> None:
    made = sealed(jane, authority)
    receipt = made.receipt()
    made.lines[2] = made.lines[2].replace(b"laptop", b"tablet")
    made.lines = chain([parse(line) for line in made.lines])
    made.write(case)
    found = verify_log(case, signers=signers, tsa_roots=authority.roots, receipts=[receipt])
    (one,) = found.coverage
    assert (one.first, one.last, one.signed_by, one.stamped, one.receipts) == (1, 10, (), (), ())


def test_the_log_alone(case: Path, jane: Key, signers: Path) -> None:
    """A copy under another name: the records of checkpoints are held against it, their files are elsewhere."""
    made = sealed(jane)
    made.write(case)
    copy = case / "copy.jsonl"
    copy.write_bytes(b"".join(made.lines))
    found = verify_log(copy, signers=signers)
    assert found.codes == {"TIMESTAMP_MISSING", "UNSIGNED_TAIL", "NO_RECEIPT", "NO_HEAD_MEMORY"}
    copy.write_bytes(b"".join(made.lines).replace(b"laptop", b"tablet", 1))
    assert "FORKED" in verify_log(copy).codes


def test_gzip_is_told(case: Path) -> None:
    case.mkdir()
    (case / "custody.jsonl").write_bytes(gzip.compress(usual().text))
    with pytest.raises(CustodyError, match="it is gzip"):
        verify_log(case)
    ran = subprocess.run(["sh", SCRIPT, case], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "is gzip: unpack a copy" in ran.stderr


def test_a_line_too_long_to_hold_is_still_in_prefix_and_root(case: Path) -> None:
    """Somebody's checkpoint over such a log is right about its bytes; the line is bad all the same."""
    made = sealed()
    long = parse(made.lines[2])
    long["data"]["seconds"] = "1" * 3_000_000
    forge = Forge()
    forge.lines = chain([*[parse(line) for line in made.lines[:2]], long])
    forge.log, forge.utc, forge.boot_us = made.forge.log, made.forge.utc, made.forge.boot_us
    made.forge, made.files = forge, {}
    made.checkpoint()
    made.write(case)
    found = verify_log(case)
    assert found.codes & {"FORKED", "MERKLE", "BAD_LINE"} == {"BAD_LINE"}
    assert root(made.lines[:3]).hex().encode() in made.files["000001.txt"]


class TestFromInside:
    """What lies in the case folder cannot vouch for it, even where the verifier names it."""

    def test_a_list_of_signers(self, case: Path, jane: Key, tmp_path: Path) -> None:
        sealed(jane).write(case)
        (case / "allowed_signers").write_text(jane.listed())
        (tmp_path / "link").symlink_to(case / "allowed_signers")
        for path in (
            case / "allowed_signers",
            tmp_path / "link",
            case / "checkpoints" / ".." / "allowed_signers",
        ):
            found = both(case, signers=path)
            assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "TIMESTAMP_MISSING", "SELF_ASSERTED"}
            assert found.coverage[0].signed_by == (f"{PRINCIPAL} (self-asserted)",)
            assert not any("trusts" in text for text in found.proved)
        beside = tmp_path / "case signers"  # begins with the folder's name, and is outside
        beside.write_text(jane.listed())
        assert "SELF_ASSERTED" not in both(case, signers=beside).codes

    def test_certificates(self, case: Path, jane: Key, signers: Path, authority: Authority) -> None:
        sealed(jane, authority).write(case)
        (case / "root.pem").write_bytes(authority.roots.read_bytes())
        found = both(case, signers=signers, tsa_roots=case / "root.pem")
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "SELF_ASSERTED"}
        assert found.coverage[0].stamped[0].endswith("(self-asserted)")
        assert not any("were there" in text for text in found.proved)

    def test_a_receipt(self, case: Path, jane: Key, signers: Path) -> None:
        made = sealed(jane)
        made.write(case)
        (case / "receipts" / "given-000002.txt").write_text(made.receipt())
        found = both(case, signers=signers, receipts=[str(case / "receipts" / "given-000002.txt")])
        assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "TIMESTAMP_MISSING"}
        assert not any(one.receipts for one in found.coverage)

    @pytest.mark.parametrize("text", ["{}", "On 1 May you got\n{}\nKeep it.", "{}\n{}\n"])
    def test_a_receipt_that_disagrees_is_told_all_the_same(
        self, text: str, case: Path, jane: Key, signers: Path
    ) -> None:
        made = sealed(jane)
        receipt, last = made.receipt(), made.lines.pop()
        made.files = {name: data for name, data in made.files.items() if not name.startswith("000002")}
        made.write(case)
        (case / "receipts" / "given-000002.txt").write_text(text.format(receipt, receipt))
        found = both(case, signers=signers)
        assert found.codes == {
            "NO_RECEIPT",
            "NO_HEAD_MEMORY",
            "TIMESTAMP_MISSING",
            "UNSIGNED_TAIL",
            "TRUNCATED",
        }
        made.lines.append(last.replace(b"transfer", b"transfre"))
        made.write(case)
        assert "FORKED" in both(case, signers=signers).codes

    @pytest.mark.parametrize("text", [
        "imgkit-receipt/1 {log} e 1 {hash} {hash}", "imgkit-receipt/1 {log} 007 1 {hash} {hash}", "imgkit-receipt/1",
        "imgkit-receipt/1 {log} 1 1 {hash} {hash}0", "\0\u202e imgkit-receipt/1 {log} -1 1 {hash} {hash}",
    ])  # fmt: skip
    def test_what_is_no_receipt_harms_nobody(self, text: str, case: Path, jane: Key, signers: Path) -> None:
        made = sealed(jane)
        made.write(case)
        (case / "receipts" / "given-000002.txt").write_text(text.format(log=made.forge.log, hash="0" * 64))
        assert both(case, signers=signers).codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "TIMESTAMP_MISSING"}


def test_no_name_can_say_more_than_a_name(case: Path, tmp_path: Path) -> None:
    """Signer and authority choose what they are called: that they are trusted is for others to say."""
    loud = "jane (trusted); stamped 2020-01-01T00:00:00Z by X; remembered by this host"
    key = new_key(tmp_path, "loud", principal=loud)
    tsa = new_authority(tmp_path, "X; held by receipt of 8 lines")
    sealed(key, tsa).write(case)
    (case / "allowed_signers").write_text(f'"*" {key.public}\n')
    found = verify_log(case)
    assert found.coverage[0].signed_by == (f'"{loud}" (self-asserted)',)
    assert found.coverage[0].stamped[0].endswith('Z by "X; held by receipt of 8 lines" (self-asserted)')
    assert not any("trusts" in text or "were there" in text for text in found.proved)
