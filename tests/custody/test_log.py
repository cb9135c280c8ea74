"""The log of a case: creation, acts, what runs left open, other people's tampering, other people's folders."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody import append
from imgkit.custody.log import CustodyLog
from imgkit.custody.session import Actor, Session, process_start
from imgkit.custody.state import StateFolder
from imgkit.errors import CustodyError
from imgkit.linux.files import Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.custody.conftest import Office

NOTE = {"sha256": "0" * 64}
DIGESTS = {"digests": {"sha256": "0" * 64}}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as somebody else")


def test_a_new_case(office: Office) -> None:
    log = office.create()
    names = {path.name for path in office.case.iterdir()}
    assert names == {"custody.jsonl", "checkpoints", "receipts", "enclosures", "README.txt", "verify.sh"}
    [record] = office.check_chain()
    assert (record["type"], record["phase"], record["data"]) == (
        "case.opened",
        "event",
        {"number": "2026-0142"},
    )
    assert (record["log"], record["v"], log.path) == (log.uuid, 1, str(office.log_file))
    assert os.access(office.case / "verify.sh", os.X_OK)
    office.check()


def test_a_case_is_made_once(office: Office) -> None:
    office.create()
    before = office.log_file.read_bytes()
    with pytest.raises(CustodyError, match="already holds"):
        office.create()
    assert office.log_file.read_bytes() == before


@pytest.mark.parametrize(
    ("folder", "log"), [(0o700, 0o600), (0o750, 0o640), (0o770, 0o660), (0o777, 0o660), (0o2775, 0o660)]
)
def test_mode_and_group_are_those_of_the_folder(office: Office, folder: int, log: int) -> None:
    office.case.mkdir()
    office.case.chmod(folder)
    office.create()
    found = office.log_file.stat()
    assert stat.S_IMODE(found.st_mode) == log
    assert (found.st_uid, found.st_gid) == (office.case.stat().st_uid, office.case.stat().st_gid)


def test_an_act_leaves_intent_and_outcome(office: Office) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {"path": "/e/disk.img"}, exhibit="EX1", reason="on arrival")
    assert (intent.seq, intent.type, intent.log) == (2, "evidence.hashed", log.uuid)
    assert log.outcome(intent, "ok", DIGESTS) == 3
    first, second = office.check_chain()[1:]
    assert (first["op"], first["exhibit"], first["reason"]) == (intent.op, "EX1", "on arrival")
    assert (second["op"], second["exhibit"], second["result"]) == (intent.op, "EX1", "ok")
    assert "reason" not in second
    assert log.open_intents() == []
    assert office.check().isdisjoint({"OPEN_INTENT", "TORN_TAIL"})


def test_a_failure_is_told_with_its_errno(office: Office) -> None:
    log = office.create()
    error = CustodyError("cannot attach")
    error.__cause__ = OSError(16, "Device or resource busy")
    log.outcome(log.intent("evidence.attached", {}), "failed", {}, error=error)
    assert office.records()[-1]["error"] == {"class": "CustodyError", "errno": 16, "text": "cannot attach"}


def test_env_stands_in_the_first_record_of_a_session_alone(office: Office) -> None:
    log = office.create()
    log.event("note.added", NOTE)
    other = office.open()
    other.event("note.added", NOTE)
    other.event("note.added", NOTE)
    assert ["env" in record for record in office.check_chain()] == [True, False, True, False]
    env = office.records()[0]["env"]
    assert (env["pid"], env["host"], env["kernel"]) == (os.getpid(), os.uname().nodename, os.uname().release)
    assert env["argv"] == ["imgkit", "hash", "disk.img"]
    assert env["tool"]["name"] == "imgkit"


def test_a_record_that_is_not_what_its_type_asks_for_is_refused(office: Office) -> None:
    log = office.create()
    intent = log.intent("evidence.attached", {})
    writes: tuple[Callable[[], int], ...] = (
        lambda: log.outcome(intent, "ok", {"device": "/dev/loop0"}),
        lambda: log.outcome(intent, "splendid", {}),
        lambda: log.event("evidence.hashed", {}),
        lambda: log.event("case.opened", {}),
        lambda: log.event("dreamt", {}),
    )
    for write in writes:
        with pytest.raises(CustodyError) as caught:
            write()
        assert caught.value.code == "SCHEMA"
    for value in (1.5, 2**60, b"x"):
        with pytest.raises(CustodyError, match="cannot hold"):
            log.event("note.added", NOTE | {"x": value})
    assert len(office.check_chain()) == 2
    assert log.session.state.in_spool(log.uuid) == ()


def test_this_host_remembers_the_head(office: Office) -> None:
    log = office.create()
    log.event("note.added", NOTE)
    head = office.state.head(log.uuid)
    assert head is not None
    data = office.log_file.read_bytes()
    assert (head.path, head.size, head.bytes) == (log.path, 2, len(data))
    assert head.head == hashlib.sha256(office.lines()[-1]).hexdigest()
    assert office.state.last_path(log.uuid) == log.path


def cut(office: Office) -> None:
    office.log_file.write_bytes(b"".join(office.lines()[:-1]))


def rewrite(office: Office) -> None:
    """Another last record, well chained, of at least the same length."""
    lines = office.lines()
    record = json.loads(lines[-1])
    record["data"]["text"] = "another"
    lines[-1] = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    office.log_file.write_bytes(b"".join(lines))


@pytest.mark.parametrize(("tamper", "code"), [(cut, "ROLLBACK"), (rewrite, "FORK")])
def test_a_log_that_is_not_what_this_host_remembers(
    office: Office, tamper: Callable[[Office], None], code: str
) -> None:
    log = office.create()
    for _ in range(3):
        log.event("note.added", NOTE)
    known = office.state.head(log.uuid)
    assert known is not None
    tamper(office)
    left = office.log_file.read_bytes()
    for write in (lambda: log.intent("evidence.hashed", {}), lambda: office.open().event("note.added", NOTE)):
        with pytest.raises(CustodyError) as caught:
            write()
        assert caught.value.code == code
    assert office.log_file.read_bytes() == left
    seq = log.accept_rollback("restored from backup by IT")
    record = office.check_chain()[-1]
    assert (record["seq"], record["type"], record["reason"]) == (
        seq, "log.rollback_accepted", "restored from backup by IT",
    )  # fmt: skip
    assert record["data"]["code"] == code
    assert record["data"]["remembered"] == {"size": known.size, "bytes": known.bytes, "head": known.head}
    assert record["data"]["found"]["bytes"] == len(left)
    log.event("note.added", NOTE)
    office.check()
    with pytest.raises(CustodyError, match="nothing to accept"):
        log.accept_rollback("again")


def test_other_hosts_may_have_appended(
    office: Office, office_at: Callable[..., Office], tmp_path: Path
) -> None:
    log = office.create()
    other = office_at(office.folder, state=tmp_path / "other-host")
    theirs = other.open()
    for _ in range(50):
        theirs.event("note.added", NOTE)
    assert log.event("note.added", NOTE) == 52
    assert theirs.event("note.added", NOTE) == 53
    office.check()
    other.check()


def test_more_than_a_window_was_appended_elsewhere(
    memory_office: Office, office_at: Callable[..., Office], tmp_path: Path
) -> None:
    log = memory_office.create()
    other = office_at(memory_office.folder, state=tmp_path / "other-host").open()
    for _ in range(30):
        other.event("custody.stored", {"text": "x" * 60_000})
    assert memory_office.log_file.stat().st_size > 1 << 20
    assert log.event("note.added", NOTE) == 32
    memory_office.check_chain()


def test_a_damaged_memory_is_no_memory_of_nothing(office: Office) -> None:
    log = office.create()
    head = Path(office.state.path) / "heads" / f"{log.uuid}.json"
    for damage in (b"", b"{}\n", b"garbage", head.read_bytes().replace(log.uuid.encode(), b"x" * 36)):
        head.write_bytes(damage)
        with pytest.raises(CustodyError, match="is damaged"):
            log.intent("evidence.hashed", {})


@pytest.mark.parametrize(
    "kind", ["absent", "empty", "directory", "fifo", "symlink", "garbage", "newer", "foreign"]
)
def test_what_cannot_be_opened(office: Office, kind: str) -> None:
    office.create()
    path, whole = office.log_file, office.log_file.read_bytes()
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        (office.case / "real").write_bytes(whole)
        path.symlink_to("real")
    elif kind != "absent":
        contents = {
            "newer": whole.replace(b'"v":1', b'"v":2'),
            "foreign": b'{"a":1}\n',
            "garbage": b"x" * 70_000,
        }
        path.write_bytes(contents.get(kind, b""))
    with pytest.raises(CustodyError) as caught:
        office.open()
    assert ("newer imgkit" in caught.value.message) == (kind == "newer")


def test_a_log_with_a_second_name_is_refused(office: Office) -> None:
    log = office.create()
    os.link(office.log_file, office.folder / "backdoor")
    with pytest.raises(CustodyError, match="2 names"):
        log.intent("evidence.hashed", {})


def test_a_log_replaced_by_a_link_is_refused(office: Office) -> None:
    log = office.create()
    office.log_file.rename(office.folder / "moved")
    office.log_file.symlink_to(office.folder / "moved")
    with pytest.raises(CustodyError, match="cannot open"):
        log.intent("evidence.hashed", {})


def test_a_log_replaced_while_waiting_for_its_lock(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    log = office.create()

    def replaced(fd: int, path: str) -> None:
        shutil.copy(path, f"{path}.copy")
        os.rename(f"{path}.copy", path)

    monkeypatch.setattr(append, "lock", replaced)
    with pytest.raises(CustodyError, match="was replaced"):
        log.intent("evidence.hashed", {})


def test_who_holds_the_lock_is_named(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.create()
    with office.log_file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        fd = append.open_log(str(office.log_file), "x")
        try:
            with pytest.raises(
                CustodyError, match=rf"is locked by process {os.getpid()} \(.+\) for more than 0 s"
            ):
                append.lock(fd, str(office.log_file), seconds=0.01)
        finally:
            os.close(fd)
    assert append.LOCK_SECONDS == 30


def test_many_processes_at_once(office: Office) -> None:
    """16 processes, 40 records each: all there, in one chain."""
    office.create()
    children = []
    for _ in range(16):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                log = office.open()
                for _ in range(20):
                    log.outcome(log.intent("evidence.hashed", {}), "ok", DIGESTS)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert {os.waitpid(pid, 0)[1] for pid in children} == {0}
    records = office.check_chain()
    assert len(records) == 1 + 16 * 40
    assert len({record["session"] for record in records}) == 17
    assert office.check().isdisjoint({"OPEN_INTENT", "TORN_TAIL"})


def other_run(office: Office, code: str) -> int:
    """Append from another process, which then ends as `code` says; return its pid."""
    program = f"""
