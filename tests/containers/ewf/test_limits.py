"""Sets of hundreds of segments and of 20 TB: few descriptors, little memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.containers import ewf_sparse
from tests.containers.ewf_writer import DESCRIPTOR, Recipe, checked, descriptor, write_ewf
from tests.containers.sets import media

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


def report(code: str, path: Path) -> dict[str, float]:
    """Run `code` with `path` in a process of its own; what it leaves in `found`."""
    lead = "import json, os, resource, sys\nfrom imgkit.containers import open_image\npath, found = sys.argv[1], {}\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{lead}{code}\nprint(json.dumps(found))", str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


MANY = """
import hashlib, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
def look(image, digests):
    most = 0
    total = hashlib.md5()
    for at in range(0, image.size, 65536):
        total.update(image.read_at(at, 65536))
        most = max(most, len(os.listdir("/proc/self/fd")))
    digests.append(total.hexdigest())
    found["most"] = max(found.get("most", 0), most)
with open_image(path) as image:
    digests = []
    threads = [threading.Thread(target=look, args=(image, digests)) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    found["segments"] = len(image.segments)
    found["agree"] = int(len(digests) == 4 and {str(d) for d in image.stored_digests} == {"md5:" + d for d in digests})
found["left"] = len(os.listdir("/proc/self/fd"))
"""


def test_700_segments_with_64_descriptors_read_by_four_threads(tmp_path: Path) -> None:
    recipe = Recipe(sectors_per_chunk=4, chunks_per_segment=2, store=("zlib1", "stored"))
    layout = write_ewf(tmp_path, media(1400 * 2048 - 512), recipe)
    assert layout.paths[-1].name == "disk.EXC"
    found = report(MANY, layout.paths[350])
    assert found["segments"] == 700
    assert found["agree"]
    assert found["most"] <= 48
    assert found["left"] <= 6


HUGE = """
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_image(path) as image:
    found["size"], found["segments"] = image.size, len(image.segments)
    found["chunks"] = image.metadata["container"]["chunk_count"]
found["grown"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
"""


@pytest.mark.parametrize("segments", [1, 60])
def test_a_set_of_20_tb_is_opened_in_little_memory(tmp_path: Path, segments: int) -> None:
    size = 20 * 10**12 if segments > 1 else 10**12
    paths = ewf_sparse.write_sparse_ewf(tmp_path, size, segments)
    found = report(HUGE, paths[-1])
    assert (found["size"], found["segments"]) == (size, segments)
    assert found["chunks"] == -(-size // 32768)
    assert found["grown"] < 32 << 10  # KiB


HOSTILE = """
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_image(path) as image:
    image.read_at(0, image.size)
    found["text"] = len(json.dumps([dict(image.metadata), image.anomalies]))
found["grown"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
"""


def header_bomb(number: int) -> tuple[str, bytes]:
    return "header", zlib.compress(b"1\nmain\nc\n%d" % number + bytes(1 << 20), 1)


def errors(_number: int) -> tuple[str, bytes]:
    count = 60_000
    return "error2", checked(struct.pack("<I512x", count)) + checked(bytes(8 * count))


def sessions(_number: int) -> tuple[str, bytes]:
    return "session", checked(struct.pack("<I28x", 30_000)) + checked(bytes(32 * 30_000))


def unheard_of(number: int) -> tuple[str, bytes]:
    return f"x{number}", b""


@pytest.mark.parametrize(
    ("section", "count"), [(header_bomb, 200), (errors, 40), (sessions, 20), (unheard_of, 20_000)]
)
def test_sections_without_end_take_little_memory(
    tmp_path: Path, section: Callable[[int], tuple[str, bytes]], count: int
) -> None:
    layout = write_ewf(tmp_path, media(100_000 // 512 * 512), Recipe())
    data = bytearray(layout.paths[0].read_bytes()[: layout.find("done").offset])
    for kind, payload in map(section, range(count)):
        size = DESCRIPTOR + len(payload)
        data += descriptor(kind, len(data) + size, size) + payload
    layout.paths[0].write_bytes(data + descriptor("done", len(data), DESCRIPTOR))
    found = report(HOSTILE, layout.paths[0])
    assert found["grown"] < 96 << 10  # KiB
    assert found["text"] < 8 << 20


LATE = """
import time
from imgkit.errors import CorruptMedia
with open_image(path) as image:
    start = time.process_time()
    try:
        image.read_at(image.size - 512, 512)
    except CorruptMedia as error:
        found["named"] = error.ranges[0][1]
    found["seconds"] = time.process_time() - start
"""


def test_a_table_of_67_million_holes_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that are no offsets end the check where they are seen: a hole of 16 GB costs its maker nothing."""
    monkeypatch.setattr(ewf_sparse, "_CHUNKS_PER_TABLE", 1 << 26)
    paths = ewf_sparse.write_sparse_ewf(tmp_path, 32768 << 26, 1)
    found = report(LATE, paths[0])
    assert found["named"] == 512
    assert found["seconds"] < 1
