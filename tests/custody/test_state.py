"""What a host remembers: heads, running sessions, the spool's files; the place of a log; the clock; who acts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.custody import clock, filesystem
from imgkit.custody.session import Actor, Session, process_start, without_secrets
from imgkit.custody.state import Head, StateFolder
from imgkit.errors import CustodyError, UsageError
from imgkit.linux import files

if TYPE_CHECKING:
    from tests.custody.conftest import Office

UUID = "6f1ed002-ab55-4d4c-9d4e-0a4c9d4e0a4c"
HEAD = Head(log=UUID, path="/cases/a\udcff\n/custody.jsonl", size=3, bytes=900, head="0" * 64, last=300)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "deep" / "state")


def test_looking_makes_nothing(state: StateFolder) -> None:
    assert state.head(UUID) is None
    assert state.last_path(UUID) is None
    assert state.session_runs(UUID) is None
    assert (state.in_spool(UUID), state.spooled_logs()) == ((), ())
    assert not os.path.exists(state.path)


def test_a_head_is_remembered_as_it_was(state: StateFolder) -> None:
    state.remember(HEAD)
    assert state.head(UUID) == HEAD
    assert StateFolder(state.path).last_path(UUID) == HEAD.path
    assert [path.name for path in Path(state.path, "heads").iterdir()] == [f"{UUID}.json"]
    assert Path(state.path).stat().st_mode & 0o077 == 0


def test_a_memory_that_cannot_be_read_is_told(state: StateFolder) -> None:
    state.remember(HEAD)
    path = Path(state.path, "heads", f"{UUID}.json")
    path.unlink()
    path.mkdir()
    with pytest.raises(CustodyError, match="cannot read what is remembered"):
        state.head(UUID)


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CustodyError, match="cannot remember the head"):
        StateFolder(tmp_path / "file" / "state").remember(HEAD)
    with pytest.raises(CustodyError, match="cannot note the running session"):
        StateFolder(tmp_path / "file" / "state").hold_session(UUID)


def test_a_session_lives_as_long_as_its_lock(state: StateFolder) -> None:
    session = Session(Actor("Jane", "jane@lab"), state)
    assert state.session_runs(session.uuid) is None
    with session:
        session.begin()
        session.begin()
        assert state.session_runs(session.uuid) is True
    session.close()
    assert state.session_runs(session.uuid) is None
    assert os.listdir(os.path.join(state.path, "sessions")) == []


def test_a_killed_session_is_over_and_swept_by_the_next(state: StateFolder) -> None:
    program = f"""
import os, signal
from imgkit.custody.state import StateFolder
StateFolder({state.path!r}).hold_session({UUID!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert state.session_runs(UUID) is False
    with Session(Actor("Jane", "jane@lab"), state) as session:
        session.begin()
        assert os.listdir(os.path.join(state.path, "sessions")) == [session.uuid]
    assert state.session_runs(UUID) is None


def test_sessions_begun_at_once_keep_their_locks(state: StateFolder) -> None:
    """Every run sweeps while others are between making and locking their files."""
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for _ in range(25):
                    with Session(Actor("Jane", "jane@lab"), state) as session:
                        session.begin()
                        assert state.session_runs(session.uuid) is True
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert {os.waitpid(pid, 0)[1] for pid in children} == {0}
    assert os.listdir(os.path.join(state.path, "sessions")) == []


def test_a_program_that_is_started_does_not_keep_the_session(state: StateFolder) -> None:
    session = Session(Actor("Jane", "jane@lab"), state)
    session.begin()
    assert session.lock_fd is not None
    assert not os.get_inheritable(session.lock_fd)
    session.close()


@pytest.mark.parametrize(("name", "id_"), [("", "x"), ("x", ""), (" ", "x")])
def test_an_actor_has_name_and_id(name: str, id_: str) -> None:
    with pytest.raises(UsageError):
        Actor(name, id_)


def test_an_actor_is_recorded_readable() -> None:
    assert Actor("Jöhn\x1b[31m", "j@x", org="Lab").fields() == {
        "name": "Jöhn\\x1b[31m",
        "id": "j@x",
        "org": "Lab",
    }


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--passphrase", "x", "y"], ["--passphrase", "[removed]", "y"]),
        (["--PASSWORD=x"], ["--PASSWORD=[removed]"]),
        (["--new-passphrase", "--x", "y"], ["--new-passphrase", "[removed]", "y"]),
        (["--passphrase-file", "/x"], ["--passphrase-file", "/x"]),
        (["hash", "-p", "2", "--offset", "1"], ["hash", "-p", "2", "--offset", "1"]),
        (["http://a:b@c/d", "http://c/d@e"], ["http://[removed]@c/d", "http://c/d@e"]),
        (["--url=https://tsa/x?key=y&z"], ["--url=https://tsa/x?[removed]"]),
        (["https://token@tsa/#secret", "what?.dd"], ["https://[removed]@tsa/#[removed]", "what?.dd"]),
        (["a\udcff", "b\n"], ["a\\xff", "b\\n"]),
        (["--key"], ["--key"]),
    ],
)
def test_secrets_in_argv_are_replaced(argv: list[str], shown: list[str]) -> None:
    assert without_secrets(argv) == shown


