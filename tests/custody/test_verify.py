"""verify_log against the tamper table, row by row: the exact codes, with the folder alone and with this host's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.state import Head, StateFolder
from imgkit.custody.verify import CODES, Severity, Verification, verify_log
from imgkit.custody.verify import lines as verify_lines
from imgkit.errors import CustodyError
from tests.custody.forge import Forge, chain, changed, line_hash, long, parse, rechain, recovered, usual
from tests.custody.tamperings import TABLE, Tampering, original

if TYPE_CHECKING:
    from pathlib import Path

# Every log without signatures and receipts has these.
UNSIGNED = {"UNSIGNED_TAIL", "NO_RECEIPT"}
ALONE = UNSIGNED | {"NO_HEAD_MEMORY"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torn tails here are nobody's running write."""
    monkeypatch.setattr(verify_lines, "SETTLE_SECONDS", 0)


class Remembers:
    """This host's memory of the end of some lines."""

    def __init__(self, lines: list[bytes]) -> None:
        log = parse(lines[0])["log"]
        size = sum(map(len, lines))
        self._head = Head(log, "/case/custody.jsonl", len(lines), size, line_hash(lines[-1]), len(lines[-1]))

    def head(self, log: str) -> Head | None:
        return self._head if log == self._head.log else None


def verified(folder: Path, lines: list[bytes], memory: Remembers | None = None) -> Verification:
    """Verify these lines as the log of a case folder; nothing of it may change."""
    folder.mkdir(exist_ok=True)
    path = folder / "custody.jsonl"
    path.write_bytes(b"".join(lines))
    before = path.stat()
    found = verify_log(folder, state=memory)
    after = path.stat()
    assert (before.st_mtime_ns, before.st_size, before.st_ino) == (
        after.st_mtime_ns,
        after.st_size,
        after.st_ino,
    )
    return found


@pytest.mark.parametrize("tampering", TABLE, ids=str)
def test_tampering_with_the_folder_alone(tampering: Tampering, tmp_path: Path) -> None:
    found = verified(tmp_path, tampering.make(original().lines))
    assert found.codes - ALONE == tampering.alone
    failed = any(CODES[code] is Severity.FAIL for code in tampering.alone)
    assert (found.exit_code, found.ok) == ((1, False) if failed else (0, True))


@pytest.mark.parametrize("tampering", TABLE, ids=str)
def test_tampering_with_this_hosts_memory(tampering: Tampering, tmp_path: Path) -> None:
    forge = original()
    found = verified(tmp_path, tampering.make(forge.lines), Remembers(forge.lines))
    assert found.codes - UNSIGNED == tampering.alone | tampering.memory


def test_each_branch_is_clean_and_memory_knows_its_own(tmp_path: Path) -> None:
    one = original()
    other = original()
    one.event("case.exported", {"format": "pdf"})
    other.event("case.exported", {"format": "html"})
    for branch in (one, other):
        assert verified(tmp_path, branch.lines).codes == ALONE
    assert verified(tmp_path, one.lines, Remembers(one.lines)).codes == UNSIGNED
    assert verified(tmp_path, other.lines, Remembers(one.lines)).codes == UNSIGNED | {"FORK"}


def test_lines_added_since_the_memory_are_in_order(tmp_path: Path) -> None:
    forge = original()
    memory = Remembers(forge.lines)
    forge.hash_act()
    found = verified(tmp_path, forge.lines, memory)
    assert found.codes == UNSIGNED
    assert any(text == "lines 1 to 12 are as this host left them" for text in found.proved)
    assert any(text.startswith("after line 12, that no lines were cut off") for text in found.not_proved)


def _torn(lines: list[bytes], **more: Any) -> list[bytes]:
    """The lines, a torn one, and the log.recovered that explains it."""
    piece = lines[-1][:100] + b"\n"
    return chain([*lines, piece, recovered([piece], len(lines) + 1, parse(lines[-1]), **more)])


