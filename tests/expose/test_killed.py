"""The command is killed at any moment: what serves ends with it, and neither mount nor loop device is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from imgkit.expose import list_exposures
from imgkit.linux.mount import read_mountinfo
from tests.conftest import ROOT, bound_loop_devices
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.expose.conftest import MakeSplit

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

PROGRAM = """
import os, sys
from imgkit.containers import open_image
from imgkit.expose import expose_detached
from tests.expose.conftest import bind_loop
image = open_image(sys.argv[1])
print("ready", flush=True)
exposure = expose_detached(image, name=sys.argv[2])
print("exposed", flush=True)
node, device = bind_loop(exposure.fileno())
print("bound", flush=True)
while True:
    for offset in range(0, image.size, 4096):
        os.pread(node, 4096, offset)
        os.posix_fadvise(node, 0, 0, os.POSIX_FADV_DONTNEED)
"""


def start(first: Path, name: str) -> subprocess.Popen[bytes]:
    running = subprocess.Popen([sys.executable, "-c", PROGRAM, first, name], cwd=ROOT, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    return running


def kill(running: subprocess.Popen[bytes]) -> None:
    running.kill()
    running.communicate(timeout=30)


def is_listed(name: str) -> bool:
    return any(facts.name == name for facts in list_exposures())


def left(first: Path, name: str) -> list[object]:
    """What there still is of it, after the time that the kernel may take."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found: list[object] = [facts for facts in list_exposures() if facts.path == str(first)]
        found += [device for device, file in bound_loop_devices().items() if name in file]
        found += [info.target for info in read_mountinfo() if name in info.source]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


def test_at_random_moments(make_split: MakeSplit) -> None:
    """A while after nothing was seen yet, after the file was, and after a device was bound to it."""
    made, chance = make_split(1 << 20), random.Random(20261123)
    for turn in range(12):
        name = f"imgkit-test-kill-{os.getpid()}-{turn}"
        running = start(made.first, name)
        assert running.stdout is not None
        said = [running.stdout.readline() for _ in range(turn % 3)]
        assert said == [b"exposed\n", b"bound\n"][: turn % 3]
        time.sleep(chance.uniform(0, 0.1))
        kill(running)
        assert left(made.first, name) == []


def test_while_the_other_process_comes_up(make_split: MakeSplit) -> None:
    """Killed as soon as there is a process at all: it ends at the end of its standard input."""
    made = make_split(1 << 20)
    for turn in range(5):
        name = f"imgkit-test-early-{os.getpid()}-{turn}"
        running = start(made.first, name)
        wait_until(partial(is_listed, name))
        kill(running)
        assert left(made.first, name) == []


def test_a_command_that_is_interrupted(make_split: MakeSplit) -> None:
    """Ctrl-C while the process comes up: KeyboardInterrupt takes it down on the way out."""
    made = make_split(1 << 20)
    name = f"imgkit-test-interrupt-{os.getpid()}"
    running = start(made.first, name)
    wait_until(partial(is_listed, name))
    running.send_signal(signal.SIGINT)
    _, _ = running.communicate(timeout=30)
    assert left(made.first, name) == []


def test_only_the_loop_device_keeps_it(make_split: MakeSplit) -> None:
    """The command exits as it should, its device stays: so does the process, until the device goes."""
    made = make_split(1 << 20)
    name = f"imgkit-test-stays-{os.getpid()}"
    program = PROGRAM.split("while True", maxsplit=1)[0] + (
        "from imgkit.linux import loop\n"
        "info = loop.loop_get_status64(node)\n"
        "loop.loop_set_status64(node, loop.LoopInfo64(lo_flags=1, lo_file_name=b'imgkit:test'))\n"
        "print(device)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, made.first, name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    device = done.stdout.split()[-1]
    (facts,) = [facts for facts in list_exposures() if facts.name == name]
    node = os.open(device, os.O_RDONLY)
    try:
        assert os.pread(node, 8192, 4096) == made.media[4096:12288]
        assert facts.directory is None
    finally:
        os.close(node)
        clear(device)
    assert left(made.first, name) == []


def clear(device: str) -> None:
    from imgkit.linux import loop

    node = os.open(device, os.O_RDONLY)
    try:
        loop.loop_clr_fd(node)
    finally:
        os.close(node)