import os, signal, sys
from imgkit.custody.log import CustodyLog
from imgkit.custody.session import Actor, Session, process_start
from imgkit.custody.state import StateFolder
log = CustodyLog.open({str(office.case)!r}, Session(Actor("John", "john@lab"), StateFolder({office.state.path!r})))
intent = log.intent("evidence.attached", {{"device": "/dev/loop9"}}, exhibit="EX2")
{code}
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        run.stdout.readline()
        OTHERS.append(run)
        run.wait() if "KILL" in code else None
        if "KILL" not in code:
            run.kill()
    return run.pid


OTHERS: list[subprocess.Popen[bytes]] = []


def interrupted(intent: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "interrupted", {"device": "gone"}


def test_an_intent_left_open_is_reconciled(office: Office) -> None:
    office.create()
    other_run(office, "os.kill(os.getpid(), signal.SIGKILL)")
    log = office.open()
    [intent] = log.open_intents()
    assert (intent["exhibit"], intent["actor"]["name"]) == ("EX2", "John")
    assert log.reconcile(lambda _intent: None) == []
    assert log.reconcile(interrupted) == [3]
    record = office.check_chain()[-1]
    assert (record["type"], record["exhibit"]) == ("op.reconciled", "EX2")
    assert record["data"] == {
        "op": intent["op"], "line": 2, "type": "evidence.attached", "result": "interrupted", "seen": {"device": "gone"},
    }  # fmt: skip
    assert log.open_intents() == []
    assert log.reconcile(interrupted) == []
    office.check()


def test_a_running_session_is_left_alone(office: Office) -> None:
    log = office.create()
    log.intent("evidence.hashed", {})
    assert log.reconcile(interrupted) == []  # our own
    other = office.open()
    assert other.reconcile(interrupted) == []  # its lock is held
    assert len(other.open_intents()) == 1
    log.session.close()
    office.sessions[0].close()


def forge_env(office: Office, **changes: Any) -> None:
    """Rewrite line 2 (an intent with env) as another host or boot would have written it; forget the head."""
    first, second = office.lines()
    record = json.loads(second)
    record["env"] |= {"state": "/another/state/folder"} | changes.get("env", {})
    record["time"] |= changes.get("time", {})
    second = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    office.log_file.write_bytes(first + second)
    shutil.rmtree(office.state.path)


BOOT = {"boot_id": "11111111-2222-3333-4444-555555555555"}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, 1),  # same host and boot, no such process any more
        ({"env": {"pid": 1, "started": "7"}}, 1),  # the pid belongs to another process now
        ({"env": {"pid": os.getpid(), "started": process_start(os.getpid())}}, 0),  # it runs
        ({"env": {"host": "elsewhere"}}, 0),  # only that host can tell
        ({"time": BOOT}, 1),  # before the last reboot
        ({"env": {"host": "elsewhere"}, "time": BOOT}, 0),
    ],
)
def test_a_session_whose_lock_this_state_folder_does_not_know(
    office: Office, changes: dict[str, Any], lines: int
) -> None:
    office.create()
    other_run(office, "os.kill(os.getpid(), signal.SIGKILL)")
    forge_env(office, **changes)
    assert len(office.open().reconcile(interrupted)) == lines


