"""The corpus and the tricky images, whole: every genuine table exact, no false table, a finding wherever a witness differs.

Our answer differs from none that is expected. Where the witnesses do, and who is right, is in docs/findings.md; here
only what decides two cases that look alike: an Apple map names itself with status 0 in `pt_mac` (not allocated, no
partition) and with another status in `apm_map*.bin` (a partition); of Amiga's `rigid-disk-block.img` only disktype and we
read anything.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.containers.evidence_file import open_evidence
from imgkit.containers.raw import RawImage
from imgkit.errors import UnknownFormat
from imgkit.partitions import read_partition_table
from tests.partitions.disks import codes, extents, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.image import Image
    from imgkit.partitions import PartitionTable

GENUINE = 36
SCHEMES = {"mac": "apple"}
# container -> what can be unpacked without a reader of our own; ewf2, aff4, udif wait for theirs.
UNPACKED = ("raw", "gz>", "xz>", "bz2>", "zip>", "tar", "tgz>raw", "ewf1", "qcow", "vhd", "vmdk", "vdi")


def read(path: Path) -> PartitionTable:
    """Our answer, with proof that reading left the image as it was."""
    before = os.stat(path)
    with opened(path) as image:
        table = read_partition_table(image)
        assert tiles(table, image.size)
    after = os.stat(path)
    assert (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_atime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_atime_ns,
    )
    return table


def opened(path: Path) -> Image:
    """Some raw media of the corpus look like a container to open_image: here they are what they are."""
    try:
        return open_image(path)
    except UnknownFormat:
        return RawImage(open_evidence(os.fspath(path)))


def tiles(table: PartitionTable, size: int) -> bool:
    """Gaps and partitions, clipped to the media, cover it, and gaps touch no partition."""
    rows = [row.extent.clipped_to(size) for row in table.partitions]
    covered = 0
    for extent in sorted([*rows, *table.gaps]):
        if extent.offset > covered:
            return False
        covered = max(covered, extent.end)
    return covered == size and not any(gap.overlaps(row) for gap in table.gaps for row in rows)


def differing(name: str, table: PartitionTable, expected: list[dict[str, Any]]) -> list[str]:
    wanted = sorted((row["offset"], row["length"]) for row in expected)
    found = extents(table.partitions)
    return [] if found == wanted else [f"{name}: {table.scheme} {found[:4]}, expected {wanted[:4]}"]


@pytest.mark.corpus
@pytest.mark.xdist_group("tricky")
def test_every_tricky_image(tricky: Path, tricky_expected: dict[str, list[dict[str, Any]]]) -> None:
    wrong = []
    for name, expected in tricky_expected.items():
        wrong += differing(name, read(tricky / name), expected)
    assert wrong == []
    assert len(tricky_expected) == 76


@pytest.mark.corpus
@pytest.mark.xdist_group("tricky")
def test_what_nobody_reads_is_named(tricky: Path) -> None:
    assert codes(read(tricky / "pt_pc98.img")) >= {"table.unread", "table.none"}
    amiga = read(tricky / "pt_amiga.img")
    assert "amiga.rigid-disk-block" in codes(amiga)
    assert extents(amiga.partitions) == [(2 << 20, 18 << 20)]


@pytest.mark.corpus
def test_every_disk_of_the_corpus(corpus: Path, corpus_index: list[dict[str, Any]], tmp_path: Path) -> None:
    wrong: list[str] = []
    genuine = without = 0
    for entry in corpus_index:
        for disk in entry["expected"] or []:
            if disk.get("partitions") is None or not entry["container"].startswith(UNPACKED):
                continue
            target = tmp_path / "disk.raw"
            target.unlink(missing_ok=True)
            if not unpack(entry, disk["member"], corpus / "images" / entry["file"], target):
                assert not disk["partitions"], f"{entry['file']} has a table and could not be unpacked"
                continue
            table = read(target)
            wrong += differing(entry["file"], table, disk["partitions"])
            scheme = SCHEMES.get(disk["scheme"], disk["scheme"])
            if scheme is not None and table.scheme != scheme:
                wrong.append(f"{entry['file']}: {table.scheme}, expected {scheme}")
            genuine += bool(disk["partitions"])
            without += not disk["partitions"]
    assert wrong == []
    assert genuine == GENUINE
    assert without >= 290


@pytest.mark.corpus
@pytest.mark.xdist_group("tricky")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gpt_corrupt_primary_hdr.img", "gpt.header-crc"),
        ("gpt_corrupt_entries_crc.img", "gpt.array-crc"),
        ("gpt_corrupt_entries_crc.img", "gpt.backup-used"),
        ("gpt_corrupt_entries_crc.img", "witness.tsk-differs"),
        ("gpt_corrupt_backup.img", "gpt.backup-missing"),
        ("gpt_zero_primary.img", "gpt.primary-missing"),
        ("gpt_zero_primary_and_mbr.img", "gpt.no-protective-mbr"),
        ("gpt_zero_primary_and_mbr.img", "witness.blkid-differs"),
        ("gpt_enlarged.img", "gpt.backup-misplaced"),
        ("gpt_truncated.img", "media.truncated"),
        ("gpt_truncated_mid_p2.img", "table.beyond-end"),
        ("gpt_primary_vs_backup_differ.img", "gpt.backup-differs"),
        ("gpt_hybrid.img", "gpt.hybrid-mbr"),
        ("gpt_mbr_overwritten.img", "gpt.no-protective-mbr"),
        ("gpt_under_plain_mbr.img", "gpt.under-dos"),
        ("pmbr_only.img", "gpt.missing"),
        ("gpt_4096.img", "sector-size.guessed"),
        ("gpt_overlap.img", "table.overlap"),
        ("gpt_reversed_lba.img", "gpt.row-reversed"),
        ("gpt_huge_lba.img", "gpt.row-absurd"),
        ("mbr_overlap.img", "table.overlap"),
        ("mbr_p1_beyond_end.img", "witness.tsk-differs"),
        ("mbr_p3_beyond_end.img", "table.beyond-end"),
        ("mbr_bad_bootflag.img", "dos.boot-flag"),
        ("mbr_type0_nonzero_size.img", "dos.type-zero"),
        ("mbr_ext_loop_self.img", "dos.ebr-loop"),
        ("mbr_ext_loop_back.img", "dos.ebr-loop"),
        ("mbr_ext_points_to_mbr.img", "dos.ebr-loop"),
        ("mbr_ext_empty.img", "dos.ebr-signature"),
        ("mbr_ext_bad_ebr_sig.img", "dos.ebr-signature"),
        ("mbr_two_extended.img", "dos.several-extended"),
        ("mbr_logical_outside_ext.img", "dos.logical-outside"),
        ("mbr_hidden_types.img", "dos.hidden-type"),
        ("mbr_4kn.img", "sector-size.guessed"),
        ("mbr_multisector_odd.img", "media.odd-size"),
        ("not_multiple.img", "media.odd-size"),
        ("ext4_plus_stale_mbr.img", "table.filesystem-at-0"),
        ("sf_fat32_partlike.img", "dos.boot-sector"),
        ("empty.img", "table.none"),
        ("zeros.img", "table.none"),
    ],
)
def test_finding(tricky: Path, name: str, code: str) -> None:
    table = read(tricky / name)
    assert code in codes(table)
    assert all(len(finding.message) < 1000 for finding in table.findings)


@pytest.mark.corpus
@pytest.mark.xdist_group("tricky")
@pytest.mark.parametrize(
    "name", ["gpt_ok.img", "mbr_4primary.img", "mbr_60_logicals.img", "pt_sun.img", "mbr_unsorted.img"]
)
def test_a_sound_disk_has_no_finding(tricky: Path, name: str) -> None:
    assert read(tricky / name).findings == ()


@pytest.mark.corpus
@pytest.mark.xdist_group("tricky")
def test_numbers_are_those_of_linux(tricky: Path) -> None:
    assert [row.number for row in read(tricky / "gpt_ok.img").partitions] == [1, 2, 5]
    assert [row.number for row in read(tricky / "mbr_unsorted.img").partitions] == [1, 2, 4]
    assert [row.number for row in read(tricky / "mbr_two_extended.img").partitions] == [5, 6]
    assert [row.number for row in read(tricky / "mbr_200_logicals.img").partitions] == [1, *range(5, 205)]
    assert [row.number for row in read(tricky / "pt_mac.img").partitions] == [2]
    assert [row.number for row in read(tricky / "pt_dvh.img").partitions] == [1]
    assert [row.number for row in read(tricky / "gpt_1024_entries.img").partitions] == [1, 1001]
