"""signals_held: nothing is torn apart, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from imgkit.linux.signals import let_through, signals_held
from tests.waiting import wait_until

if TYPE_CHECKING:
    from types import FrameType


def test_delivered_once_at_the_end() -> None:
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        with signals_held():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert came == []
        assert came == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_does_not_let_it_through() -> None:
    """The kernel hands a signal to any thread that does not block it; Python then acts in the main thread."""
    stop = threading.Event()
    steps: list[str] = []

    def act() -> None:
        with signals_held():
            signal.pthread_kill(thread.ident or 0, signal.SIGINT)
            time.sleep(0.3)  # the other thread takes it when it is next run
            steps.append("finished")

    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            act()
    finally:
        stop.set()
        thread.join()
    assert steps == ["finished"]


def test_what_is_done_is_not_disturbed_any_more() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with signals_held() as ignore:
            signal.raise_signal(signal.SIGINT)
            ignore()
        signal.raise_signal(signal.SIGTERM)
        assert [signal.getsignal(number) for number in before] == [signal.SIG_IGN] * 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_nested_holds_until_the_outermost() -> None:
    steps = []

    def act() -> None:
        with signals_held():
            with signals_held():
                signal.raise_signal(signal.SIGINT)
            steps.append("after the inner")

    with pytest.raises(KeyboardInterrupt):
        act()
    assert steps == ["after the inner"]


def test_let_through_where_nothing_is_half_done() -> None:
    steps = []

    def act() -> None:
        with signals_held():
            let_through()
            with signals_held():
                signal.raise_signal(signal.SIGINT)
                steps.append("held")
                let_through()
            steps.append("never")

    with pytest.raises(KeyboardInterrupt):
        act()
    assert steps == ["held"]
    let_through()  # nothing is held
    assert not signal.sigpending()


def test_what_another_thread_took_is_let_through_once() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with signals_held():
            signal.pthread_kill(thread.ident or 0, signal.SIGTERM)

            def has_come() -> bool:
                let_through()
                return bool(came)

            wait_until(has_come)
            assert came == [signal.SIGTERM]
        assert came == [signal.SIGTERM]
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)


def test_default_action_comes_after_the_block() -> None:
    code = (
        "import os, signal, time\n"
        "from imgkit.linux.signals import signals_held\n"
        "with signals_held():\n"
        "    os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.01); print('done', flush=True)\n"
        "print('never')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "done\n")


def test_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_another_thread_took_late_leaves_nothing_held() -> None:
    """Whatever step of the end it arrives at: mask and handlers are as before."""

    def late(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, late)
    try:
        for _ in range(200):
            sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM))
            try:
                sender.start()
                with signals_held():
                    sender.join()
                time.sleep(0.5)
            except KeyboardInterrupt:
                assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}
                assert signal.getsignal(signal.SIGTERM) is late
            else:
                pytest.fail("the signal was lost")
    finally:
        signal.signal(signal.SIGTERM, before)
