"""Logs that imgkit wrote, whatever came between: the verifier and the script in the case folder find them in order."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.verify import verify_log
from tests.conftest import need

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.custody.log import CustodyLog

# `office` is the fixture of conftest.py: a state folder and a case folder.
Office = Any
UNSIGNED = {"UNSIGNED_TAIL", "NO_RECEIPT"}
DEVICE = {"device": "/dev/loop3", "diskseq": 12, "offset": 0, "length": 4096}


def codes(office: Office) -> set[str]:
    """What is found, but for the signatures that no log has and a clock that nobody keeps right (this host's may be)."""
    found = verify_log(office.case, state=office.state)
    return set(found.codes) - UNSIGNED - {"CLOCK_UNSYNC"}


def script_says(office: Office) -> tuple[int, str]:
    need(shutil.which("jq") is not None, "needs jq")
    run = subprocess.run(["./verify.sh"], cwd=office.case, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.returncode, run.stdout


def act(log: CustodyLog, kind: str, data: dict[str, Any], done: dict[str, Any]) -> int:
    intent = log.intent(kind, data, exhibit="EX1", reason="asked by the court")
    log.outcome(intent, "ok", done)
    return intent.seq


def test_a_whole_case(office: Office) -> None:
    log = office.create()
    act(log, "evidence.hashed", {"of": "media"}, {"digests": {"sha256": "0" * 64}})
    line = act(log, "evidence.attached", {}, DEVICE)
    assert codes(office) == {"OPEN_ATTACHMENT"}
    act(log, "evidence.detached", DEVICE | {"attached_line": line}, DEVICE | {"attached_line": line})
    files = [{"path": f"/evidence/disk.{number:03d}", "bytes": 1 << 30} for number in range(250)]
    act(log, "evidence.added", {"files": files}, {"files": files})
    log.event("note.added", log.enclose("sealed at 10:04, \u00e9tiquette 7\n".encode(), "txt"))
    assert codes(office) == set()
    found = verify_log(office.case, state=office.state)
    assert found.lines == len(office.lines())
    assert any("2 enclosures have the SHA-256" in text for text in found.proved)
    code, said = script_says(office)
    assert (code, found.head in said) == (0, True), said
    assert "IN ORDER" in said


def test_torn_and_recovered(office: Office) -> None:
    log = office.create()
    log.event("case.exported", {"format": "html"})
    for piece in (b'{"actor":{"id":"ja', b"\0" * 700, b'{"actor":\n', office.lines()[-1][:-1]):
        with office.log_file.open("ab") as file:
            file.write(piece)
        assert codes(office) - {"CHAIN_BREAK", "SEQ", "CLOCK_BACK"} <= {"TORN_TAIL", "TORN_SEALED"}
        if b"case.exported" in piece:
            break  # the last record once more, without LF: no crash leaves that, and the next append refuses it
        log.event("case.exported", {"format": "html"})
        assert codes(office) == {"TORN_SEALED"}
    assert script_says(office)[0] == 1 == verify_log(office.case).exit_code


def test_a_record_that_lacks_its_line_feed(office: Office) -> None:
    log = office.create()
    log.event("case.exported", {"format": "html"})
    text = office.log_file.read_bytes()
    copy = office.folder / "copy.jsonl"
    copy.write_bytes(text[:-1])
    assert set(verify_log(copy).codes) - UNSIGNED - {"CLOCK_UNSYNC"} == {"TORN_TAIL", "NO_HEAD_MEMORY"}


def test_rollback_found_and_accepted(office: Office) -> None:
    log = office.create()
    earlier = office.log_file.read_bytes()
    log.event("case.exported", {"format": "html"})
    office.log_file.write_bytes(earlier)
    assert codes(office) == {"ROLLBACK"}
    log.accept_rollback("restored from the backup of Monday")
    assert codes(office) == set()
    log.event("case.exported", {"format": "html"})
    assert codes(office) == set()
    assert any("what stood before line 2" in text for text in verify_log(office.case).not_proved)


def test_fork_found(office: Office) -> None:
    log = office.create()
    log.event("case.exported", {"format": "html"})
    text = office.log_file.read_bytes()
    office.log_file.write_bytes(text.replace(b'"html"', b'"docx"'))
    assert codes(office) == {"FORK"}


def test_open_and_reconciled(office: Office) -> None:
    log = office.create()
    pid = os.fork()
    if pid == 0:
        office.open().intent("evidence.hashed", {"of": "media"})
        os._exit(0)  # a run that is killed
    os.waitpid(pid, 0)
    assert codes(office) == {"OPEN_INTENT"}
    log.reconcile(lambda _intent: ("interrupted", {}))
    assert codes(office) == set()
    assert script_says(office)[0] == 0


def test_late_from_the_spool(office: Office) -> None:
    """A full file system is not needed: the log is away while the outcome is due."""
    log = office.create()
    intent = log.intent("evidence.hashed", {"of": "media"})
    away = office.folder / "away"
    office.log_file.rename(away)
    with pytest.raises(Exception, match="NOT YET IN THE CASE LOG"):
        log.outcome(intent, "ok", {"digests": {}})
    away.rename(office.log_file)
    assert codes(office) == {"OPEN_INTENT"}
    log.import_spool()
    assert codes(office) == set()
    assert office.records()[-1]["late"] is True
    assert script_says(office)[0] == 0


def test_a_log_that_grows_meanwhile(office: Office) -> None:
    """No moment of a running append looks like a fault: somebody writes as fast as the disk lets them."""
    log = office.create()
    pid = os.fork()
    if pid == 0:
        for _ in range(60):
            log.event("note.added", log.enclose(os.urandom(40), "bin"))
        os._exit(0)
    seen = set()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        seen |= codes(office)
    # an enclosure gets its name after its record is durable: in between it is withheld
    assert seen <= {"ENCLOSURE_WITHHELD"}
    assert codes(office) == set()


def test_nothing_is_written_or_locked(office: Office, tracer: Callable[..., Any]) -> None:
    need(shutil.which("strace") is not None, "needs strace")
    office.create()

    def verify() -> int:
        return verify_log(office.case, state=office.state).exit_code

    traced = tracer(verify, calls="openat,flock,fcntl,write,pwrite64,ftruncate,unlink,rename,mkdir")
    assert traced.code == 0
    assert traced.named("openat", "custody.jsonl")
    for call in ("flock", "write", "pwrite64", "ftruncate", "unlink", "rename", "mkdir"):
        assert not traced.named(call), traced.named(call)
    assert not [line for line in traced.named("openat") if "O_WRONLY" in line or "O_RDWR" in line]
