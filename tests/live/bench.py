"""Bench: the installed command as root on this kernel, and whatever it leaves behind taken down again, by number."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.cli.running import Imgkit
from tests.conftest import exposures
from tests.waiting import wait_until

Record = dict[str, Any]

LUKS1 = b"LUKS\xba\xbe\x00\x01" + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0")
RUN_FOLDER = "/run/imgkit"
_ESCAPED = re.compile(r"\\(\d{3})")


class Bench(Imgkit):
    """An examiner's place: a case, images below `base`, and a look at the kernel that does not ask imgkit."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.extra_mounts: list[Path] = []

    # -- what the kernel says --------------------------------------------------------------------

    def devices(self) -> dict[str, str]:
        """Loop devices bound to files below our folder: /dev/loopN -> file, as sysfs shows it now.

        What an exposure serves is named after the log, and lies in no folder.
        """
        found, served = {}, tuple(f"/imgkit-{log}-" for log in self._logs())
        for path in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
            try:
                backing = os.fsdecode(path.read_bytes()).rstrip("\n")
            except OSError:
                continue  # released while we looked
            if backing.startswith((f"{self.base}/", *served)):
                found[f"/dev/{path.parts[3]}"] = backing
        return found

    def _logs(self) -> set[str]:
        """The uuids of our logs."""
        found = set()
        for path in (*self.folder.glob("*/custody.jsonl"), *self.base.glob("state/**/custody.jsonl")):
            first = path.read_bytes().partition(b"\n")[0]
            if match := re.search(rb'"log":"([0-9a-f-]{36})"', first):
                found.add(match[1].decode())
        return found

    def exposures(self) -> list[int]:
        """The processes that serve images below our folder."""
        return [pid for pid, image in exposures().items() if image.startswith(f"{self.base}/")]

    def mounts(self) -> dict[str, str]:
        """Mount point -> /dev/loopN of what our devices show."""
        ours, found = self.devices(), {}
        for line in os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).split("\n"):
            fields = line.split(" ")
            if len(fields) == 1:
                continue  # after the last line
            source = fields[fields.index("-") + 2]
            if source in ours:
                found[_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4])] = source
        return found

    def is_clean(self) -> bool:
        return not self.devices() and not self.mounts() and not self.exposures()

    def status(self) -> list[Record]:
        """What `status` shows of our devices; other tests have theirs."""
        ours, shown = self.devices(), self("status", "--json").ended(0).json["attachments"]
        return [item for item in shown if item["device"] in ours]

    # -- what the logs say -----------------------------------------------------------------------

    def log_of(self, case: Path) -> Path:
        return case / "custody.jsonl"

    def of_type(self, case: Path, kind: str, phase: str = "outcome") -> list[Record]:
        """The records of one type and phase, in order."""
        records = self.records(self.log_of(case))
        return [record for record in records if (record["type"], record["phase"]) == (kind, phase)]

    def verified(self, case: Path) -> list[str]:
        """The codes of all findings of a log that verifies."""
        document = self("log", "verify", case, "--json").ended(0).json
        return [finding["code"] for finding in document["findings"]]

    # -- coming down -----------------------------------------------------------------------------

    def take_all_down(self) -> None:
        """Whatever a test left, with stock tools and by the numbers that belong to files of ours."""
        for pid in self.exposures():  # first: what waits for one that is stopped could not come down
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for target in reversed(self.mounts()):
            subprocess.run(["umount", target], check=False, capture_output=True)
            if target.startswith(RUN_FOLDER + "/"):
                subprocess.run(
                    ["rmdir", "-p", "--ignore-fail-on-non-empty", target], check=False, capture_output=True
                )
        for device in self.devices():
            subprocess.run(["losetup", "-d", device], check=False, capture_output=True)
        for folder in reversed(self.extra_mounts):
            subprocess.run(["umount", folder], check=True)
        wait_until(self.is_clean)

    def tmpfs(self, name: str, size: str = "1m") -> Path:
        """A small file system of its own, unmounted at the end."""
        folder = self.base / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        self.extra_mounts.append(folder)
        return folder


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Use up the room of a file system but for `leave` bytes; return the file that holds it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        file.truncate(max(0, file.tell() - leave))
    return ballast
