"""Many at once, and death at any moment: every device is its own, and none is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import detach, list_attachments
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.attachment import Attachment

    MakeImage = Callable[[int], Path]

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

ATTACHER = """
import os, sys
from imgkit.attachment import attach
from imgkit.containers import open_image
image = open_image(sys.argv[1])
sys.stdin.readline()
with attach(image, label=sys.argv[2]) as device:
    same = os.pread(device.fileno(), 4096, 0) == image.read_at(0, 4096)
    print(device.attachment.number, device.attachment.diskseq, same, flush=True)
    sys.stdin.readline()
"""
KEEPER = """
import sys
from imgkit.attachment import attach
from imgkit.containers import open_image
image = open_image(sys.argv[1])
while True:
    device = attach(image, label=sys.argv[2])
    print("attached", flush=True)
    device.keep()
    print("kept", flush=True)
    device.detach()
    print("detached", flush=True)
"""


def labelled(label: str) -> list[Attachment]:
    return [found for found in list_attachments() if found.label.startswith(label)]


def start(program: str, path: Path, label: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(path), label]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_fifty_at_once(make_image: MakeImage) -> None:
    path, label = make_image(64 << 10), f"imgkit:test-fifty-{os.getpid()}"
    processes = [start(ATTACHER, path, f"{label}:{n}") for n in range(50)]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        lines = [process.stdout.readline().split() for process in processes if process.stdout is not None]
        assert [line[2:] for line in lines] == [["True"]] * 50
        assert len({line[0] for line in lines}) == 50
        assert len({line[1] for line in lines}) == 50
        assert len(labelled(label)) == 50
    finally:
        for process in processes:
            process.communicate("stop\n")
    assert [process.returncode for process in processes] == [0] * 50
    assert not labelled(label)


def test_killed_before_it_was_kept_leaves_nothing(make_image: MakeImage) -> None:
    path, label = make_image(64 << 10), f"imgkit:test-kill-{os.getpid()}"
    process = start(ATTACHER, path, label)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    process.stdout.readline()
    assert len(labelled(label)) == 1
    process.kill()
    process.communicate()
    wait_until(lambda: not labelled(label))


def test_kept_outlives_the_process(make_image: MakeImage) -> None:
    path, label = make_image(64 << 10), f"imgkit:test-keep-{os.getpid()}"
    process = start(KEEPER.replace("device.detach()", "sys.exit()"), path, label)
    assert process.communicate()[0].split() == ["attached", "kept"]
    (found,) = labelled(label)
    assert found.proof.staying
    assert found.guard == "lease"
    assert detach(found).proof == found.proof
    assert not labelled(label)


def test_killed_at_random_moments(make_image: MakeImage) -> None:
    """Whatever is left is listed, and detach removes it."""
    path, label = make_image(64 << 10), f"imgkit:test-random-{os.getpid()}"
    chance = random.Random(7)
    for turn in range(25):
        process = start(KEEPER, path, f"{label}:{turn}")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_for_closing(f"{label}:{turn}")
        for found in labelled(f"{label}:{turn}"):
            assert found.proof.staying
            assert found.read_only
            detach(found)
        assert not labelled(f"{label}:{turn}")


def wait_for_closing(label: str) -> None:
    """The kernel closes a killed process's descriptors a little after its parent hears of its death."""
    wait_until(lambda: all(found.proof.staying for found in labelled(label)))