def test_reconciling_twice_at_once_leaves_one_record(office: Office) -> None:
    office.create()
    other_run(office, "os.kill(os.getpid(), signal.SIGKILL)")
    log = office.open()

    def slow_look(intent: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        assert office.open().reconcile(interrupted) == [3]  # another run is quicker
        return interrupted(intent)

    assert log.reconcile(slow_look) == []
    assert [record["type"] for record in office.check_chain()] == [
        "case.opened",
        "evidence.attached",
        "op.reconciled",
    ]


def test_an_outcome_may_follow_the_reconciliation(office: Office) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {})
    log.session.close()
    assert office.open().reconcile(interrupted) == [3]
    assert log.outcome(intent, "ok", DIGESTS) == 4
    office.check()


def test_long_lists_and_texts_are_enclosed(office: Office) -> None:
    log = office.create()
    entries = [{"offset": number, "length": 512} for number in range(5000)]
    log.event(
        "custody.stored",
        {"read_errors": entries, "note": "ö" * 40_000, "few": [1] * 100},
        reason="r" * 30_000,
    )
    data = office.check_chain()[-1]["data"]
    assert data["few"] == [1] * 100
    assert data["read_errors"]["count"] == 5000
    kept = (office.case / "enclosures" / data["read_errors"]["enclosure"]).read_bytes()
    assert json.loads(kept) == entries
    assert hashlib.sha256(kept).hexdigest() == data["read_errors"]["sha256"]
    text = (office.case / "enclosures" / data["note"]["enclosure"]).read_text()
    assert (text, data["note"]["count"]) == ("ö" * 40_000, 80_000)
    assert "ENCLOSURE_WITHHELD" not in office.check()