def test_memory_vouches_for_what_its_line_is_joined_to(tmp_path: Path) -> None:
    """A torn line names none before it, so an early log.recovered leaves those to be written anew unseen: that is said."""
    lines = original().lines
    whole = _torn(lines, head=line_hash(lines[-1]))
    found = verified(tmp_path, whole, Remembers(whole))
    assert [(one.first, one.last) for one in found.coverage if one.memory] == [(1, 14)]
    early = _torn(lines)
    for tampered in (
        early,
        [*rechain([lines[0], changed(lines[1], exhibit="EX2"), *lines[2:]]), *early[12:]],
    ):
        found = verified(tmp_path, tampered, Remembers(early))
        assert found.codes == UNSIGNED | {"TORN_SEALED"}
        assert [(one.first, one.last) for one in found.coverage if one.memory] == [(13, 14)]
        assert "lines 13 to 14 are as this host left them" in found.proved
        assert any("up to the next torn one" in text for text in found.proved)
        assert any("which lines stood before the torn ones that line 14" in text for text in found.not_proved)


def test_memory_vouches_for_no_line_before_a_break(tmp_path: Path) -> None:
    lines = original().lines
    edited = [*lines[:2], changed(lines[2], exhibit="EX2"), *lines[3:]]
    found = verified(tmp_path, edited, Remembers(lines))
    assert found.codes == UNSIGNED | {"CHAIN_BREAK"}
    assert [(one.first, one.last, one.memory) for one in found.coverage] == [(1, 3, False), (4, 12, True)]
    assert "lines 4 to 12 are as this host left them" in found.proved


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_every_flipped_byte_of_a_line_is_found(flip: int, tmp_path: Path) -> None:
    """In the middle by the chain; in the last line, to which nothing points yet, by this host's memory."""
    forge = original()
    memory = Remembers(forge.lines)
    start = len(b"".join(forge.lines[:2]))
    for offset in range(start, start + len(forge.lines[2])):
        text = bytearray(forge.text)
        text[offset] ^= flip
        assert verified(tmp_path, [bytes(text)]).exit_code == 1, f"byte {offset} flipped by {flip:#x}"
    start = len(b"".join(forge.lines[:-1]))
    for offset in range(start, len(forge.text)):
        text = bytearray(forge.text)
        text[offset] ^= flip
        found = verified(tmp_path, [bytes(text)], memory)
        assert found.codes & {"FORK", "ROLLBACK"}, f"byte {offset} flipped by {flip:#x}"


@pytest.mark.parametrize("fill", [b"", b"\0", b"\0" * 500])
def test_a_cut_at_every_byte_of_the_last_line(fill: bytes, tmp_path: Path) -> None:
    forge = original()
    last = forge.lines[-1]
    template = parse(last)
    for cut in range(1, len(last) - 1):
        piece = last[:cut] + fill
        found = verified(tmp_path, [*forge.lines, piece])
        assert found.codes == ALONE | {"TORN_TAIL"}, f"cut after {cut} bytes"
        assert (found.lines, found.bytes, found.head) == (12, len(forge.text), line_hash(last))
        sealed = chain([*forge.lines, piece + b"\n", recovered([piece + b"\n"], 13, template)])
        found = verified(tmp_path, sealed)
        assert found.codes == ALONE | {"TORN_SEALED"}, f"cut after {cut} bytes, sealed"
        assert (found.lines, found.exit_code) == (14, 0)


def test_a_whole_record_that_lacks_its_line_feed_counts(tmp_path: Path) -> None:
    forge = original()
    op = forge.intent("evidence.hashed")
    forge.outcome(op, "evidence.hashed", {"digests": {}})
    found = verified(tmp_path, [*forge.lines[:-1], forge.lines[-1][:-1]])
    assert found.codes == ALONE | {"TORN_TAIL"}
    assert found.lines == 13
    assert found.head == line_hash(forge.lines[12])


def test_only_complete_torn_lines_of_a_run_are_named(tmp_path: Path) -> None:
    forge = original()
    pieces = [b"{\n", b'{"a\n']
    one_named = chain([*forge.lines, *pieces, recovered(pieces[1:], 14, parse(forge.lines[-1]))])
    found = verified(tmp_path, one_named)
    assert {(f.code, f.line) for f in found.findings if f.code == "BAD_LINE"} == {
        ("BAD_LINE", 13),
        ("BAD_LINE", 14),
    }