def test_a_process_is_named_by_its_start() -> None:
    assert process_start(os.getpid()) == Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert process_start(2**22 + 1) is None


def test_libraries_stand_in_env(state: StateFolder) -> None:
    session = Session(Actor("J", "j@x"), state, libraries={"libtsk": "4.12.1", "libblkid": None})
    assert session.environment()["libraries"] == {"libtsk": "4.12.1"}
    assert "libraries" not in Session(Actor("J", "j@x"), state).environment()


def test_the_stamp_is_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.time_ns()
    stamp = clock.stamp()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp["utc"])
    assert clock.utc_text(before) <= stamp["utc"] <= clock.utc_text(time.time_ns())
    assert stamp["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert 0 <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 - stamp["boot_us"] < 10_000_000
    monkeypatch.setattr(clock, "clock_unsynchronised", lambda: False)
    assert clock.stamp()["sync"] == "ok"
    monkeypatch.setattr(clock, "clock_unsynchronised", lambda: True)
    assert clock.stamp()["sync"] == "unsync"


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("UTC0", "+00:00"), ("XXX-5:30", "+05:30"), ("XXX3:30", "-03:30"), ("XXX-14", "+14:00")],
)
def test_the_zone_is_the_local_offset(monkeypatch: pytest.MonkeyPatch, zone: str, shown: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert clock.stamp()["tz"] == shown
    finally:
        monkeypatch.undo()
        time.tzset()


MOUNTINFO = """\
25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 25 0:50 / /a rw shared:2 - nfs4 srv:/a rw,vers=4.2,local_lock=none
41 25 0:51 / /b rw - nfs srv:/b rw,vers=3,local_lock=all
42 25 0:52 / /c rw shared:3 master:1 - cifs //srv/c rw,vers=3.1.1,nobrl
43 25 0:53 / /d rw - nfs srv:/d rw,nolock,local_lock=flock
44 25 0:54 / /e\\040f rw - nfs srv:/e rw,local_lock=posix
short
"""


@pytest.mark.parametrize(
    ("minor", "option"),
    [(50, None), (51, "local_lock=all"), (52, "nobrl"), (53, "local_lock=flock"), (54, None), (99, None)],
)
def test_locks_that_hold_on_this_host_only_are_found(minor: int, option: str | None) -> None:
    assert filesystem.local_lock_option(MOUNTINFO, os.makedev(0, minor)) == option


@pytest.mark.parametrize(
    ("magic", "name"),
    [(0x6969, "nfs"), (0xFE534D42, "cifs"), (0xFF534D42, "cifs"), (0x01021997, "9p"), (0x65735546, "fuse")],
)
def test_shared_file_systems_are_told_and_recorded(
    office: Office, monkeypatch: pytest.MonkeyPatch, magic: int, name: str
) -> None:
    monkeypatch.setattr(files, "statfs_type", lambda _path: magic)
    log = office.create()
    assert [notice for notice in log.notices if f"lies on {name}" in notice]
    office.open().event("note.added", {"sha256": "0" * 64})
    assert [record["env"]["log_filesystem"] for record in office.check_chain()] == [name, name]


def test_a_shared_file_system_with_local_locks_is_refused(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.create()
    monkeypatch.setattr(files, "statfs_type", lambda _path: files.NFS_SUPER_MAGIC)
    monkeypatch.setattr(filesystem, "local_lock_option", lambda _text, _device: "local_lock=all")
    with pytest.raises(CustodyError, match="local_lock=all"):
        office.open()
