"""signal(7): SIGINT and SIGTERM held back while something half done must become a record."""

from __future__ import annotations

import contextlib
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    _Handler = Callable[[int, FrameType | None], Any] | int

_HELD = (signal.SIGINT, signal.SIGTERM)
_holds: list[_Hold] = []  # of the main thread, the outermost first


@dataclass(frozen=True, slots=True)
class _Hold:
    """A block of signals_held: what came in it, and the handlers from before it."""

    came: set[int]
    previous: dict[signal.Signals, _Handler]


@contextlib.contextmanager
def signals_held() -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back; deliver them, once, when the block is left. May be nested.

    Yields what makes them ignored instead, those that came in the block and all that come after it.

    Wrap the whole of attach, its outcome record and keep: a signal in between would take the device down before its
    outcome is on disk. Threads started inside hold them too. The thread mask alone would not do: the kernel hands a
    signal to any other thread of the process, and Python then runs the handler in the main thread all the same.
    """
    came: set[int] = set()
    is_main = threading.current_thread() is threading.main_thread()
    previous = _handlers() if is_main else {}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    for number in previous:
        signal.signal(number, _note(came))

    def ignore() -> None:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)  # also drops what waits behind the mask
            previous[number] = signal.SIG_IGN
        came.clear()

    if is_main:
        _holds.append(_Hold(came, previous))
    try:
        yield ignore
    finally:
        if is_main:
            _holds.pop()
        # Mask first, handlers after it, each whatever the other does: a signal that another thread takes for us may be
        # raised here at any of these steps, and none of them may be left out.
        with contextlib.ExitStack() as end:
            end.callback(_deliver, came)
            for number, handler in previous.items():
                end.callback(signal.signal, number, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """In a block of signals_held, where nothing would be torn apart: call the handlers of what came until now.

    For a wait that may last. A signal whose action is the default one goes on being held; so does every one that comes
    after this, until the block ends or this is called again. Does nothing but in the main thread.
    """
    if not _holds or threading.current_thread() is not threading.main_thread():
        return
    outermost = _holds[0].previous
    for number in sorted({*signal.sigpending(), *(n for hold in _holds for n in hold.came)} & set(outermost)):
        handler = outermost[signal.Signals(number)]
        if not callable(handler):
            continue
        signal.sigtimedwait([number], 0)
        for hold in _holds:
            hold.came.discard(number)
        handler(number, None)


def _deliver(came: set[int]) -> None:
    for number in sorted(came):
        signal.raise_signal(number)  # inside an outer block it stays pending until that one ends


def _handlers() -> dict[signal.Signals, _Handler]:
    """Present handlers; a signal that is ignored (nohup) or handled outside Python stays as it is."""
    found = {number: signal.getsignal(number) for number in _HELD}
    return {
        n: handler for n, handler in found.items() if handler is not None and handler is not signal.SIG_IGN
    }


def _note(came: set[int]) -> Callable[[int, FrameType | None], None]:
    def note(number: int, frame: FrameType | None) -> None:
        del frame
        came.add(number)

    return note
