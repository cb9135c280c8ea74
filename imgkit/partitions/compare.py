"""Two readers side by side: a disagreement is a finding that names the witness and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imgkit.partitions.table import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.partitions.table import Partition, Reading

_LIMIT_NAMED: Final = 4  # rows named in one message


def compare(code: str, scheme: str, partitions: Sequence[Partition], witness: Reading) -> Iterator[Finding]:
    """Yield one finding where the witness sees another scheme or other extents, nothing where it agrees.

    Args:
        code: `witness.tsk-differs` or `witness.blkid-differs`.
        scheme: What we read.
        partitions: What we read.
        witness: What the other reader makes of the same media.
    """
    ours = {(row.extent.offset, row.extent.length) for row in partitions}
    theirs = {(row.extent.offset, row.extent.length) for row in witness.partitions}
    if ours == theirs and (scheme == witness.scheme or not ours):
        return
    yield Finding(code, "warning", f"{witness.reader} {_says(witness, scheme, ours, theirs)}")


def _says(witness: Reading, scheme: str, ours: set[tuple[int, int]], theirs: set[tuple[int, int]]) -> str:
    """What the witness says against what we read."""
    if witness.scheme == "none":
        why = f" ({witness.refusal})" if witness.refusal else ""
        return f"reads no partition table{why}; imgkit reads {scheme} with {_count(ours)}"
    head = f"reads {witness.scheme} with {_count(theirs)}"
    against = "no table" if scheme == "none" else f"{scheme} with {_count(ours)}"
    parts = [f"{head}; imgkit reads {against}"]
    if theirs - ours:
        parts.append(f"only the witness has {_rows(theirs - ours)}")
    if ours - theirs:
        parts.append(f"only imgkit has {_rows(ours - theirs)}")
    return "; ".join(parts)


def _count(rows: set[tuple[int, int]]) -> str:
    return f"{len(rows)} partition{'' if len(rows) == 1 else 's'}"


def _rows(rows: set[tuple[int, int]]) -> str:
    """Offsets and lengths in bytes, the first few."""
    named = [f"{length} bytes at {offset}" for offset, length in sorted(rows)[:_LIMIT_NAMED]]
    more = f" and {len(rows) - _LIMIT_NAMED} more" if len(rows) > _LIMIT_NAMED else ""
    return ", ".join(named) + more
