"""Reference counts, read for one thing only: how far the file has to go. Which cluster is whose, the other tables say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.qcow2.header import read_exactly

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.qcow2.header import Header

_OFFSET = ~0x1FF  # bits 9-63 of an entry of the refcount table


def last_used(file: EvidenceFile, header: Header) -> int:
    """Where the last cluster starts that has a reference; what counts it may lie beyond the end of the file itself.

    A program that was ended while it grew the file leaves a count for a cluster that was never written: a place beyond
    the end is a reason to look, not yet a loss.
    """
    size = header.cluster_size
    length = min(header.refcount_table_clusters * size, file.stat.st_size - header.refcount_table_offset)
    table = read_exactly(file, header.refcount_table_offset, length // 8 * 8).rstrip(b"\0")
    if not table:
        return 0
    index = (len(table) - 1) // 8
    block = int.from_bytes(table[index * 8 : index * 8 + 8].ljust(8, b"\0"), "big") & _OFFSET
    if block + size > file.stat.st_size:
        return block
    inside = _last_count(read_exactly(file, block, size), 1 << header.refcount_order)
    return index * (size * 8 >> header.refcount_order) + inside << header.cluster_bits


def _last_count(block: bytes, bits: int) -> int:
    """The index of the last count of a refcount block that is not zero, 0 where all are."""
    used = block.rstrip(b"\0")
    if not used:
        return 0
    if bits >= 8:
        return (len(used) - 1) // (bits // 8)
    return (len(used) - 1) * (8 // bits) + (
        used[-1].bit_length() - 1
    ) // bits  # the first count is in the low bits
