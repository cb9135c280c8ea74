"""What a guest is given and what it must answer: shared by the tests of both kernels."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.kernels import guest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

NAMES = ("one.txt", "sub/big.bin", "sub/Übung größe.txt")
EMPTY = 16 << 20


def make_tree(folder: Path) -> dict[str, str]:
    """A few files, one name outside ASCII; relative path -> sha256."""
    digests = {}
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * (1 + 9000 * (number == 1)))
        digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def make_empty(path: Path, argv: Sequence[str], *, size: int = EMPTY) -> Path:
    """A file with the file system that `argv` makes in it (the path is its last argument)."""
    with path.open("xb") as file:
        file.truncate(size)
    subprocess.run([*argv, str(path)], check=True, capture_output=True)
    return path


def facts(path: Path) -> tuple[str, int, int, int]:
    """Digest, size, mtime and ctime. Not atime: the guest's host file system reads without O_NOATIME."""
    seen = path.stat()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def examine(
    run: Callable[..., guest.Ran], jobs: Mapping[str, Path], tree: Path, modules: Sequence[str]
) -> dict[str, Any]:
    """Lets a guest examine every image; the images on this host must come out as they went in."""
    before = {name: facts(path) for name, path in jobs.items()}
    arguments = [f"{name}=/host{path}" for name, path in jobs.items()]
    command = [guest.python_of_host(), "tests/kernels/inside.py", f"/host{tree}", *arguments]
    ran = run(command, modules=modules)
    assert ran.status == 0, ran.console
    assert {name: facts(path) for name, path in jobs.items()} == before
    line = next(line for line in ran.output.splitlines() if line.startswith("ANSWER "))
    answer: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
    answer["seconds"] = ran.seconds
    return answer


def check_unchanged(seen: Mapping[str, Any]) -> None:
    """Every field of stat, the atime too, and the content are equal; the device showed all of it; nothing is left."""
    assert seen["after"] == seen["before"]
    assert seen["device_sha256"] == seen["before"]["sha256"]
    assert seen["loops"] == []


def check_mounted(seen: Mapping[str, Any], driver: str) -> None:
    """Mounted by that driver, read-only and harmless, and listed while it was."""
    assert "error" not in seen, seen["error"]
    assert seen["mount"]["filesystem"] == driver
    assert {"ro", "nosuid", "nodev", "noexec", "nosymfollow"} <= set(seen["mount"]["options"])
    assert len(seen["listed"]) == 1
