"""What is known of an exposure, whoever asks: the process that serves it, the file it serves, what it serves it from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ExposureGuard = Literal["lease", "none"]


@dataclass(frozen=True, slots=True)
class ExposureFacts:
    """An image that a process of imgkit serves as one read-only file.

    Attributes:
        name: The file's name: `imgkit-<log uuid>-<n>` or what was given.
        pid: The process that serves it.
        started: When it began, in clock ticks since boot (field 22 of /proc/<pid>/stat): with pid it names the process.
        path: The image as it was opened, absolute.
        size: Bytes of the media, and of the file.
        dev: st_dev of the served file: what LOOP_GET_STATUS64 says of a loop device on it.
        ino: st_ino of the served file.
        guard: `lease`: the process holds a read lease on every file of the image; `none`: writers are not held back.
        directory: Where the file is seen; None for one that only descriptors and loop devices reach.
        notices: Sentences for the examiner.
    """

    name: str
    pid: int
    started: int
    path: str
    size: int
    dev: int
    ino: int
    guard: ExposureGuard
    directory: str | None
    notices: tuple[str, ...] = ()
