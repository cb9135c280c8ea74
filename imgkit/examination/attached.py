"""Attached: an attachment as the examiner knows it, for records and documents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import path_fields, path_of

if TYPE_CHECKING:
    from imgkit.attachment import Attachment, Proof
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
    proof, backing = attachment.proof, attachment.backing
    facts: Record = {
        "device": attachment.device,
        "diskseq": attachment.diskseq or 0,
        "offset": attachment.extent.offset,
        "length": attachment.extent.length,
        "block_size": attachment.block_size,
        "clipped_tail": attachment.clipped_tail,
        "guard": attachment.guard,
        "label": attachment.label,
        "proof": {
            **proof_document(proof, counters(proof)),
            "sectors_written_before": proof.sectors_written,
            "sectors_discarded_before": proof.sectors_discarded,
            "size": proof.size,
            "offset": proof.offset,
            "sizelimit": proof.sizelimit,
        },
        "backing": {
            **path_fields(backing.path),
            "dev": str(backing.dev),
            "ino": str(backing.ino),
            "bytes": backing.size,
            "mtime": str(backing.mtime_ns),
            "ctime": str(backing.ctime_ns),
            "kind": backing.kind,
            "rdev": str(backing.rdev),
            "links": backing.links,
        },
    }
    if attachment.source is not None:
        facts["source"] = source_document(attachment)
    if attachment.notices:
        facts["notices"] = list(attachment.notices)
    return facts


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
        "device": str(proof.device),
        "inode": str(proof.inode),
        "sectors_written": None if written is None else proof.sectors_written - written,
        "sectors_discarded": None if discarded is None else proof.sectors_discarded - discarded,
    }


def source_document(attachment: Attachment) -> Record:
    """The block device below an attachment: what identifies it, and whether a write blocker was seen."""
    source = attachment.source
    if source is None:
        return {}
    facts: Record = {
        "name": source.name,
        "size": source.size,
        "sector_size": source.sector_size,
        "read_only": source.read_only,
        "sectors_written": source.sectors_written,
        "sectors_discarded": source.sectors_discarded,
    }
    optional = {"diskseq": source.diskseq, "serial": source.serial, "wwn": source.wwn, "model": source.model}
    return facts | {key: value for key, value in optional.items() if value is not None}


def recorded(attachment: Attachment, data: Record) -> Attachment:
    """A listed attachment with the facts that its outcome recorded: what detach compares with."""
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
        "image": attached.image,
        "exhibit": attached.exhibit,
        "mountpoint": mounted.target if mounted else None,
        "filesystem": attached.filesystem,
        "options": list(mounted.options) if mounted else [],
        "notices": [*attachment.notices, *(mounted.notices if mounted else ())],
    }
    if attachment.source is not None:
        document["source"] = source_document(attachment)
    return document
