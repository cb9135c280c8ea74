"""Words that reports share, for a court to read: titles of acts, sizes, coverage, what a device answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgkit.custody.verify.finding import lines_from
from imgkit.reports.values import mapping, text

if TYPE_CHECKING:
    from imgkit.custody.verify import LogFinding
    from imgkit.reports.acts import Act, Moment
    from imgkit.reports.presences import Attachment
    from imgkit.reports.view import CaseView, Coverage

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

TITLES = {
    "case.opened": "Case opened",
    "log.opened": "Log opened",
    "evidence.added": "Exhibit added",
    "evidence.hashed": "Digests computed",
    "evidence.verified": "Verified against stated digests",
    "evidence.inspected": "Inspected",
    "evidence.attached": "Attached as a read-only device",
    "evidence.detached": "Detached",
    "evidence.mounted": "Mounted read-only",
    "evidence.unmounted": "Unmounted",
    "evidence.exposed": "Shown as a file",
    "evidence.unexposed": "File taken away",
    "evidence.compared": "Compared",
    "evidence.gone": "Attachment or exposed file found gone",
    "evidence.changed": "EVIDENCE FOUND CHANGED",
    "evidence.touched": "Time stamps of evidence found changed",
    "custody.transferred": "Handed over",
    "custody.received": "Received",
    "custody.stored": "Stored",
    "custody.disposed": "Disposed of",
    "note.added": "Note",
    "enclosure.added": "File enclosed",
    "correction.added": "Correction",
    "record.reviewed": "Record reviewed",
    "tool.selftest": "Tool tested",
    "tool.changed": "Tool changed",
    "op.reconciled": "Interrupted act explained",
    "log.recovered": "Torn lines explained",
    "log.rollback_accepted": "Rollback accepted",
    "log.checkpointed": "Log checkpointed",
    "log.anchored": "Time stamp received",
    "receipt.given": "Receipt given",
    "receipt.taken": "Receipt taken",
    "case.exported": "Report made",
    "case.sealed": "Case sealed",
    "case.reopened": "Case reopened",
}
# Of what a record only names: it may be withheld, or be another file than the one that was recorded.
UNSHOWN = "lies in an enclosure that is not there, or is not what the record names"
_DIGEST = re.compile(r"[0-9a-f]{32,128}\Z")
# What a device answered when it was asked whether anything can be written to it.
_PROOF = {
    "read_only": "read-only",
    "blkroget": "BLKROGET",
    "lo_flags": "loop flags",
    "sysfs_ro": "sysfs read-only",
    "offset": "offset",
    "sizelimit": "size limit",
    "block_size": "block size",
    "diskseq": "disk sequence",
    "sectors_written": "sectors written",
    "sectors_discarded": "sectors discarded",
}
_GUARDS = {
    "lease": "a read lease: nobody had its files open for writing, and whoever wanted to had to wait",
    "none": "none: nothing kept others from writing to its files",
}
# Only what a look at the files can tell: nothing is read for it.
_COMPARED = {
    "unchanged": "its files have the size, times and inode that they had before; nothing was hashed",
    "differences found": "DIFFERENCES FOUND",
    "not compared": "not compared with what it was before",
}


def title(act: Act) -> str:
    """What was done, in a few words."""
    if act.type == "evidence.inspected":
        what = {"container": "Container inspected", "partitions": "Partition table read"}
        return what.get(text(act.data.get("what")), f"Inspected for {text(act.data.get('what'))}")
    if act.type == "evidence.hashed" and not mapping(act.data.get("digests")):
        return "Read for its digests"  # it failed, is not ended, or met what cannot be read
    return TITLES.get(act.type, act.type)


def human(size: int | None) -> str:
    """`67,108,864 bytes (64.0 MiB)`."""
    if size is None:
        return "size unknown"
    return f"{size:,} bytes" + (f" ({short(size)})" if size >= 1024 else "")  # noqa: PLR2004  (the step of binary units)


def short(size: int) -> str:
    """`64.0 MiB`."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(UNITS) - 1:  # noqa: PLR2004  (the step of binary units)
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


def part(of: str) -> str:
    """`media`, `partition 1`, `segment 0`."""
    name, colon, which = of.partition(":")
    return f"{name} {which}" if colon else name


def stamp(moment: Moment | None) -> str:
    """`2026-05-01 12:34:56 UTC (+02:00)`, or nothing."""
    if moment is None:
        return ""
    return str(moment)


def severity_rank(found: LogFinding) -> int:
    """Order of findings for people: failures first."""
    return {"FAIL": 0, "WARN": 1, "INFO": 2}.get(str(found.severity), 3)


def covered(one: Coverage) -> str:
    """What stands behind a range of lines, and what does not, in one sentence."""
    said = [f"signed by {one.signed_by}" if one.signed_by else "not signed"]
    said.append(f"time stamp {one.stamped}" if one.stamped else "no time stamp")
    said.append(f"receipt {one.receipts}" if one.receipts else "no receipt")
    said += ["remembered by the host that made this report"] if one.memory else []
    return f"{lines_from(one.first, one.last)}: {'; '.join(said)}"


def outside(case: CaseView) -> str:
    """What the log's own order cannot show: whoever holds a log can write another that is in order, too."""
    last, lines = case.vouched, case.lines
    if not last:
        alone = "nothing here shows that the log was not written anew as a whole"
        if any(one.memory for one in case.coverage):
            alone = "that the log was not written anew as a whole, only the memory of the host that made this report shows"
        return f"No trusted signature, trusted time stamp or receipt covers any line: {alone}."
    rest = f"; nothing of the kind covers {lines_from(last + 1, lines)}" if last < lines else ""
    return f"A trusted signature, a trusted time stamp or a receipt held by others covers {lines_from(1, last)}{rest}."


def proof(shown: Attachment) -> str:
    """What a device answered when it was asked whether it can be written to; empty of what was not asked."""
    known = dict(shown.read_only)
    return "; ".join(f"{name} {known[key]}" for key, name in _PROOF.items() if key in known)


def compared(shown: Attachment) -> str:
    """What a look at its files found when it was taken down; empty where nobody looked."""
    return _COMPARED.get(shown.compared, shown.compared)


def guard(shown: Attachment) -> str:
    """What kept others from writing to its files meanwhile."""
    return _GUARDS.get(shown.guard, shown.guard)


def is_digest(value: str) -> bool:
    """Whether it is to be shown as one: in one piece, or in groups of its own."""
    return _DIGEST.match(value) is not None
