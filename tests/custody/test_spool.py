"""Records that their log could not take: kept, told, and taken over by the next run that reaches the log."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody import spool
from imgkit.custody.spool import SpooledLog, spool_pair
from imgkit.errors import CustodyError, OutcomeSpooled

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.custody.acts import Intent
    from imgkit.custody.log import CustodyLog
    from tests.custody.conftest import Office

NOTE = {"sha256": "0" * 64}
DIGESTS = {"digests": {"sha256": "0" * 64}}


def spooled_files(office: Office) -> list[Path]:
    return sorted(Path(office.state.path).glob("spool/*/*"))


def spool_an_outcome(office: Office, log: CustodyLog, data: dict[str, Any] | None = None) -> Intent:
    """An act whose outcome finds no log."""
    intent = log.intent("evidence.hashed", {}, exhibit="EX1")
    office.log_file.rename(office.folder / "away")
    with pytest.raises(OutcomeSpooled, match="NOT YET IN THE CASE LOG") as caught:
        log.outcome(intent, "ok", DIGESTS | (data or {}))
    assert isinstance(caught.value.__cause__, CustodyError)
    (office.folder / "away").rename(office.log_file)
    return intent


def test_an_outcome_that_finds_no_log_is_imported_late(office: Office) -> None:
    log = office.create()
    intent = spool_an_outcome(office, log)
    assert len(office.check_chain()) == 2
    other = office.open()
    assert list(office.state.spooled_logs()) == [log.uuid]
    assert other.import_spool() == [3]
    record = office.check_chain()[-1]
    assert (record["late"], record["op"], record["result"], record["exhibit"]) == (
        True,
        intent.op,
        "ok",
        "EX1",
    )
    assert record["data"]["digests"] == DIGESTS["digests"]
    assert record["data"]["at"]["boot_us"] <= record["time"]["boot_us"]
    assert (record["session"], "env" in record) == (log.session.uuid, False)
    assert (spooled_files(office), other.import_spool()) == ([], [])
    assert other.event("note.added", NOTE) == 4
    assert "env" in office.records()[-1]
    assert office.check().isdisjoint({"OPEN_INTENT", "OUTCOME_NO_INTENT"})


def test_taking_down_without_a_log(office: Office) -> None:
    """Both records go to the spool, the intent before the act."""
    log = office.create()
    shutil.move(office.log_file, office.folder / "away")
    stand_in = SpooledLog(log.uuid, office.session(), path=log.path)
    intent = stand_in.intent(
        "evidence.detached", {"device": "/dev/loop3"}, exhibit="EX1", reason="end of the day"
    )
    assert len(spooled_files(office)) == 1
    assert (intent.seq, stand_in.outcome(intent, "ok", {"device": "/dev/loop3"})) == (0, 0)
    assert stand_in.event("evidence.touched", {"device": "/dev/loop3"}) == 0
    shutil.move(office.folder / "away", office.log_file)
    assert office.open().import_spool() == [2, 3, 4]
    records = office.check_chain()[1:]
    assert [(record["type"], record["phase"]) for record in records] == [
        ("evidence.detached", "intent"), ("evidence.detached", "outcome"), ("evidence.touched", "event"),
    ]  # fmt: skip
    assert {record["session"] for record in records} == {stand_in.session.uuid}
    assert [record.get("reason") for record in records] == ["end of the day", None, None]
    assert "env" in records[0]
    office.check()


def test_a_pair_in_one_go(office: Office) -> None:
    log = office.create()
    device = {"device": "/dev/loop3"}
    spool_pair(
        log.session, log.uuid, "evidence.detached", intent_data=device, result="failed", outcome_data={},
        error=OSError(16, "busy"),
    )  # fmt: skip
    assert log.import_spool() == [2, 3]
    assert office.check_chain()[-1]["error"]["errno"] == 16
    office.check()


def test_an_intent_of_the_spool_alone_is_reconciled(office: Office) -> None:
    """Killed between the spooled intent and the act."""
    log = office.create()
    SpooledLog(log.uuid, log.session).intent("evidence.detached", {"device": "/dev/loop3"})
    log.session.close()
    other = office.open()
    other.import_spool()
    assert other.reconcile(lambda _intent: ("unknown", {"device": "there"})) == [3]
    assert office.check().isdisjoint({"OPEN_INTENT"})


def test_rollback_sends_the_outcome_to_the_spool_and_the_intent_comes_with_it(office: Office) -> None:
    """The log was put back to before the intent: when that is accepted, both records arrive."""
    log = office.create()
    old = office.log_file.read_bytes()
    intent = log.intent("evidence.hashed", {}, reason="why")
    office.log_file.write_bytes(old)
    with pytest.raises(OutcomeSpooled) as caught:
        log.outcome(intent, "ok", DIGESTS)
    assert caught.value.code == "ROLLBACK"
    with pytest.raises(CustodyError):
        office.open().import_spool()
    assert len(spooled_files(office)) == 1
    other = office.open()
    other.accept_rollback("restored")
    assert other.import_spool() == [3, 4]
    records = office.check_chain()
    assert [record.get("phase") for record in records[2:]] == ["intent", "outcome"]
    assert records[2]["reason"] == "why"
    assert all(record["late"] for record in records[2:])
    office.check()


def test_an_outcome_that_the_log_has_after_all_is_not_doubled(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write done, fsync failed: the record is there, unacknowledged, and the spool has it too."""
    log = office.create()
    intent = log.intent("evidence.hashed", {})

    def failing(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: failing(fd) if is_log(fd) else None)
        with pytest.raises(OutcomeSpooled):
            log.outcome(intent, "ok", DIGESTS)
    assert len(spooled_files(office)) == 1
    assert office.open().import_spool() == []
    assert spooled_files(office) == []
    assert [record["phase"] for record in office.check_chain()] == ["event", "intent", "outcome"]
    office.check()