def test_a_run_of_torn_lines_that_no_crash_leaves(tmp_path: Path) -> None:
    found = verified(tmp_path, [*original().lines, *[b"torn\n"] * 150])
    assert found.codes == ALONE | {"TORN_TAIL", "BAD_LINE"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"result": "fine"}, "result"),
        ({"session": "me"}, "session"),
        ({"actor": {"name": "Jane Doe"}}, "actor.id"),
        ({"type": "note.added"}, "does not come as outcome"),
        ({"phase": "guess"}, "does not come as guess"),
        ({"time": {"utc": "yesterday"}}, "time"),
        ({"data": {"of": "media"}}, "data.digests"),
        ({"data": []}, "data"),
        ({"op": "x"}, "op"),
    ],
)
def test_schema(fields: dict[str, object], sentence: str, tmp_path: Path) -> None:
    lines = original().lines
    found = verified(tmp_path, chain([*lines[:2], parse(lines[2]) | fields, *map(parse, lines[3:])]))
    assert "SCHEMA" in found.codes
    assert [f.line for f in found.findings if f.code == "SCHEMA"] == [3]
    assert sentence in next(f.message for f in found.findings if f.code == "SCHEMA")


def test_a_date_that_is_none(tmp_path: Path) -> None:
    lines = original().lines
    record = parse(lines[11])
    record["time"] |= {"utc": "2026-02-30T00:00:00.000000Z"}
    assert verified(tmp_path, chain([*lines[:11], record])).codes == ALONE | {"SCHEMA"}


def test_an_outcome_of_another_type(tmp_path: Path) -> None:
    forge = original()
    op = forge.intent("evidence.hashed")
    forge.outcome(op, "evidence.inspected", {"scheme": "gpt", "partitions": [], "findings": []})
    assert verified(tmp_path, forge.lines).codes == ALONE | {"SCHEMA"}


class TestReconciled:
    """An operation that a later run explained."""

    def reconcile(self, forge: Forge, op: str, **seen: object) -> None:
        forge.event("op.reconciled", {"op": op, "line": 13, "result": "interrupted", "seen": seen})

    def test_is_closed(self, tmp_path: Path) -> None:
        forge = original()
        self.reconcile(forge, forge.intent("evidence.hashed"))
        assert verified(tmp_path, forge.lines).codes == ALONE

    def test_outcome_afterwards_is_warned_of(self, tmp_path: Path) -> None:
        forge = original()
        op = forge.intent("evidence.hashed")
        self.reconcile(forge, op)
        forge.outcome(op, "evidence.hashed", {"digests": {}, "at": parse(forge.lines[1])["time"]}, late=True)
        found = verified(tmp_path, forge.lines)
        assert found.codes == ALONE | {"LATE_OUTCOME"}
        assert found.ok
        forge.outcome(op, "evidence.hashed", {"digests": {}})
        assert verified(tmp_path, forge.lines).codes == ALONE | {"LATE_OUTCOME", "SCHEMA"}

    def test_twice_or_after_its_outcome_is_warned_of(self, tmp_path: Path) -> None:
        forge = original()
        op = forge.intent("evidence.hashed")
        self.reconcile(forge, op)
        self.reconcile(forge, op)
        self.reconcile(forge, parse(forge.lines[1])["op"])
        found = verified(tmp_path, forge.lines)
        assert [(f.code, f.line) for f in found.findings if f.code == "LATE_OUTCOME"] == [
            ("LATE_OUTCOME", 15),
            ("LATE_OUTCOME", 16),
        ]

    def test_nothing_was_announced(self, tmp_path: Path) -> None:
        forge = original()
        self.reconcile(forge, forge.uuid())
        assert verified(tmp_path, forge.lines).codes == ALONE | {"OUTCOME_NO_INTENT"}

    def test_attach_whose_device_is_seen_is_an_attachment(self, tmp_path: Path) -> None:
        forge = original()
        line = len(forge.lines) + 1
        self.reconcile(forge, forge.intent("evidence.attached"), devices=["/dev/loop9"])
        found = verified(tmp_path, forge.lines)
        assert found.codes == ALONE | {"OPEN_ATTACHMENT"}
        assert [f.line for f in found.findings if f.code == "OPEN_ATTACHMENT"] == [line]
        forge.detach(line)
        assert verified(tmp_path, forge.lines).codes == ALONE

    def test_attach_that_left_nothing(self, tmp_path: Path) -> None:
        forge = original()
        self.reconcile(forge, forge.intent("evidence.attached"), devices=[])
        assert verified(tmp_path, forge.lines).codes == ALONE


