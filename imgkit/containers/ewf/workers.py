"""Workers: a few threads that inflate, started at the first need and ended at close: a process without a read has none."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST = 8


class Workers:
    """Threads that run jobs; whoever asks works along, so that nothing ever waits for a thread to be free.

    Attributes:
        count: How many work at one time, at most.
    """

    def __init__(self) -> None:
        self.count = min(_MOST, os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed = False

    def run(self, jobs: Sequence[Callable[[], None]], most: int) -> None:
        """Run every job, at most `most` at a time, and return when all are done; what one raised is raised here."""
        crew = _Crew(jobs)
        for _ in range(min(most, self.count, len(jobs)) - 1):
            self.later(crew.work)
        crew.work()
        crew.finished.wait()
        if crew.error is not None:
            raise crew.error

    def later(self, job: Callable[[], None]) -> None:
        """Run a job some time; never after close, nor where no thread can be had: nobody may depend on it."""
        with self._lock:
            if self._closed:
                return
            if len(self._threads) < self.count:
                self._start_one()
            if self._threads:
                self._queue.put(job)

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._work, name="imgkit-inflate", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # a limit on threads (a confined process): whoever asks works alone
        self._threads.append(thread)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job()

    def close(self) -> None:
        """End the threads, once they are through with what they were given. Closing twice is allowed."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join()


class _Crew:
    """Jobs that several threads take from one list."""

    def __init__(self, jobs: Sequence[Callable[[], None]]) -> None:
        self._jobs = list(reversed(jobs))
        self._left = len(jobs)
        self._lock = threading.Lock()
        self.finished = threading.Event()
        self.error: BaseException | None = None

    def work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    return
                job = self._jobs.pop()
            try:
                job()
            except BaseException as error:  # noqa: BLE001  (handed to the thread that asked, which raises it)
                self.error = error
            finally:
                with self._lock:
                    self._left -= 1
                    if not self._left:
                        self.finished.set()
