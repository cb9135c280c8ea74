"""Sets of hundreds of segments and of 20 TB: few descriptors, little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.ewf_sparse import write_sparse_ewf
from tests.containers.ewf_writer import Recipe, write_ewf
from tests.containers.sets import media

ROOT = Path(__file__).parents[3]


def report(code: str, path: Path) -> dict[str, int]:
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
    answer: dict[str, int] = json.loads(done.stdout)
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
    paths = write_sparse_ewf(tmp_path, size, segments)
    found = report(HUGE, paths[-1])
    assert (found["size"], found["segments"]) == (size, segments)
    assert found["chunks"] == -(-size // 32768)
    assert found["grown"] < 32 << 10  # KiB