def test_short_lists_that_break_the_line_are_enclosed(office: Office) -> None:
    log = office.create()
    log.event("custody.stored", {"texts": ["x" * 900] * 90, "small": [1, 2]})
    data = office.check_chain()[-1]["data"]
    assert (data["texts"]["count"], data["small"]) == (90, [1, 2])
    assert len(office.lines()[-1]) < 65_536


def test_what_cannot_be_enclosed_is_refused(office: Office) -> None:
    log = office.create()
    with pytest.raises(CustodyError, match="does not fit"):
        log.event("custody.stored", {f"key{number}": number for number in range(9000)})


def test_a_long_argv_is_enclosed(office: Office) -> None:
    office.create()
    session = office.session(argv=("imgkit", "hash", *(f"disk{number}.img" for number in range(300))))
    CustodyLog.open(office.case, session).event("note.added", NOTE)
    assert office.check_chain()[-1]["env"]["argv"]["count"] == 302
    office.check()


def test_enclosing_bytes_and_files(office: Office, tmp_path: Path) -> None:
    log = office.create()
    source = tmp_path / "report.PDF"
    source.write_bytes(b"%PDF" * 700_000)
    before = source.stat()
    note, report = log.enclose(b"seen: a scratch", "txt"), log.enclose(source, source.suffix)
    assert not list(office.case.glob("enclosures/[!.]*"))  # not named before its record
    log.event("note.added", note)
    log.event("enclosure.added", report | {"name": "report.PDF"})
    assert (office.case / "enclosures" / note["enclosure"]).read_bytes() == b"seen: a scratch"
    kept = office.case / "enclosures" / report["enclosure"]
    assert (kept.read_bytes(), kept.suffix) == (source.read_bytes(), ".pdf")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o440
    assert (source.stat().st_mtime_ns, source.stat().st_size) == (before.st_mtime_ns, before.st_size)
    again = log.enclose(source, "pdf")
    log.event("enclosure.added", again)
    assert again == report
    assert not list(office.case.glob("enclosures/.*"))
    assert "ENCLOSURE_WITHHELD" not in office.check()


