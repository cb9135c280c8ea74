"""An office: one state folder and one case folder, and a check of the chain that shares nothing with imgkit."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.log import CustodyLog
from imgkit.custody.session import Actor, Session
from imgkit.custody.state import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PR_SET_PTRACER = 0x59616D61  # linux/prctl.h


class Office:
    """Where an examiner works: `case` with `case/custody.jsonl`, and the host's memory in `state`."""

    def __init__(self, folder: Path, *, state: Path | None = None) -> None:
        self.folder = folder
        self.case = folder / "case"
        self.log_file = self.case / "custody.jsonl"
        self.state = StateFolder(state or folder / "state")
        self.sessions: list[Session] = []

    def session(self, *, argv: tuple[str, ...] = ("imgkit", "hash", "disk.img")) -> Session:
        session = Session(Actor("Jane Doe", "jane@lab.example"), self.state, argv)
        self.sessions.append(session)
        return session

    def create(self, **options: Any) -> CustodyLog:
        return CustodyLog.create(self.case, self.session(), data={"number": "2026-0142"}, **options)

    def open(self, **options: Any) -> CustodyLog:
        return CustodyLog.open(self.case, self.session(), **options)

    def lines(self) -> list[bytes]:
        return self.log_file.read_bytes().splitlines(keepends=True)

    def records(self) -> list[dict[str, Any]]:
        """The lines that are JSON."""
        found = []
        for line in self.lines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def check_chain(self) -> list[dict[str, Any]]:
        """Every record names its number and the hash of the line before it; return the records."""
        prev, found = "0" * 64, []
        for number, line in enumerate(self.lines(), 1):
            assert line.endswith(b"\n")
            if _is_json(line):
                record = json.loads(line)
                assert (record["seq"], record["prev"]) == (number, prev), f"line {number}"
                found.append(record)
            prev = hashlib.sha256(line).hexdigest()
        return found

    def check_chain_so_far(self) -> None:
        """As check_chain, but the last line may be torn."""
        lines = self.lines()
        whole = [line for line in lines if line.endswith(b"\n")]
        assert len(whole) >= len(lines) - 1
        for before, line in itertools.pairwise(whole):
            if _is_json(line):
                assert json.loads(line)["prev"] == hashlib.sha256(before).hexdigest()

    def check(self) -> frozenset[str]:
        """The verifier finds nothing that fails, with this host's memory at hand; return the codes it finds."""
        from imgkit.custody.verify import verify_log

        verification = verify_log(self.case, state=self.state)
        assert verification.ok, [str(finding) for finding in verification.findings]
        return verification.codes

    def close(self) -> None:
        for session in self.sessions:
            session.close()


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode("utf-8"))
    except ValueError:
        return False
    return True


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.close()


@pytest.fixture
def memory_office() -> Iterator[Office]:
    """An office on tmpfs, for tests of many hundred appends that look at bytes and not at durability."""
    with tempfile.TemporaryDirectory(prefix="imgkit-test-", dir="/dev/shm") as folder:
        made = Office(Path(folder))
        yield made
        made.close()


@pytest.fixture
def office_at() -> Iterator[Callable[..., Office]]:
    """Makes offices in other folders (a full tmpfs, another state folder)."""
    made: list[Office] = []

    def make(folder: Path, *, state: Path | None = None) -> Office:
        made.append(Office(folder, state=state))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def tracer() -> Callable[..., Traced]:
    """`traced`: a fixture, for test modules import no other."""
    if shutil.which("strace") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs strace")
    return traced


class Traced:
    """What a forked child did under strace."""

    def __init__(self, code: int, trace: str) -> None:
        self.code = code
        self.calls = [line for line in trace.splitlines() if re.match(r"\d+ +[a-z0-9_]+\(", line)]

    def named(self, call: str, path: str = "") -> list[str]:
        """The calls of that name that mention the path."""
        return [line for line in self.calls if line.split(None, 1)[1].startswith(f"{call}(") and path in line]


FILE_CALLS = (
    "openat", "fstat", "newfstatat", "flock", "pread64", "fadvise64", "fallocate", "write", "fsync", "rename",
    "renameat2", "mkdir", "unlink", "close", "read",
)  # fmt: skip


def traced(act: Callable[[], int], *, inject: str | None = None, calls: str = ",".join(FILE_CALLS)) -> Traced:
    """Run `act` in a forked child under strace, from its first line on; its return value is the exit code.

    Args:
        act: Returns an exit code; anything it raises is 99.
        inject: strace's `-e inject=` expression.
        calls: What to trace.
    """
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(act, go_read, go_write)
    os.close(go_read)
    command = ["strace", "-p", str(pid), "-f", "-y", "-s", "64", "-e", f"trace={calls}"]
    command += ["-e", f"inject={inject}"] if inject else []
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as strace:
        assert strace.stderr is not None
        first = strace.stderr.readline()
        assert "attached" in first, first
        os.close(go_write)  # the child's read returns, the first traced call is the child's own
        _pid, status = os.waitpid(pid, 0)
        trace = strace.stderr.read()
    numbered = "".join(f"{pid} {re.sub(r'^.pid +[0-9]+. ', '', line)}\n" for line in trace.splitlines())
    return Traced(os.waitstatus_to_exitcode(status), numbered)


def _child(act: Callable[[], int], go_read: int, go_write: int) -> None:
    code = 99
    try:
        os.close(go_write)
        ctypes.CDLL(None).prctl(
            PR_SET_PTRACER, ctypes.c_long(-1), 0, 0, 0
        )  # Yama lets only parents trace else
        os.read(go_read, 1)
        os.close(go_read)
        code = act()
    finally:
        os._exit(code)
