"""What others read from a VMDK: qemu-img and libvmdk."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import open_evidence
from tests.containers.file_object import FileObject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def run(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def convert(source: Path, target: Path, *options: str) -> Path:
    """Write a VMDK with qemu-img."""
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", *options, source, target)
    return target


def as_raw(path: Path, scratch: Path) -> bytes:
    """The media as qemu-img converts it."""
    out = scratch / "as.raw"
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, out)
    content = out.read_bytes()
    out.unlink()
    return content


def by_libvmdk(path: Path, extents: Sequence[Path]) -> bytes:
    """The media as libvmdk reads it."""
    import pyvmdk  # type: ignore[import-not-found]

    files = [open_evidence(str(item)) for item in (path, *extents)]
    handle = pyvmdk.handle()
    handle.open_file_object(FileObject(files[0]))
    handle.open_extent_data_files_as_file_objects([FileObject(file) for file in files[1:]])
    content: bytes = handle.read_buffer_at_offset(handle.get_media_size(), 0)
    handle.close()
    for file in files:
        file.close()
    return content
