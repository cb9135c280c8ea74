"""Images of other projects: each stored in a format is refused by its name, each raw one is opened as it lies."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.errors import UnknownFormat

if TYPE_CHECKING:
    from pathlib import Path

# `container` of the index (before `>`: what the file itself is) -> the name in our error.
NAMES = {
    "xz": "xz",
    "tar.xz": "xz",
    "gz": "gzip",
    "tar.gz": "gzip",
    "tgz": "gzip",
    "bz2": "bzip2",
    "zip": "zip",
    "udif": "DMG (UDIF)",
    "ewf1": "E01 (EWF)",
    "ewf2": "Ex01 (EWF 2)",
    "vhd": "VHD",
    "aff4": "AFF4",
    "vmdk": "VMDK",
    "vmdk-desc": "VMDK descriptor",
    "qcow2": "qcow2",
    "qcow3": "qcow2",
    "sparseimage": "sparse image (macOS)",
    "vdi": "VDI",
}
# Where the index, made by other means, says something else than the bytes do.
BYTES_SAY = {
    "SecurityRonin__4n6mount/data__ad1.ad1": "AD1 (AccessData logical image)",
    "file__file-tests/img__initrd1.img": "lzma",
    "msuhanov__dfir_ntfs/mbr-win-512.raw.tgz": "tar",
}
RAW = {"raw", "?"}  # ?: the empty file


@pytest.mark.corpus
def test_every_file_of_the_corpus(corpus: Path) -> None:
    entries = [json.loads(line) for line in (corpus / "index.jsonl").read_text().splitlines()]
    assert len(entries) > 380
    wrong = [problem for entry in entries if (problem := problem_with(corpus, entry))]
    assert wrong == []


def problem_with(corpus: Path, entry: dict[str, Any]) -> str | None:
    path = corpus / "images" / entry["file"]
    stored_as = entry["container"].split(">")[0]
    expected = BYTES_SAY.get(entry["file"], None if stored_as in RAW else NAMES[stored_as])
    try:
        with open_image(path) as image:
            digest = hashlib.sha256(image.read_at(0, image.size)).hexdigest()
    except UnknownFormat as error:
        fits = expected is not None and error.message.startswith(f"{path} is {expected}, which")
        return None if fits and error.hint else f"{entry['file']} ({entry['container']}): {error}"
    return None if expected is None and digest == entry["sha256"] else f"{entry['file']}: read as raw"
