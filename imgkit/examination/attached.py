"""Attached: an attachment as the examiner knows it, for records and documents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgkit.attachment import Backing
from imgkit.custody.clock import boot_id
from imgkit.custody.record import path_fields, path_of
from imgkit.examination.devices import source_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgkit.attachment import Attachment, Detached, Exposed, Proof
    from imgkit.mounting import Mount

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attached:
    """An attachment and what the examiner knows it as.

    Attributes:
        attachment: From the kernel.
        image, exhibit, partition, filesystem: As documents name them.
        counted: Sectors (written, discarded) that the node had counted before it was bound; None where nobody knows.
        mount: Where it is to be seen, or None.
    """

    attachment: Attachment
    image: Record
    exhibit: str | None
    partition: int | None = None
    filesystem: Record | None = None
    mount: Mount | None = None
    counted: tuple[int, int] | None = None


def attachment_facts(attachment: Attachment) -> Record:
    """What a record keeps of an attachment: enough to compare with at detach."""
    proof = attachment.proof
    facts: Record = {
        **_extent_facts(attachment),
        "guard": attachment.guard,
        "label": attachment.label,
        "proof": {
            **_proof_facts(proof, counters(proof)),
            "sectors_written_before": proof.sectors_written,
            "sectors_discarded_before": proof.sectors_discarded,
        },
        "backing": _backing_facts(attachment.backing),
    }
    if attachment.exposed is not None:
        facts["exposed"] = {"name": attachment.exposed.name, "pid": attachment.exposed.pid}
    if attachment.source is not None:
        facts["source"] = source_document(attachment.source)
    if attachment.notices:
        facts["notices"] = list(attachment.notices)
    return facts


def detached_facts(result: Detached, *, compared: bool) -> Record:
    """What a record keeps of how a device was just before it went, and of what lies below it now.

    Args:
        result: What detach saw.
        compared: Whether it was compared with facts of the time of attach; else nobody knows what the node had counted.
    """
    facts: Record = {
        **_extent_facts(result.attachment),
        "read_only": True,  # asked, as of every device
        "gone_before": result.gone_before,
        "guard": result.guard,
        "compared": compared,
        "sectors_written": result.writes,
        "details": list(result.changes.details),
    }
    if result.proof is not None:
        facts["proof"] = _proof_facts(result.proof, counters(result.attachment.proof) if compared else None)
    if result.changes.now is not None:
        facts["backing"] = _backing_facts(result.changes.now)
    if result.changes.source is not None:
        facts["source"] = source_document(result.changes.source)
    if result.attachment.exposed is not None:
        facts["exposed"] = exposed_document(result.attachment.exposed)
        facts["files_after"] = [_backing_facts(file) for file in result.changes.files]
    return facts


def mount_facts(mounted: Mount) -> Record:
    """What a record keeps of a mount, as mountinfo shows it."""
    return {
        **path_fields(mounted.target, key="target"),
        "driver": mounted.filesystem,
        "options": list(mounted.options),
        "view": mounted.view,
        "journal": mounted.journal,
    }


def _extent_facts(attachment: Attachment) -> Record:
    return {
        "device": attachment.device,
        "diskseq": attachment.diskseq or 0,
        "offset": attachment.extent.offset,
        "length": attachment.extent.length,
        "block_size": attachment.block_size,
        "clipped_tail": attachment.clipped_tail,
    }


def _proof_facts(proof: Proof, counted: tuple[int, int] | None) -> Record:
    """All that the kernel was asked, for a record."""
    return {
        **proof_document(proof, counted),
        "read_only": proof.read_only,
        "size": proof.size,
        "offset": proof.offset,
        "sizelimit": proof.sizelimit,
        "block_size": proof.block_size,
        "diskseq": proof.diskseq or 0,
    }


def _backing_facts(backing: Backing) -> Record:
    return {
        **path_fields(backing.path),
        "dev": str(backing.dev),
        "ino": str(backing.ino),
        "bytes": backing.size,
        "mtime": str(backing.mtime_ns),
        "ctime": str(backing.ctime_ns),
        "kind": backing.kind,
        "rdev": str(backing.rdev),
        "links": backing.links,
    }


def exposed_document(exposed: Exposed | None) -> Record | None:
    """`exposed` of documents and records: the process that serves the image; null where its own file lies below."""
    return None if exposed is None else {"pid": exposed.pid, "alive": exposed.alive}


def counters(proof: Proof) -> tuple[int, int]:
    """What the node counted when it was bound: it may have served others before."""
    return proof.sectors_written, proof.sectors_discarded


def counted_before(data: Record) -> tuple[int, int]:
    """counters() of the outcome that recorded an attach."""
    return data["proof"]["sectors_written_before"], data["proof"]["sectors_discarded_before"]


def proof_document(proof: Proof, counted: tuple[int, int] | None) -> Record:
    """`proof` as it stands in records and documents; sectors are those since the attach, None where that is not known."""
    written, discarded = counted or (None, None)
    return {
        "lo_flags": proof.lo_flags,
        "blkroget": proof.blkroget,
        "sysfs_ro": proof.sysfs_ro,
        "device": None if proof.device is None else str(proof.device),
        "inode": None if proof.inode is None else str(proof.inode),
        "sectors_written": None if written is None else proof.sectors_written - written,
        "sectors_discarded": None if discarded is None else proof.sectors_discarded - discarded,
    }


def is_told_by(attachment: Attachment, data: Mapping[str, Any], boot: str) -> bool:
    """Whether a record may tell of an attachment whose label names its line.

    A log that was put back from a copy gives its lines out again, so the label alone does not say it. LOOP_CHANGE_FD
    swaps the file and raises diskseq: that is still the attachment of the record, and a change of evidence.

    Args:
        attachment: From the kernel.
        data: Of the outcome (or only the intent) of an attach, or of the intent of a mount.
        boot: The boot id of that record.
    """
    proof = attachment.proof
    if boot != boot_id():
        return False
    if "offset" in data and "length" in data:
        shown = data["length"] - data["length"] % data.get("block_size", proof.block_size)
        if (data["offset"], shown) != (proof.offset, proof.sizelimit):
            return False
    device = data.get("device", data.get("source"))
    if device is not None:
        return bool(device == attachment.device and data.get("diskseq", 0) <= (attachment.diskseq or 0))
    files = data.get("files")
    if not isinstance(files, list) or not files or attachment.exposed is not None:
        return True
    return (files[0].get("dev"), files[0].get("ino")) == (str(proof.device), str(proof.inode))


def recorded(attachment: Attachment, data: Record, files: Sequence[Record] = ()) -> Attachment:
    """A listed attachment with the facts that its outcome recorded: what detach compares with.

    Args:
        attachment: From the kernel.
        data: Of the outcome.
        files: The files of the image as the log has them; they count where the image is exposed.
    """
    backing, proof = data["backing"], data["proof"]
    source = attachment.source
    if source is not None and "source" in data:
        stated = data["source"]
        source = replace(
            source, sectors_written=stated["sectors_written"], sectors_discarded=stated["sectors_discarded"]
        )
    return replace(
        attachment,
        guard=data["guard"],
        source=source,
        files=files_of_record(files) if backing["kind"] == "exposed" else (),
        backing=replace(
            attachment.backing,
            path=path_of(backing),
            dev=int(backing["dev"]),
            ino=int(backing["ino"]),
            size=backing["bytes"],
            mtime_ns=int(backing["mtime"]),
            ctime_ns=int(backing["ctime"]),
            kind=backing["kind"],
            rdev=int(backing["rdev"]),
            links=backing["links"],
        ),
        proof=replace(
            attachment.proof,
            device=int(proof["device"]),
            inode=int(proof["inode"]),
            sectors_written=proof["sectors_written_before"],
            sectors_discarded=proof["sectors_discarded_before"],
        ),
    )


def files_of_record(files: Sequence[Record]) -> tuple[Backing, ...]:
    """The files of an image as a record has them, to compare with."""
    return tuple(_file_of(item) for item in files)


def _file_of(item: Record) -> Backing:
    """A file as file_facts recorded it."""
    dev, ino, mtime, ctime = (int(item.get(key, 0)) for key in ("dev", "ino", "mtime", "ctime"))
    return Backing(path_of(item), dev, ino, item["bytes"], mtime, ctime, links=0)  # links: not recorded


def attachment_document(attached: Attached) -> Record:
    """An entry of `attachments` in every JSON document (docs/cli.md)."""
    attachment, mounted = attached.attachment, attached.mount
    document: Record = {
        "device": attachment.device,
        "diskseq": attachment.diskseq,
        "partition": attached.partition,
        "offset": attachment.extent.offset,
        "length": attachment.extent.length,
        "block_size": attachment.block_size,
        "clipped_tail": attachment.clipped_tail,
        "read_only": attachment.read_only,
        "guard": attachment.guard,
        "proof": proof_document(attachment.proof, attached.counted),
        "exposed": exposed_document(attachment.exposed),
        "image": attached.image,
        "exhibit": attached.exhibit,
        "mountpoint": mounted.target if mounted else None,
        "filesystem": attached.filesystem,
        "options": list(mounted.options) if mounted else [],
        "view": mounted.view if mounted else None,
        "journal": mounted.journal if mounted else None,
        "notices": [*attachment.notices, *(mounted.notices if mounted else ())],
    }
    if attachment.source is not None:
        document["source"] = source_document(attachment.source)
    return document
