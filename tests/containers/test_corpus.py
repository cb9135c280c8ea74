"""Images of other projects: each is read as other readers read it, or refused by the name of what it is; raw as it lies."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.errors import CorruptImage, MissingSegment, UnknownFormat
from imgkit.partitions import read_partition_table
from tests.partitions.disks import extents, unpack

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


# Containers that are not whole, or not what they say: what is said of each.
REFUSED = {
    "log2timeline__dfvfs/image-differential.vhd": (CorruptImage, "fails its checksum"),
    "SecurityRonin__ewf-forensic/fuzz-crash-parse_segment-add-overflow.E01": (
        CorruptImage,
        "fails its Adler-32",
    ),
    "SecurityRonin__vmdk-forensic/mono_flat.vmdk": (MissingSegment, "needs mono_flat-flat.vmdk"),
    "SecurityRonin__vmdk-forensic/ms3-win.vmdk": (MissingSegment, "needs disk-s001.vmdk"),
    "SecurityRonin__vmdk-forensic/tw_sparse-s001.vmdk": (UnknownFormat, "is one extent of a VMDK"),
    "SecurityRonin__vmdk-forensic/tw_sparse_data.vmdk": (MissingSegment, "needs tw_sparse_data-s001.vmdk"),
    "LTRData__DiscUtils/Vhdx__Data__vhdx-log-replay.vhdx.gz": (UnknownFormat, "was not closed cleanly"),
    "ReFirmLabs__binwalk/inputs__qcow.bin": (CorruptImage, "L1 table ends at 196616"),
}
READ = {"ewf1", "vhd", "vmdk", "vmdk-desc", "qcow2", "qcow3", "gz>vhdx"}


@pytest.fixture
def corpus_index(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "index.jsonl").read_text().splitlines()]


@pytest.mark.corpus
def test_every_file_of_the_corpus(corpus: Path, corpus_index: list[dict[str, Any]]) -> None:
    entries = [entry for entry in corpus_index if entry["container"] not in READ]
    assert len(entries) == 349
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


@pytest.mark.corpus
def test_every_container_of_the_corpus(
    corpus: Path, corpus_index: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Media as other projects' readers give them, and the tables that the index expects; or the refusal that is due."""
    read = refused = 0
    for entry in corpus_index:
        if entry["container"] not in READ:
            continue
        path = corpus / "images" / entry["file"]
        if entry["container"] == "gz>vhdx":
            path = tmp_path / "disk.vhdx"
            path.write_bytes(gzip.decompress((corpus / "images" / entry["file"]).read_bytes()))
        if entry["file"] in REFUSED:
            kind, words = REFUSED[entry["file"]]
            with pytest.raises(kind, match=words) as caught:
                open_image(path)
            assert caught.value.hint, entry["file"]
            refused += 1
            continue
        if problem := differs(path, entry, corpus, tmp_path / "witness.raw"):
            pytest.fail(f"{entry['file']}: {problem}")
        read += 1
    assert (read, refused) == (30, len(REFUSED))


def differs(path: Path, entry: dict[str, Any], corpus: Path, witness: Path) -> str | None:
    witness.unlink(missing_ok=True)
    with open_image(path) as image:
        table = read_partition_table(image)
        for disk in entry["expected"] or []:
            rows = disk.get("partitions")
            if rows is not None and sorted((row["offset"], row["length"]) for row in rows) != extents(
                table.partitions
            ):
                return f"{table.scheme} {extents(table.partitions)}, expected {rows}"
        if not unpack(entry, None, corpus / "images" / entry["file"], witness):
            return "no other project's reader reads it"
        # qemu-img fills a VHD up to its geometry, or cuts it there.
        size = min(image.size, witness.stat().st_size)
        if image.format != "vhd" and image.size != witness.stat().st_size:
            return f"{image.size} bytes, {witness.stat().st_size} by another reader"
        with witness.open("rb") as file:
            for at in range(0, size, 1 << 20):
                if image.read_at(at, min(1 << 20, size - at)) != file.read(min(1 << 20, size - at)):
                    return f"other bytes from {at} on"
    return None