def is_log(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").endswith("custody.jsonl")


def test_a_crash_between_import_and_removal_does_not_double(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = office.create()
    spool_an_outcome(office, log)
    SpooledLog(log.uuid, log.session).event("evidence.touched", {})

    def killed(_log: str, _name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(office.state, "drop_from_spool", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                office.open().import_spool()
    assert office.open().import_spool() == [4]
    assert [record["phase"] for record in office.check_chain()] == ["event", "intent", "outcome", "event"]
    office.check()


def test_two_runs_importing_at_once_do_not_double(office: Office) -> None:
    log = office.create()
    for _ in range(10):
        SpooledLog(log.uuid, log.session).event("evidence.touched", {})
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                office.open().import_spool()
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    office.open().import_spool()
    names = [record["spool"] for record in office.check_chain()[1:]]
    assert (len(names), len(set(names))) == (10, 10)
    office.check()


def test_long_lists_wait_whole_and_are_enclosed_at_import(office: Office) -> None:
    log = office.create()
    spool_an_outcome(office, log, {"read_errors": [{"offset": n, "length": 512} for n in range(3000)]})
    log.import_spool()
    data = office.check_chain()[-1]["data"]
    assert data["read_errors"]["count"] == 3000
    assert (office.case / "enclosures" / data["read_errors"]["enclosure"]).exists()
    assert "ENCLOSURE_WITHHELD" not in office.check()


def test_a_damaged_spool_is_told(office: Office) -> None:
    log = office.create()
    SpooledLog(log.uuid, log.session).event("evidence.touched", {})
    [path] = spooled_files(office)
    path.write_bytes(b"{}x\n")
    with pytest.raises(CustodyError, match="is damaged"):
        log.import_spool()
    assert path.exists()


def test_neither_log_nor_spool(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {})
    office.log_file.unlink()

    def full(*_args: object) -> None:
        raise CustodyError("cannot keep a record: No space left on device")

    monkeypatch.setattr(office.state, "put_in_spool", full)
    with pytest.raises(CustodyError, match="neither log nor spool") as caught:
        log.outcome(intent, "ok", DIGESTS)
    assert not isinstance(caught.value, OutcomeSpooled)


def test_what_the_log_could_never_take_is_not_spooled(office: Office) -> None:
    log = office.create()
    with pytest.raises(CustodyError) as caught:
        SpooledLog(log.uuid, log.session).event("dreamt", {})
    assert caught.value.code == "SCHEMA"
    assert spooled_files(office) == []


@pytest.mark.parametrize(
    "loss", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.chmod(0)]
)
def test_every_loss_of_the_log_leaves_the_outcome_in_the_spool(
    office: Office, loss: Callable[[Path], object]
) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {})
    loss(office.log_file)
    if os.geteuid() == 0 and office.log_file.exists() and office.log_file.stat().st_size:
        office.log_file.unlink()  # a mode does not stop root
    with pytest.raises(OutcomeSpooled):
        log.outcome(intent, "ok", DIGESTS)
    [waiting] = spool.waiting(office.state, log.uuid)
    assert (waiting.fields["op"], waiting.fields["late"]) == (intent.op, True)
    assert waiting.intent is not None
    assert waiting.intent["op"] == intent.op
