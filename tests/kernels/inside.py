"""Runs in a guest: attaches and mounts images with imgkit itself and prints, as one JSON line, what it saw.

usage: inside.py TREE TYPE[:fill|:dirty]=IMAGE ...

IMAGE and TREE lie below /host. Each image is copied to the guest's memory, where every stat field is exact. `fill`
copies TREE into it first with the guest's own driver; `dirty` does that too and takes the image while it is mounted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from imgkit.attachment import attach
from imgkit.containers import open_image
from imgkit.errors import ImgkitError
from imgkit.filesystems.mount_options import FILESYSTEMS
from imgkit.mounting import list_mounts, mount, unmount

MEMORY = Path("/dev/shm")


def facts(path: Path) -> dict[str, Any]:
    """What an examination must not change, read without touching the access time."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    with open(fd, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        seen = os.fstat(file.fileno())
    return {
        "sha256": digest,
        "size": seen.st_size,
        "mtime": seen.st_mtime_ns,
        "ctime": seen.st_ctime_ns,
        "atime": seen.st_atime_ns,
    }


def files_below(folder: str) -> dict[str, str]:
    """Relative path -> sha256 of every regular file."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            found[os.path.relpath(path, folder)] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found


def fill(image: Path, kind: str, tree: str, *, dirty: bool) -> None:
    """Writes TREE into the file system; `dirty` keeps the image as it was while mounted."""
    folder = MEMORY / "filling"
    folder.mkdir()
    row = FILESYSTEMS[kind]
    options = ",".join(("loop", *row.always))
    subprocess.run(["mount", "-o", options, "-t", row.drivers[0], image, folder], check=True)
    try:
        subprocess.run(["cp", "-r", f"{tree}/.", folder], check=True)
        os.sync()
        if dirty:
            shutil.copyfile(image, MEMORY / "dirty")
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()
    if dirty:
        (MEMORY / "dirty").replace(image)


def examine(kind: str, image: Path) -> dict[str, Any]:
    """The whole way on one image."""
    seen: dict[str, Any] = {"before": facts(image)}
    with open_image(str(image)) as media, attach(media) as device:
        seen["device_sha256"] = hashlib.sha256(Path(device.attachment.device).read_bytes()).hexdigest()
        try:
            shown = mount(device.attachment, f"/run/imgkit/{image.name}", filesystem=kind)
        except ImgkitError as error:
            seen["error"] = {"kind": error.kind, "message": error.message, "hint": error.hint}
        else:
            seen["mount"] = {
                "filesystem": shown.filesystem,
                "options": shown.options,
                "view": shown.view,
                "journal": shown.journal,
                "notices": shown.notices,
            }
            seen["listed"] = [found.target for found in list_mounts([device.attachment])]
            seen["files"] = files_below(shown.target)
            unmount(shown.target)
    seen["after"] = facts(image)
    seen["loops"] = [str(path) for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return seen


def main() -> None:
    """Prints {"kernel": …, NAME: {…}}; NAME is TYPE or TYPE:WHAT as given."""
    tree, *jobs = sys.argv[1:]
    answer: dict[str, Any] = {"kernel": os.uname().release}
    for job in jobs:
        name, _, path = job.partition("=")
        kind, _, what = name.partition(":")
        image = MEMORY / name.replace(":", "-")
        shutil.copyfile(path, image)
        if what:
            fill(image, kind, tree, dirty=what == "dirty")
        answer[name] = examine(kind, image)
        image.unlink()
    print("ANSWER " + json.dumps(answer), flush=True)  # noqa: T201 - the console is the way out of the guest


if __name__ == "__main__":
    main()