class TestAttachments:
    """What is attached must end."""

    def test_open(self, tmp_path: Path) -> None:
        forge = original()
        first, second = forge.attach("/dev/loop1", 5), forge.attach("/dev/loop2", 6)
        forge.detach(second, "/dev/loop2")
        found = verified(tmp_path, forge.lines)
        assert found.codes == ALONE | {"OPEN_ATTACHMENT"}
        assert [f.line for f in found.findings if f.code == "OPEN_ATTACHMENT"] == [first]
        assert found.ok

    def test_gone(self, tmp_path: Path) -> None:
        forge = original()
        line = forge.attach()
        forge.reboot()
        forge.event("evidence.gone", {"attached_line": line, "device": "/dev/loop3", "diskseq": 12})
        assert verified(tmp_path, forge.lines).codes == ALONE

    def test_a_detach_that_failed_ends_nothing(self, tmp_path: Path) -> None:
        forge = original()
        line = forge.attach()
        op = forge.intent("evidence.detached", {"attached_line": line, "device": "/dev/loop3"})
        forge.outcome(op, "evidence.detached", {"attached_line": line}, result="failed")
        assert verified(tmp_path, forge.lines).codes == ALONE | {"OPEN_ATTACHMENT"}

    def test_an_exposure_is_open_until_it_is_taken_down(self, tmp_path: Path) -> None:
        forge = original()
        line = len(forge.lines) + 1
        forge.act("evidence.exposed", {"target": "/x"}, {"target": "/x", "file": "/x/disk.raw"})
        found = verified(tmp_path, forge.lines)
        assert found.codes == ALONE | {"OPEN_ATTACHMENT"}
        (said,) = [f for f in found.findings if f.code == "OPEN_ATTACHMENT"]
        assert (said.line, "exposed as /x/disk.raw" in said.message) == (line, True)
        forge.act("evidence.unexposed", {"exposed_line": line}, {"exposed_line": line})
        assert verified(tmp_path, forge.lines).codes == ALONE

    def test_a_killed_exposure_that_is_there_is_open(self, tmp_path: Path) -> None:
        for there, codes in ((True, {"OPEN_ATTACHMENT"}), (False, set())):
            forge = original()
            op = forge.intent("evidence.exposed")
            seen = {"op": op, "line": 13, "result": "unknown", "seen": {"mounted": there}}
            forge.event("op.reconciled", seen)
            assert verified(tmp_path, forge.lines).codes == ALONE | codes

    def test_an_exposure_that_failed_leaves_nothing(self, tmp_path: Path) -> None:
        forge = original()
        op = forge.intent("evidence.exposed")
        forge.outcome(op, "evidence.exposed", {}, result="failed", error={"class": "Busy", "text": "held"})
        assert verified(tmp_path, forge.lines).codes == ALONE

    def test_an_attach_that_failed_leaves_nothing(self, tmp_path: Path) -> None:
        forge = original()
        op = forge.intent("evidence.attached")
        forge.outcome(op, "evidence.attached", {}, result="failed", error={"class": "Busy", "text": "held"})
        assert verified(tmp_path, forge.lines).codes == ALONE


class TestClocks:
    """The wall clock against the boot clock."""

    @pytest.mark.parametrize(("wall", "boot", "code"), [
        (10, 10, ""), (11.9, 10, ""), (8.1, 10, ""), (12.2, 10, "CLOCK_STEP"), (7.8, 10, "CLOCK_STEP"),
        (-3600, 10, "CLOCK_STEP"), (-5, -5, "CLOCK_BACK"),
    ])  # fmt: skip
    def test_same_boot(self, wall: float, boot: float, code: str, tmp_path: Path) -> None:
        forge = original()
        forge.pass_time(wall, boot=boot)
        forge.event("case.exported")
        assert verified(tmp_path, forge.lines).codes - ALONE == set(code.split())

    @pytest.mark.parametrize(("seconds", "code"), [(60, ""), (86400, ""), (-50, ""), (-70, "CLOCK_BACK")])
    def test_another_boot(self, seconds: float, code: str, tmp_path: Path) -> None:
        forge = original()
        forge.reboot(seconds)
        forge.event("case.exported")
        assert verified(tmp_path, forge.lines).codes - ALONE == set(code.split())

    def test_two_hosts_in_turn(self, tmp_path: Path) -> None:
        """Each is held against its own last line, and against the other's with a minute's grace."""
        forge = original()
        first, uptime = forge.boot, forge.boot_us
        forge.reboot(-40)
        forge.event("case.exported")
        second = forge.boot
        forge.boot, forge.boot_us = first, uptime
        forge.pass_time(41, boot=2)
        forge.event("case.exported")
        assert verified(tmp_path, forge.lines).codes == ALONE
        forge.boot, forge.boot_us = second, 33_000_000
        forge.pass_time(30, boot=0)
        forge.event("case.exported")
        assert verified(tmp_path, forge.lines).codes == ALONE | {"CLOCK_STEP"}

    def test_not_synchronised_is_said_once(self, tmp_path: Path) -> None:
        forge = original()
        forge.sync = "unsync"
        for _ in range(5):
            forge.event("case.exported")
        found = verified(tmp_path, forge.lines)
        assert found.codes == ALONE | {"CLOCK_UNSYNC"}
        (finding,) = (f for f in found.findings if f.code == "CLOCK_UNSYNC")
        assert finding.line == 13
        assert "5 records" in finding.message

    def test_a_thousand_boots_take_no_more_memory_than_is_kept(self, tmp_path: Path) -> None:
        forge = original()
        for _ in range(1100):
            forge.reboot()
            forge.event("case.exported")
        assert verified(tmp_path, forge.lines).codes == ALONE


