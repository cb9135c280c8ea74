"""Every container through the process that serves: byte for byte, and no reader needs a file or a module it cannot have."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.expose import expose_detached
from tests.conftest import ROOT, need
from tests.expose.conftest import bind_loop, read_all, state

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

SIZE = (6 << 20) + 512


def media() -> bytes:
    """Some of it compresses, some does not, some is a hole."""
    chance = random.Random(6)
    text = b" ".join(chance.choices([b"evidence", b"exhibit", b"media", b"segment"], k=1 << 18))[: 2 << 20]
    return (chance.randbytes(2 << 20) + text + bytes(SIZE))[:SIZE]


def convert(raw: Path, *words: str, suffix: str) -> Path:
    need(shutil.which("qemu-img") is not None, "needs qemu-img")
    made = raw.with_suffix(suffix)
    subprocess.run(["qemu-img", "convert", "-f", "raw", *words, raw, made], check=True, capture_output=True)
    return made


def e01(raw: Path, *words: str) -> Path:
    need(shutil.which("ewfacquire") is not None, "needs ewfacquire")
    target = raw.with_suffix("")
    subprocess.run(
        ["ewfacquire", "-u", "-q", "-t", target, "-f", "encase6", *words, raw],
        check=True,
        capture_output=True,
    )
    return target.with_suffix(".E01")


def qcow2_chain(raw: Path) -> Path:
    """A file that builds upon another."""
    base = convert(raw, "-O", "qcow2", suffix=".base")
    top = raw.with_suffix(".qcow2")
    subprocess.run(
        ["qemu-img", "create", "-f", "qcow2", "-F", "qcow2", "-b", base.name, top],
        check=True,
        capture_output=True,
    )
    return top


KINDS: dict[str, Callable[[Path], Path]] = {
    "e01": lambda raw: e01(raw, "-c", "fast"),
    "e01 in many segments": lambda raw: e01(raw, "-c", "none", "-S", "1M"),
    "qcow2": lambda raw: convert(raw, "-O", "qcow2", "-c", suffix=".qcow2"),
    "qcow2 chain": qcow2_chain,
    "vmdk": lambda raw: convert(raw, "-O", "vmdk", suffix=".vmdk"),
    "vmdk stream": lambda raw: convert(raw, "-O", "vmdk", "-o", "subformat=streamOptimized", suffix=".vmdk"),
    "vmdk extents": lambda raw: convert(raw, "-O", "vmdk", "-o", "subformat=monolithicFlat", suffix=".vmdk"),
    "vhd": lambda raw: convert(raw, "-O", "vpc", "-o", "force_size=on", suffix=".vhd"),
    "vhdx": lambda raw: convert(raw, "-O", "vhdx", suffix=".vhdx"),
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(media())
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_byte_for_byte(raw: Path, kind: str) -> None:
    first = KINDS[kind](raw)
    with open_image(first) as image, expose_detached(image, name="imgkit-test-format") as exposure:
        files = [Path(item.path) for item in image.segments]
        before = [state(path) for path in files]
        assert read_all(exposure.fileno(), image.size).ljust(SIZE, b"\0")[:SIZE] == raw.read_bytes()
        assert exposure.facts.guard == "lease"
        node, _ = bind_loop(exposure.fileno())
        try:
            whole = image.size - image.size % 512
            assert read_all(node, whole)[:SIZE] == raw.read_bytes()[:whole]
        finally:
            os.close(node)
        assert [state(path) for path in files] == before


# The very steps of the process that serves, then every read there is; what comes of it is told by the kind of exception.
INSIDE = """
import json, sys
from collections import Counter
sys.path[:] = json.loads(sys.argv[2])
from imgkit.errors import MediaReadError
from imgkit.expose import serving
from imgkit.expose.read_ahead import ReadAhead
setup = json.loads(sys.argv[1])
image = serving._open(setup)
ahead, kinds = ReadAhead(image), Counter()
for step in (4096, 1 << 20):
    for offset in range(0, image.size, step):
        try:
            ahead.read(offset, step)
            kinds["read"] += 1
        except BaseException as error:
            kinds[type(error).__name__ if not isinstance(error, MediaReadError) else "MediaReadError"] += 1
print(json.dumps(kinds))
sys.stdout.flush()
import os
os._exit(0)
"""


def kinds_of_reads(first: Path) -> dict[str, int]:
    with open_image(first) as image:
        setup = {
            "path": str(first),
            "sector_size": None,
            "identity": None,
            "readers": sorted(name for name in sys.modules if name.startswith("imgkit.containers")),
            "files": [item.path for item in image.segments],
        }
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, json.dumps(setup), json.dumps([str(ROOT), *sys.path])],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, int] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_a_read_error_and_nothing_else(raw: Path, kind: str) -> None:
    """Whatever a reader does on the way to its error, it does within what it may: no module, no file, no network."""
    first = KINDS[kind](raw)
    with open_image(first) as image:
        largest = max((Path(item.path) for item in image.segments), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    chance = random.Random(len(kind))
    for _ in range(40):
        content[chance.randrange(len(content) // 8, len(content) * 7 // 8)] ^= 0x55
    largest.write_bytes(content)
    told = kinds_of_reads(first)
    assert set(told) <= {"read", "MediaReadError"}
    if kind.startswith("e01"):
        assert told["MediaReadError"] > 0
        assert told["read"] > 0
