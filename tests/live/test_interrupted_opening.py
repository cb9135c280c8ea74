"""Ctrl-C while the process that serves is still opening the image: the command ends at once, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live import filesystems
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.live.bench import Bench

pytestmark = pytest.mark.live

# The process is stopped as soon as there is one: it never has the image open.
OPENS_FOR_EVER = (
    "import os, sys, imgkit.linux.process as process; from imgkit.cli import main\n"
    "spawn = process.spawn\n"
    "def stopped(*words, **options):\n"
    "    pid = spawn(*words, **options); os.kill(pid, 19); print('opening', file=sys.stderr, flush=True); return pid\n"
    "process.spawn = stopped\n"
    "sys.exit(main())\n"
)


@pytest.mark.parametrize("verb", ["attach", "expose", "mount"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_the_image_is_opened(bench: Bench, verb: str, number: signal.Signals) -> None:
    case = bench.case()
    filesystems.make_tree(bench.folder / "tree")
    filesystems.make_clean(bench.folder / "disk.001", "squashfs", bench.folder / "tree")
    disk = bench.folder / "disk.001"
    half = disk.stat().st_size // 1024 * 512
    bench.image("disk.002", disk.read_bytes()[half:])
    os.truncate(disk, half)
    place = bench.base / "seen"
    words = [str(disk), *([str(place)] if verb != "attach" else []), "--case", str(case)]
    command = [sys.executable, "-c", OPENS_FOR_EVER, verb, *words]
    with subprocess.Popen(command, env=bench.env, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while process.stderr.readline() not in (b"opening\n", b""):
            pass
        process.send_signal(number)
        assert process.wait(30) == (130 if number == signal.SIGINT else 143)  # opening has 60 s
    wait_until(bench.is_clean)
    assert not place.exists()
    kind = "evidence.exposed" if verb == "expose" else "evidence.attached"
    (outcome,) = bench.of_type(case, kind)
    assert outcome["result"] == "interrupted"
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))