class TestNewer:
    """A log of a newer imgkit is neither passed nor failed."""

    @pytest.mark.parametrize("fields", [{"v": 2}, {"type": "evidence.dreamt"}])
    def test_says_so(self, fields: dict[str, object], tmp_path: Path) -> None:
        lines = original().lines
        found = verified(tmp_path, chain([*lines, parse(lines[11]) | fields]))
        assert found.codes == ALONE | {"NEWER"}
        assert (found.newer, found.exit_code, found.ok, found.failed) == (13, 3, False, False)

    def test_in_values_that_this_version_does_not_have(self, tmp_path: Path) -> None:
        lines = original().lines
        newer = chain([*lines, parse(lines[11]) | {"v": 2, "score": 1.5}])
        assert verified(tmp_path, newer).codes == ALONE | {"NEWER"}

    def test_a_broken_chain_fails_all_the_same(self, tmp_path: Path) -> None:
        lines = original().lines
        found = verified(tmp_path, [*lines, changed(lines[11], v=2)])
        assert (found.newer, found.exit_code) == (13, 1)


class TestMemory:
    """This host's memory, as the state folder keeps it."""

    def test_state_folder(self, tmp_path: Path) -> None:
        forge = original()
        state = StateFolder(tmp_path / "state")
        path = tmp_path / "custody.jsonl"
        path.write_bytes(forge.text)
        assert verify_log(path, state=state).codes == ALONE
        last = len(forge.lines[-1])
        state.remember(Head(forge.log, str(path), 12, len(forge.text), line_hash(forge.lines[-1]), last))
        assert verify_log(path, state=state).codes == UNSIGNED
        path.write_bytes(b"".join(forge.lines[:-1]))
        assert verify_log(path, state=state).codes == UNSIGNED | {"ROLLBACK"}

    def test_a_damaged_memory_is_no_memory(self, tmp_path: Path) -> None:
        forge = original()
        heads = tmp_path / "state" / "heads"
        heads.mkdir(parents=True)
        (heads / f"{forge.log}.json").write_bytes(b"{}")
        (tmp_path / "custody.jsonl").write_bytes(forge.text)
        found = verify_log(tmp_path, state=StateFolder(tmp_path / "state"))
        assert found.codes == ALONE
        assert any("damaged" in f.message for f in found.findings if f.code == "NO_HEAD_MEMORY")

    def test_accepted_rollback_is_told(self, tmp_path: Path) -> None:
        forge = original()
        forge.event(
            "log.rollback_accepted", {"remembered": {"size": 20}, "found": {"size": 12}}, reason="copy"
        )
        found = verified(tmp_path, forge.lines)
        assert found.codes == ALONE
        assert any("what stood before line 13" in text for text in found.not_proved)