@pytest.mark.parametrize("what", ["absent", "folder", "fifo"])
def test_what_cannot_be_an_enclosure(office: Office, tmp_path: Path, what: str) -> None:
    log = office.create()
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    with pytest.raises(CustodyError):
        log.enclose(path, "bin")
    assert not list(office.case.glob("enclosures/*"))


def test_a_changed_enclosure_is_not_taken_for_ours(office: Office) -> None:
    log = office.create()
    log.event("note.added", log.enclose(b"text", "txt"))
    [kept] = office.case.glob("enclosures/*")
    kept.chmod(0o600)
    kept.write_bytes(b"other")
    with pytest.raises(CustodyError) as caught:
        log.enclose(b"text", "txt")
    assert caught.value.code == "ENCLOSURE_CHANGED"


def test_records_leave_out_torn_lines_and_stop_at_bad_ones(office: Office) -> None:
    log = office.create()
    whole = office.log_file.read_bytes()
    office.log_file.write_bytes(whole + b"torn")
    assert [record["seq"] for record in log.records()] == [1]
    log.event("note.added", NOTE)
    assert [record["seq"] for record in log.records()] == [1, 3, 4]
    with office.log_file.open("ab") as file:
        file.write(b'{"a": 1}\n')
    with pytest.raises(CustodyError) as caught:
        list(log.records())
    assert caught.value.code == "BAD_LINE"


