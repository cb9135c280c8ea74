"""demo: the whole way on a sample image, through the installed command, in a temporary folder."""

from __future__ import annotations

import gzip
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from importlib.resources import files
from typing import Any

from imgkit.cli.output import emit, say
from imgkit.errors import HostError

Document = dict[str, Any]

CASE, IMAGE, MOUNTPOINT = "case", "sample.dd", "mnt"


class _Tour:
    """Runs imgkit's own commands in a folder and keeps what they said."""

    def __init__(self, folder: str, *, quiet: bool) -> None:
        self.folder = folder
        self.steps: list[Document] = []
        self._quiet = quiet
        self._environment = {
            **os.environ,
            "IMGKIT_EXAMINER": "imgkit demo <demo@imgkit>",
            "IMGKIT_CASE": os.path.join(folder, CASE),
            "XDG_STATE_HOME": os.path.join(folder, "state"),
        }

    def tell(self, text: str) -> None:
        """A sentence of the tour."""
        if not self._quiet:
            say()
            say(f"# {text}")

    def run(self, *words: str) -> int:
        """One command, shown as it would be typed, with its output."""
        if not self._quiet:
            say(f"$ imgkit {shlex.join(words)}")
            sys.stdout.flush()
        done = subprocess.run(
            [sys.executable, "-m", "imgkit", *words],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE if self._quiet else None,
            stderr=subprocess.PIPE if self._quiet else None,
            check=False,
        )
        self.steps.append({"command": ["imgkit", *words], "exit": done.returncode})
        return done.returncode

    def list_files(self) -> None:
        """What the mounted file system holds."""
        root = os.path.join(self.folder, MOUNTPOINT)
        if not self._quiet:
            say(f"$ find {MOUNTPOINT} -type f")
        found = []
        for place, _, names in os.walk(root):
            found += [os.path.relpath(os.path.join(place, name), self.folder) for name in names]
        self.steps.append({"files": sorted(found)})
        if not self._quiet:
            for name in sorted(found):
                say(name)


def run_demo(*, keep: bool, as_json: bool) -> int:
    """Take the sample image the whole way; exit 3 where a step did not end as it should."""
    folder = tempfile.mkdtemp(prefix="imgkit-demo-")
    tour = _Tour(folder, quiet=as_json)
    try:
        _make_image(folder)
        left_out = _walk(tour)
    finally:
        if not keep:
            _remove(folder)
    failed = [step for step in tour.steps if step.get("exit", 0) != 0]
    if as_json:
        emit({"schema": "imgkit.demo.v1", "steps": tour.steps, "left_out": left_out, "ok": not failed})
    elif keep:
        tour.tell(f"left for a look: {folder}")
    if failed:
        words = " ".join(failed[0]["command"])
        raise HostError(
            f"the demo's `{words}` ended with {failed[0]['exit']}", hint="imgkit doctor says what is missing"
        )
    return 0


def _make_image(folder: str) -> None:
    media = gzip.decompress(files("imgkit").joinpath("known_answers", "demo.img.gz").read_bytes())
    with open(os.path.join(folder, IMAGE), "xb") as file:
        file.write(media)
    with open(os.path.join(folder, f"{IMAGE}.sha256"), "x", encoding="ascii") as file:
        file.write(f"{hashlib.sha256(media).hexdigest()}  {IMAGE}\n")


def _walk(tour: _Tour) -> list[str]:
    """Every step of the main job; returns the steps that were left out."""
    left_out: list[str] = []
    tour.tell(f"A sample disk of 8 MiB, and the digest its acquisition stated: {IMAGE}, {IMAGE}.sha256")
    tour.run("case", "new", CASE, "--number", "demo")
    tour.tell("Is the image what was acquired?")
    tour.run("verify", IMAGE)
    tour.tell("How is it divided?")
    tour.run("partitions", IMAGE)
    if os.geteuid() == 0:
        tour.tell("A partition as a read-only device, proved from the kernel, and taken down again")
        tour.run("attach", IMAGE, "-p", "1")
        tour.run("status")
        tour.run("detach", IMAGE)
        tour.tell("The file system in it, read-only")
        tour.run("mount", IMAGE, "-p", "1", MOUNTPOINT)
        tour.list_files()
        tour.run("unmount", MOUNTPOINT)
    else:
        left_out = ["attach", "status", "detach", "mount", "unmount"]
        tour.tell(
            "Left out: attach, status, detach, mount, unmount. The kernel reserves loop devices for root: sudo imgkit demo"
        )
    tour.tell("Is it still what it was?")
    tour.run("verify", IMAGE)
    tour.tell("What does the record say, and is the record what it was?")
    tour.run("log", "show")
    tour.run("log", "verify")
    return left_out


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder)