class TestPlaces:
    """Where a log can be named, and what cannot be verified at all."""

    def test_a_copy_under_any_name(self, tmp_path: Path) -> None:
        copy = tmp_path / "copy.txt"
        copy.write_bytes(original().text)
        found = verify_log(copy)
        assert found.codes == ALONE
        assert "anything about enclosures: the log was looked at alone" in found.not_proved

    def test_empty(self, tmp_path: Path) -> None:
        found = verified(tmp_path, [])
        assert found.codes == ALONE | {"SCHEMA"}
        assert (found.exit_code, found.lines, found.log) == (1, 0, None)

    def test_without_its_first_record(self, tmp_path: Path) -> None:
        """A log is made with record 1 inside: what is torn from the start is no crash."""
        assert verified(tmp_path, [b"torn\n"]).codes == ALONE | {"BAD_LINE"}
        piece = original().lines[0][:50] + b"\n"
        sealed = chain([piece, recovered([piece], 1, parse(original().lines[11]))])
        assert verified(tmp_path, sealed).codes == ALONE | {"BAD_LINE"}

    def test_absent(self, tmp_path: Path) -> None:
        with pytest.raises(CustodyError, match="No such file"):
            verify_log(tmp_path)

    def test_no_regular_file(self, tmp_path: Path) -> None:
        import os

        os.mkfifo(tmp_path / "custody.jsonl")
        with pytest.raises(CustodyError, match="no regular file"):
            verify_log(tmp_path)
        with pytest.raises(CustodyError, match="no regular file"):
            verify_log("/dev/null")

    def test_it_is_no_truth_value(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=r"\.ok"):
            bool(verified(tmp_path, original().lines))


class TestHostile:
    """Logs made to harm the verifier."""

    def test_garbage(self, tmp_path: Path) -> None:
        import random

        noise = random.Random(3)
        for _ in range(60):
            verified(tmp_path, [noise.randbytes(noise.randrange(3000))])

    @pytest.mark.parametrize("line", [
        b"[" * 60_000 + b"]" * 5_000, b'{"a":' * 9_000 + b"1" + b"}" * 9_000, b"9" * 60_000, b'{"v":' + b"9" * 5000 + b"}",
        b'{"log":[],"seq":{},"prev":1,"type":[],"phase":{},"v":true}', b'{"\\ud800":1}', b'{"log":"\\ud800"}',
    ], ids=["brackets", "braces", "digits", "version", "kinds", "key", "surrogate"])  # fmt: skip
    def test_lines(self, line: bytes, tmp_path: Path) -> None:
        for lines in ([line + b"\n"], [*original().lines, line + b"\n", *original().lines]):
            found = verified(tmp_path, lines)
            assert found.exit_code == 1
            for finding in found.findings:
                assert finding.message.isascii()
                assert len(finding.message) < 500

    def test_findings_are_bounded(self, tmp_path: Path) -> None:
        forge = long(3000)
        found = verified(tmp_path, [line.replace(b":", b": ", 1) for line in forge.lines])
        assert found.counts["BAD_LINE"] == len(forge.lines)
        kept = [f for f in found.findings if f.code == "BAD_LINE"]
        assert len(kept) == 101
        assert kept[-1].message == f"and {len(forge.lines) - 100:,} more of this kind"

    def test_a_line_of_a_hundred_megabytes_is_never_held(self, tmp_path: Path) -> None:
        import tracemalloc

        path = tmp_path / "custody.jsonl"
        path.write_bytes(original().text)
        with path.open("r+b") as file:
            file.truncate(100 << 20)  # sparse: one line of NULs
        tracemalloc.start()
        found = verify_log(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "BAD_LINE" in found.codes
        assert peak < 8 << 20


def test_findings_come_in_the_order_of_the_checks(tmp_path: Path) -> None:
    lines = original().lines
    found = verified(tmp_path, [*lines[:4], lines[6], *lines[4:5], lines[7]], Remembers(lines))
    order = list(CODES)
    ranks = [order.index(f.code) for f in found.findings]
    assert ranks == sorted(ranks)
    assert all(f.severity is CODES[f.code] for f in found.findings)


def test_coverage_is_said_in_words(tmp_path: Path) -> None:
    found = verified(tmp_path, usual().lines)
    assert found.proved[0].startswith(f"lines 1 to 12 are one unbroken chain of log {found.log}")
    assert "that the person named in a record was at the keyboard" in found.not_proved
    broken = verified(tmp_path, [usual().lines[0], *usual().lines[2:]])
    assert not any("unbroken chain" in text for text in broken.proved)
    assert broken.not_proved[0].startswith("that the log is what it says: CHAIN_BREAK")