def test_the_canary_is_nowhere(office: Office) -> None:
    """A passphrase through every way it could be given is in no file that was written."""
    canary = "correct-horse-battery"
    argv = ["imgkit", "attach", "--passphrase", canary, f"--password={canary}", "--key", canary, "--token", canary,
            "--recovery-key", canary, f"--secret={canary}", "--pin", canary, f"https://user:{canary}@tsa.example/"]  # fmt: skip
    log = CustodyLog.create(office.case, office.session(argv=tuple(argv)))
    log.outcome(log.intent("evidence.hashed", {}), "ok", DIGESTS)
    written = [path for path in office.folder.rglob("*") if path.is_file()]
    assert len(written) > 3
    assert not [path for path in written if canary.encode() in path.read_bytes()]
    assert office.records()[0]["env"]["argv"].count("[removed]") == 5


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of user 54321 that everybody may reach."""
    with tempfile.TemporaryDirectory(prefix="imgkit-test-") as folder:
        os.chown(folder, 54321, 54322)
        Path(folder).chmod(0o750)
        yield Path(folder)


USER = Identity(54321, 54322, ())


@needs_root
def test_root_in_a_users_folder_leaves_users_files(home: Path) -> None:
    state = StateFolder(home / "state", identity=USER)
    with Session(Actor("Jane", "jane@lab"), state) as session:
        log = CustodyLog.create(home / "case", session, identity=USER)
        log.outcome(log.intent("evidence.hashed", {}), "ok", DIGESTS)
        log.event("note.added", log.enclose(b"text", "txt"))
        log.event("custody.stored", {"list": [1] * 200})
        assert len(list(log.records())) == 5
    made = [home / "state", *home.rglob("*")]
    assert len(made) > 10
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(54321, 54322)}


@needs_root
def test_root_without_an_identity_keeps_owner_and_group_of_the_folder(home: Path, tmp_path: Path) -> None:
    case = home / "case"
    with Session(Actor("Root", "root@lab"), StateFolder(tmp_path / "state")) as session:
        log = CustodyLog.create(case, session)
        log.event("note.added", log.enclose(b"text", "txt"))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in [case, *case.rglob("*")]} == {(54321, 54322)}


@needs_root
@pytest.mark.parametrize("trap", ["custody.jsonl", "enclosures", "case"])
def test_a_link_into_a_folder_of_root_leads_nowhere(home: Path, tmp_path: Path, trap: str) -> None:
    """The user lays a symbolic link where root is about to write: nothing is made or changed behind it."""
    closed = tmp_path / "root-only"
    closed.mkdir(mode=0o700)
    state = StateFolder(home / "state", identity=USER)
    with Session(Actor("Jane", "jane@lab"), state) as session:
        if trap == "case":
            (home / "case").symlink_to(closed)
            with pytest.raises(CustodyError):
                CustodyLog.create(home / "case", session, identity=USER)
        else:
            log = CustodyLog.create(home / "case", session, identity=USER)
            target = home / "case" / trap
            target.rename(home / "away")
            target.symlink_to(closed / "log" if trap == "custody.jsonl" else closed)
            with pytest.raises(CustodyError):
                log.event("custody.stored", {"list": [1] * 200})
    assert list(closed.iterdir()) == []


def test_an_own_log_is_for_its_user_alone(tmp_path: Path) -> None:
    place = tmp_path / "share" / "imgkit"
    with Session(Actor("Jane", "jane@lab"), StateFolder(place)) as session:
        log = CustodyLog.create(place, session, kind="log.opened")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(log.path).stat().st_mode) == 0o600
    assert log.opening["type"] == "log.opened"


def test_a_folder_on_tmpfs_is_announced(memory_office: Office) -> None:
    log = memory_office.create()
    assert [notice for notice in log.notices if "lies on tmpfs" in notice]
    assert "log_filesystem" not in memory_office.records()[0]["env"]


def test_the_stock_script_agrees(office: Office) -> None:
    log = office.create()
    log.event("note.added", log.enclose(b"text", "txt"))
    run = subprocess.run(["sh", "verify.sh"], cwd=office.case, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_file_system_that_cannot_reserve_is_announced_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset: int, length: int) -> None:
        raise OSError(95, "Operation not supported")

    log = office.create()
    monkeypatch.setattr(append, "fallocate_keep_size", refuse)
    log.outcome(log.intent("evidence.hashed", {}), "ok", DIGESTS)
    assert len([notice for notice in log.notices if "cannot reserve" in notice]) == 1


def test_a_head_that_cannot_be_remembered_stops_an_intent_and_no_outcome(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {})

    def refuse(_head: object) -> None:
        raise CustodyError("cannot remember the head")

    monkeypatch.setattr(office.state, "remember", refuse)
    assert log.outcome(intent, "ok", DIGESTS) == 3
    assert "cannot remember the head" in log.notices
    with pytest.raises(CustodyError, match="cannot remember"):
        log.intent("evidence.hashed", {})


def test_signals_do_not_matter_to_a_lock(office: Office) -> None:
    """The lock dies with its process: a killed holder blocks nobody."""
    office.create()
    held, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            append.lock(append.open_log(str(office.log_file), "x"), str(office.log_file))
            os.write(says, b"held")
            signal.pause()
        finally:
            os._exit(1)
    os.close(says)
    try:
        assert os.read(held, 4) == b"held"
        fd = append.open_log(str(office.log_file), "x")
        with contextlib.closing(os.fdopen(fd)), pytest.raises(CustodyError, match=f"locked by .*{pid}"):
            append.lock(fd, str(office.log_file), seconds=0.1)
    finally:
        os.close(held)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert office.open().event("note.added", NOTE) == 2
