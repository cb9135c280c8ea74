"""Children without fork, and processes named by pid and start time."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from imgkit.linux import process
from tests.waiting import wait_until

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]


def test_a_child_has_a_session_a_clean_mask_and_three_streams(tmp_path: Path) -> None:
    out = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    kept = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    program = (
        "import os, signal\n"
        f"passed_on = '{kept}' in os.listdir('/proc/self/fd')\n"
        "print(os.getsid(0) == os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, ()), dict(os.environ),\n"
        "      [os.readlink(f'/proc/self/fd/{n}') for n in (0, 2)], passed_on)"
    )
    try:
        pid = process.spawn(
            [sys.executable, "-I", "-S", "-c", program],
            environment={"LC_ALL": "C.UTF-8"},
            descriptors={1: out},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(kept)
    os.close(out)
    said = (tmp_path / "out").read_text()
    assert said == "True set() {'LC_ALL': 'C.UTF-8'} ['/dev/null', '/dev/null'] False\n"


def test_a_process_is_its_pid_and_its_start() -> None:
    pid = process.spawn(SLEEP, environment={}, descriptors={})
    started = process.start_time(pid)
    assert process.open_process(pid, started - 1) is None
    fd = process.open_process(pid, started)
    assert fd is not None
    assert not process.wait_until_ended(fd, 0.01)
    process.kill_child(pid)
    assert process.wait_until_ended(fd, 5)
    os.close(fd)
    assert process.open_process(pid, started) is None
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        process.start_time(pid)
    process.kill_child(pid)


def test_whether_a_process_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = process.spawn(SLEEP, environment={}, descriptors={})
    started = process.start_time(pid)
    assert not process.has_ended(pid, started)
    assert process.has_ended(pid, started - 1)  # the number is another process's by now
    with monkeypatch.context() as hidden:

        def hidepid(_: int) -> int:
            raise FileNotFoundError

        hidden.setattr(process, "start_time", hidepid)
        assert not process.has_ended(pid, started)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: process.has_ended(pid, started))  # a zombie
    os.waitpid(pid, 0)
    assert process.has_ended(pid, started)


def test_a_child_that_was_left_is_taken_off_the_table() -> None:
    pid = process.spawn([sys.executable, "-I", "-S", "-c", ""], environment={}, descriptors={})
    process.leave_child(pid)

    def taken_off() -> bool:
        process.reap()
        return not Path(f"/proc/{pid}").exists()

    wait_until(taken_off)
    process.reap()


def test_the_start_of_a_process_with_an_odd_name() -> None:
    assert process.start_time(os.getpid()) > 0
    assert process.start_time(1) <= process.start_time(os.getpid())
